"""A byte stream cut into RTSP's messages and interleaved packets (RFC 2326, sections 4, 6, 7 and 10.12)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MOST_HEADER_BYTES = 16_384
MOST_BODY_BYTES = 65_536
Packet = tuple[int, bytes]  # channel, payload


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
    def status(self) -> int:
        """The status of an answer; 0 if there is none."""
        parts = self.start.split(" ", 2)
        return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() and len(parts[1]) == 3 else 0

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

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Message | Packet | None:
        """The next message or packet; None if more must come first. Raises ProtocolFault."""
        buffer = self._buffer
        while buffer[:2] == b"\r\n":  # some send an empty line between two messages
            del buffer[:2]
        if not buffer:
            return None
        return self._next_packet() if buffer[0] == 0x24 else self._next_message()

    def _next_packet(self) -> Packet | None:
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        length = int.from_bytes(buffer[2:4], "big")
        if len(buffer) < 4 + length:
            return None
        packet = buffer[1], bytes(buffer[4 : 4 + length])
        del buffer[: 4 + length]
        return packet

    def _next_message(self) -> Message | None:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > MOST_HEADER_BYTES:
                raise ProtocolFault("its headers do not end")
            return None
        if end > MOST_HEADER_BYTES:
            raise ProtocolFault("its headers are too long")
        message = read_head(bytes(buffer[:end]))
        total = end + 4 + body_length(message)
        if len(buffer) < total:
            return None
        message.body = bytes(buffer[end + 4 : total])
        del buffer[:total]
        return message


def body_length(message: Message) -> int:
    """What Content-Length says; raises ProtocolFault if it is not a number, or too large."""
    text = message.get("content-length") or "0"
    if not text.isdecimal() or len(text) > 6 or int(text) > MOST_BODY_BYTES:
        raise ProtocolFault("its answer is too long")
    return int(text)


def read_head(head: bytes) -> Message:
    start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    if "RTSP/1.0" not in start:
        raise ProtocolFault("it does not speak RTSP")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    return Message(start, headers)
