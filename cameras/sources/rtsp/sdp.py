"""The table of a camera's addresses: FFmpeg knows each by our own number (SDP, RFC 4566; RFC 2326, appendix C.1.1).

    a=control:track1          at rtsp://192.168.1.20/stream1/
    a=control:rtsp://127.0.0.1:port/token/1      is what FFmpeg reads, and asks for

There is no other way to name an address, so a camera's description can lead FFmpeg nowhere else.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from cameras.reach.addresses import NetworkAddress


class AddressTable:
    """What is behind `own`/<number>; number 0 is the stream as a whole."""

    def __init__(self, own: str, address: NetworkAddress) -> None:
        self._own = own
        self._address = address
        self._uris = [address.url]

    @property
    def whole(self) -> str:
        return self._uris[0]

    def behind(self, uri: str) -> str:
        """The camera's address behind one of ours; the whole stream's if there is none."""
        first = uri.removeprefix(self._own).strip("/").split("/", 1)[0]
        index = int(first) if first.isdecimal() and int(first) < len(self._uris) else 0
        return self._uris[index]

    def map_description(self, body: bytes, base: str) -> bytes:
        """The SDP for FFmpeg: every control address becomes one of ours, connection lines name no host."""
        base = self._at_camera(base)
        self._uris[0] = base
        lines = []
        for line in body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
            if line.startswith("c="):
                line = "c=IN IP4 0.0.0.0"
            elif line.startswith("a=control:"):
                control = line.removeprefix("a=control:").strip()
                line = f"a=control:{self._own}/{self._number(base, control)}"
            lines.append(line)
        return "\r\n".join(lines).encode()

    def _number(self, base: str, control: str) -> int:
        """The number of the address that a control attribute names."""
        if control in {"", "*"}:
            return 0
        if "://" in control:
            uri = self._at_camera(control)
        elif control.startswith("?") or "?" in base:
            uri = f"{base.rstrip('/')}/{control}" if not control.startswith(("/", "?")) else base + control
        else:
            uri = urljoin(base if base.endswith("/") else base + "/", control)
        self._uris.append(self._at_camera(uri))
        return len(self._uris) - 1

    def _at_camera(self, uri: str) -> str:
        """This URI at the camera that we are connected to, whichever host it names."""
        try:
            parts = urlsplit(uri)
        except ValueError:
            return self._address.url
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return f"rtsp://{self._address.authority}{target}"
