"""A byte stream cut into RTSP's messages and interleaved packets (RFC 2326, sections 4, 6, 7 and 10.12).

As lenient as FFmpeg is: lines may end in LF alone, and bytes that belong to nothing are skipped up to the next "$" or
the next message.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

MOST_HEADER_BYTES = 16_384
MOST_BODY_BYTES = 65_536
MOST_STRAY_BYTES = 65_536  # between two parts that can be read
Packet = tuple[int, bytes]  # channel, payload

_END = re.compile(rb"\r?\n\r?\n")
_START_LINE = re.compile(rb"RTSP/\d|[A-Z_]{3,} \S+ RTSP/\d")
_UNFINISHED_LINE = re.compile(rb"[A-Z][\x20-\x7e\t\r]*\Z")
_MAY_FOLLOW = re.compile(rb"[$A-Z\r\n]")
_MOST_CHANNEL = 15


class ProtocolFault(Exception):
    """The other side does not speak RTSP."""


@dataclass
class Message:
    """A request or an answer, its headers by lower-case name, in order; a name may occur twice."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def is_answer(self) -> bool:
        return self.start.startswith("RTSP/")

    @property
    def status(self) -> int:
        """The status of an answer; 0 if there is none."""
        parts = self.start.split(None, 2)
        return int(parts[1]) if len(parts) > 1 and re.fullmatch(r"[1-9][0-9]{2}", parts[1]) else 0

    def encode(self) -> bytes:
        headers = [(name, value) for name, value in self.headers if name != "content-length"]
        if self.body:
            headers.append(("content-length", str(len(self.body))))
        lines = [self.start, *(f"{name.title()}: {value}" for name, value in headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + self.body


def interleaved(channel: int, payload: bytes) -> bytes:
    """A packet as it travels between messages."""
    return struct.pack(">cBH", b"$", channel, len(payload)) + payload


class Reader:
    """Cuts a byte stream into messages and packets, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._has_read = False  # something that was RTSP
        self._channels: set[int] = set()
        self._stray = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Message | Packet | None:
        """The next message or packet; None if more must come first. Raises ProtocolFault."""
        buffer = self._buffer
        while True:
            while buffer and buffer[0] in b"\r\n":  # some send empty lines between two messages
                del buffer[:1]
            if not buffer:
                return None
            part = self._next_packet() if buffer[0] == 0x24 else self._next_message()
            if part is not False:
                return part
            self._skip()

    def _skip(self) -> None:
        """Drop what can be neither a packet nor a message, up to where one may begin."""
        buffer = self._buffer
        if not self._has_read:
            raise ProtocolFault("it does not speak RTSP")
        starts = [at for at in (buffer.find(b"$", 1), buffer.find(b"RTSP/", 1)) if at > 0]
        skipped = min(starts, default=max(1, len(buffer) - 4))  # "RTSP/" may be cut
        del buffer[:skipped]
        self._stray += skipped
        if self._stray > MOST_STRAY_BYTES:
            raise ProtocolFault("it sends something that is not RTSP")

    def _next_packet(self) -> Packet | None | Literal[False]:
        """The packet that begins here; None if more must come first, False if it is none."""
        buffer = self._buffer
        if len(buffer) < 5:
            return None
        channel, length = buffer[1], int.from_bytes(buffer[2:4], "big")
        is_rtp = length >= 4 and buffer[4] >> 6 == 2
        if self._stray and not (is_rtp and self._is_known(channel)):
            return False
        must_see_next = bool(self._stray) or not is_rtp
        if len(buffer) < 4 + length + must_see_next:
            return None
        if must_see_next and not _MAY_FOLLOW.match(buffer, 4 + length):
            return False
        packet = channel, bytes(buffer[4 : 4 + length])
        del buffer[: 4 + length]
        if is_rtp:
            self._channels.add(channel)
        self._has_read, self._stray = True, 0
        return packet

    def _is_known(self, channel: int) -> bool:
        return channel in self._channels if self._channels else channel <= _MOST_CHANNEL

    def _next_message(self) -> Message | None | Literal[False]:
        """The message that begins here; None if more must come first, False if it is none."""
        buffer = self._buffer
        first = bytes(buffer[:MOST_HEADER_BYTES]).partition(b"\n")
        if not (_START_LINE.match(first[0]) or (not first[1] and _UNFINISHED_LINE.match(first[0]))):
            return False
        end = _END.search(buffer, 0, MOST_HEADER_BYTES + 4)
        if end is None:
            if len(buffer) > MOST_HEADER_BYTES:
                raise ProtocolFault("its headers do not end")
            return None
        message = read_head(bytes(buffer[: end.start()]))
        total = end.end() + body_length(message)
        if len(buffer) < total:
            return None
        message.body = bytes(buffer[end.end() : total])
        del buffer[:total]
        self._has_read, self._stray = True, 0
        return message


def body_length(message: Message) -> int:
    """What Content-Length says, 0 if it is not a number; raises ProtocolFault if it is too large."""
    found = re.match(r"\d+", message.get("content-length"), re.ASCII)
    length = int(found[0][:9]) if found else 0
    if length > MOST_BODY_BYTES:
        raise ProtocolFault("its answer is too long")
    return length


def read_head(head: bytes) -> Message:
    start, *lines = re.split(r"\r?\n", head.decode("utf-8", "surrogateescape"))
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.append((name.strip().lower(), value.replace("\r", " ").strip()))
    return Message(start.strip(), headers)
