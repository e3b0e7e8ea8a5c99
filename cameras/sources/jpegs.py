"""JPEGs cut out of a stream of bytes, by their own marks (ITU-T T.81, annex B), whatever is around them.

Cameras' multipart streams differ in all that is around a picture: boundaries are missing or said otherwise, parts have
any type or none, lengths lie. A picture begins with FF D8 and ends with FF D9; between them are segments that say how
long they are (a thumbnail with marks of its own may be in one), and scans, in which FF 00 and FF D0 to D7 are data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from detection import MOST_SCANS, count_scans

MOST_BYTES = 16_000_000  # of one picture
_BEGIN = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_MARK_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class JpegCutter:
    """Give it bytes as they come, and it gives whole pictures. What is around them is dropped."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0  # up to here, the picture at the buffer's beginning has been looked at
        self._in_scan = False
        self.dropped = 0  # bytes since the last picture that belong to none

    def cut(self, data: bytes) -> Iterator[bytes]:
        """The pictures that are whole now."""
        self._buffer += data
        while self._find_begin():
            picture = self._whole()
            if picture is None:
                return
            if picture and count_scans(picture) <= MOST_SCANS:
                self.dropped = 0
                yield picture

    def _find_begin(self) -> bool:
        if self._position:
            return True
        at = self._buffer.find(_BEGIN)
        self._drop(at if at >= 0 else max(0, len(self._buffer) - len(_BEGIN) + 1))
        if at >= 0:
            self._position = 2
        return at >= 0

    def _whole(self) -> bytes | None:
        """The picture at the buffer's beginning; None if more must come first, empty if it is none after all."""
        buffer = self._buffer
        while True:
            if len(buffer) > MOST_BYTES:
                return self._give_up(len(_BEGIN))
            if self._in_scan:
                found = _MARK_IN_SCAN.search(buffer, self._position)
                if found is None:
                    self._position = max(self._position, len(buffer) - 1)
                    return None
                self._position, self._in_scan = found.start(), False
            step = self._segment()
            if step is None:
                return None
            if step == 0:  # it ends here
                return self._take(self._position + 2)
            if step < 0:  # it has no end: the next one begins here, or it is no picture
                return self._take(self._position, _END) if step == -1 else self._give_up(len(_BEGIN))
            self._position += step

    def _segment(self) -> int | None:
        """How long the segment here is: 0 for the end, -1 for another beginning, -2 for nonsense, None if unknown."""
        buffer, at = self._buffer, self._position
        if len(buffer) < at + 2:
            return None
        if buffer[at] != 0xFF:
            return -2
        mark = buffer[at + 1]
        if mark == 0xFF:
            return 1  # a fill byte
        if mark in (0xD9, 0xD8):
            return 0 if mark == 0xD9 else -1
        if mark == 0x01 or 0xD0 <= mark <= 0xD7:
            return 2
        if len(buffer) < at + 4:
            return None
        length = int.from_bytes(buffer[at + 2 : at + 4], "big")
        if length < 2 or mark < 0xC0:
            return -2
        if len(buffer) < at + 2 + length:
            return None
        self._in_scan = mark == 0xDA
        return 2 + length

    def _take(self, end: int, tail: bytes = b"") -> bytes:
        picture = bytes(self._buffer[:end]) + tail
        del self._buffer[:end]
        self._position, self._in_scan = 0, False
        return picture

    def _give_up(self, count: int) -> bytes:
        self._drop(count)
        self._position, self._in_scan = 0, False
        return b""

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self.dropped += count
