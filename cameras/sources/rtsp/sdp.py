"""The table of a camera's addresses: FFmpeg knows each by our own number (SDP, RFC 4566; RFC 2326, appendix C.1.1).

    a=control:track1          at rtsp://192.168.1.20/stream1/
    a=control:rtsp://127.0.0.1:port/token/1      is what FFmpeg reads, and asks for

There is no other way to name an address, so a camera's description can lead FFmpeg nowhere else. Cameras disagree about
how the two are joined, and some name a base that is none: so there are several addresses behind a number, to be tried
in order until one of them is found.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from cameras.reach.addresses import NetworkAddress
from cameras.sources.rtsp.rtp import VIDEO_CLOCK

MOST_CONTROLS = 64


class AddressTable:
    """What is behind `own`/<number>; number 0 is the stream as a whole."""

    def __init__(self, own: str, address: NetworkAddress) -> None:
        self._own = own
        self._address = address
        self._uris: list[list[str]] = [[address.url]]
        self._rates: dict[int, int] = {}

    @property
    def whole(self) -> str:
        return self._uris[0][0]

    def behind(self, uri: str) -> list[str]:
        """The camera's addresses behind one of ours, likeliest first; the whole stream's if there are none."""
        return list(self._uris[self._number_in(uri)])

    def rate(self, uri: str) -> int:
        """RTP timestamps a second of the medium behind one of our addresses."""
        return self._rates.get(self._number_in(uri)) or next(iter(self._rates.values()), VIDEO_CLOCK)

    def _number_in(self, uri: str) -> int:
        first = uri.removeprefix(self._own).strip("/").split("/", 1)[0]
        return int(first) if re.fullmatch(r"[0-9]{1,4}", first) and int(first) < len(self._uris) else 0

    def map_description(self, body: bytes, base: str, asked: str) -> bytes:
        """The SDP for FFmpeg: every control address becomes one of ours, connection lines name no host.

        Args:
            base: what the camera says that addresses are relative to; may be empty or wrong.
            asked: the address that was asked for the description.
        """
        asked = self._at_camera(asked)
        base = self._at_camera(base) if base.strip() else asked
        self._uris[0] = unique([base, base.rstrip("/"), asked, f"{asked.rstrip('/')}/"])
        lines: list[str] = []
        media, number = "", 0
        rates: dict[str, int] = {}
        for line in re.split(r"\r\n|\n|\r", body.decode("utf-8", "replace")):
            if line.startswith("m="):
                media, number, rates = line[2:].split(" ", 1)[0], 0, {}
            elif line.startswith("c="):
                line = "c=IN IP4 0.0.0.0"
            elif found := re.match(r"a=rtpmap: *\d+ +[^/]+/(\d{1,6})", line, re.ASCII):
                rates.setdefault(media, int(found[1]))
            elif line.startswith("a=control:"):
                number = self._number(base, asked, line.removeprefix("a=control:").strip())
                line = f"a=control:{self._own}/{number}"
            if media == "video" and rates.get("video"):
                self._rates[number] = rates["video"]
            lines.append(line)
        return "\r\n".join(lines).encode()

    def _number(self, base: str, asked: str, control: str) -> int:
        """The number of the addresses that a control attribute may mean."""
        if control in {"", "*"} or len(self._uris) > MOST_CONTROLS:
            return 0
        if "://" in control:
            found = [self._at_camera(control)]
        else:
            found = [appended(base, control), joined(base, control), appended(asked, control), joined(asked, control)]
            found.append(f"{base.rstrip('/')}/{control}")
        self._uris.append(unique([self._at_camera(uri) for uri in found]))
        return len(self._uris) - 1

    def _at_camera(self, uri: str) -> str:
        """This URI at the camera that we are connected to, whichever host it names, and however it names it."""
        text = uri.strip().strip("\"'<>")
        if "://" in text:
            target = re.sub(r"^[^/?#]*", "", text.rpartition("://")[2])
        elif re.match(r"[^/?#]+\.[^/?#]+|[^/?#]*:\d+|\[", text):  # a host without its scheme
            target = re.sub(r"^[^/?#]*", "", text)
        else:
            target = text
        try:
            parts = urlsplit("//camera" + (target if target.startswith(("/", "?")) else f"/{target}"))
        except ValueError:
            return self._address.url
        rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        printable = "".join(character for character in rest if character.isprintable() and character != " ")
        return f"rtsp://{self._address.authority}{printable}"


def appended(base: str, control: str) -> str:
    """As FFmpeg and most cameras have it: the one after the other."""
    if control.startswith("?"):
        return base + control
    return f"{base.rstrip('/')}/{control.lstrip('/')}"


def joined(base: str, control: str) -> str:
    """As RFC 3986, section 5.2 has it."""
    try:
        return urljoin(base, control)
    except ValueError:
        return appended(base, control)


def unique(uris: list[str]) -> list[str]:
    return list(dict.fromkeys(uris))
