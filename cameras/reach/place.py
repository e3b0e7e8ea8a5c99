"""Where a stream is and how one signs in there: what is typed, what is tested and what a watch opens."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Place:
    """Where a stream is.

    Args:
        kind: one of Camera.Kind: "rtsp", "http", "usb", "clip" or "device".
        address: without a login; empty for a device, which has none.
        transport: of RTSP's pictures: "tcp" or "udp".
    """

    kind: str
    address: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    transport: str = "tcp"
