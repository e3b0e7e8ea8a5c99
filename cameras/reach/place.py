"""Where a stream is and how to sign in there: what is typed, what is tested and what a watch opens."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Place:
    """Where a stream is.

    Args:
        kind: one of Camera.Kind: "rtsp", "http", "usb", "clip" or "device".
        address: without a login; empty for a device, which has none.
        transport: how RTSP's pictures travel: "tcp", "udp", or "auto" for TCP first.
    """

    kind: str
    address: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    transport: str = "auto"
