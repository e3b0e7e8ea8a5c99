"""RTP (RFC 3550): packets put in order again, given a clock that runs like ours, and asked what is missing.

FFmpeg would wait for a lost packet as long as others arrive on its connection to the relay, and would pass on whatever
clock the camera has. So the relay does both: a hole is given up after HOLE_S, and each picture's timestamp is replaced
by when it was taken (cameras/sources/clock.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cameras.sources.clock import StreamClock

HOLE_S = 0.3
MOST_WAITING = 512  # packets behind a hole
MOST_STEP = 3000  # in sequence numbers: further away, the sender has begun again (RFC 3550, appendix A.1)
RESTART_AFTER = 8  # packets in a row that would be late: likewise
SAME_PICTURE_S = 0.5  # a timestamp that stays for longer stands still
BETWEEN_PICTURES_S = 0.01  # at least, between two pictures of one timestamp
VIDEO_CLOCK = 90_000
_HEADER = struct.Struct(">BBHII")


@dataclass(frozen=True)
class RtpPacket:
    """One packet of pictures.

    Args:
        is_last: the marker bit: it ends a picture.
        arrived_at: on `time.monotonic()`.
    """

    sequence: int
    timestamp: int
    ssrc: int
    is_last: bool
    data: bytes
    arrived_at: float

    def with_timestamp(self, timestamp: int) -> bytes:
        return self.data[:4] + struct.pack(">I", timestamp & 0xFFFFFFFF) + self.data[8:]


def parse_rtp(data: bytes, arrived_at: float) -> RtpPacket | None:
    """The packet in these bytes; None if they are none, or a report (RTCP, RFC 5761 section 4)."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
        return None
    _, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    return RtpPacket(sequence, timestamp, ssrc, bool(kind & 0x80), data, arrived_at)


def goodbye_in(report: bytes) -> bytes:
    """The BYE in a compound RTCP packet (RFC 3550, section 6.1), or nothing: FFmpeg gets no other report."""
    while len(report) >= 4:
        length = 4 + 4 * int.from_bytes(report[2:4], "big")
        if report[1] == 203:
            return report[:length]
        report = report[length:]
    return b""


class JitterBuffer:
    """Puts packets in order. One that is missing is waited for, `patience_s` at most."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s`: 0 where packets cannot overtake each other (TCP)."""
        self._patience_s = patience_s
        self._next: int | None = None
        self._ssrc = 0
        self._waiting: dict[int, RtpPacket] = {}
        self._late: tuple[int, int] = (0, 0)  # the last packet that came late, and how many in a row did

    @property
    def due_at(self) -> float | None:
        """When the present hole is given up; None if there is none."""
        if not self._waiting:
            return None
        return next(iter(self._waiting.values())).arrived_at + self._patience_s  # they are in the order of arrival

    def push(self, packet: RtpPacket) -> Iterator[tuple[RtpPacket, bool]]:
        """What can go on now that this packet is here: each packet, and whether some before it are missing."""
        if self._next is None or packet.ssrc != self._ssrc:
            yield from self._restart(packet)
            return
        ahead = (packet.sequence - self._next + 0x8000) % 0x10000 - 0x8000
        if abs(ahead) > MOST_STEP or (ahead < 0 and self._is_restart(packet)):
            yield from self._restart(packet)
        elif ahead == 0:
            self._late = (0, 0)
            yield from self._go_on(packet, after_hole=False)
        elif ahead > 0:
            self._waiting.setdefault(packet.sequence, packet)
            yield from self.give_up(packet.arrived_at)

    def give_up(self, now: float) -> Iterator[tuple[RtpPacket, bool]]:
        """What can go on now that time has passed: the first packet behind a hole that was waited for long enough."""
        while self._waiting and self._next is not None:
            due_at = self.due_at
            if due_at is not None and now < due_at and len(self._waiting) <= MOST_WAITING:
                return
            wanted = self._next
            nearest = min(self._waiting, key=lambda sequence: (sequence - wanted) % 0x10000)
            yield from self._go_on(self._waiting.pop(nearest), after_hole=True)

    def _is_restart(self, packet: RtpPacket) -> bool:
        last, count = self._late
        self._late = packet.sequence, count + 1 if packet.sequence == (last + 1) % 0x10000 else 1
        return self._late[1] >= RESTART_AFTER

    def _restart(self, packet: RtpPacket) -> Iterator[tuple[RtpPacket, bool]]:
        is_first = self._next is None
        left = sorted(self._waiting.values(), key=lambda each: each.arrived_at)
        self._waiting.clear()
        self._late = (0, 0)
        self._ssrc = packet.ssrc
        for each in left:
            yield each, True
        yield from self._go_on(packet, after_hole=not is_first)

    def _go_on(self, packet: RtpPacket, after_hole: bool) -> Iterator[tuple[RtpPacket, bool]]:
        yield packet, after_hole
        self._next = (packet.sequence + 1) % 0x10000
        while (follower := self._waiting.pop(self._next, None)) is not None:
            yield follower, False
            self._next = (self._next + 1) % 0x10000


class PictureTimes:
    """Gives the packets of one medium timestamps of our clock, and knows which of its pictures are broken.

    FFmpeg counts from the first timestamp that it gets, so a picture's `pts` leads back to when it was taken.
    """

    def __init__(self, rate: int = VIDEO_CLOCK) -> None:
        """`rate`: timestamps a second, as the description declares them."""
        self._rate = rate
        self._clock = StreamClock()
        self._media_s = 0.0
        self._last: RtpPacket | None = None
        self._began_at = 0.0
        self._taken_at = 0.0
        self._first: int | None = None

    def stamp(self, packet: RtpPacket) -> bytes:
        """The packet as FFmpeg gets it. All packets of one picture get the same timestamp."""
        if self._is_new_picture(packet):
            if self._last is not None:
                step = (packet.timestamp - self._last.timestamp + 0x80000000) % 0x100000000 - 0x80000000
                self._media_s += step / self._rate
            self._began_at = packet.arrived_at
            self._clock.note(self._media_s, packet.arrived_at)
            self._taken_at = self._clock.taken_at(self._media_s, packet.arrived_at)
        self._last = packet
        timestamp = int(self._taken_at * self._rate)
        if self._first is None:
            self._first = timestamp
        return packet.with_timestamp(timestamp)

    def hole_before(self, packet: RtpPacket) -> float | None:
        """From when on pictures are broken if packets are missing before this one; call it before `stamp`.

        That is the picture before it, unless its last packet was seen; None if there is none yet.
        """
        if self._last is None:
            return None
        return None if self._last.is_last and self._is_new_picture(packet) else self._taken_at

    def taken_at(self, pts_s: float) -> float:
        """When FFmpeg's picture with this pts was taken, on `time.monotonic()`."""
        return (self._first or 0) / self._rate + pts_s

    @property
    def newest(self) -> float:
        """When the newest picture was taken."""
        return self._taken_at

    def _is_new_picture(self, packet: RtpPacket) -> bool:
        last = self._last
        if last is None or packet.timestamp != last.timestamp:
            return True
        age_s = packet.arrived_at - self._began_at  # of a clock that stands still, if it is a new picture
        return (last.is_last and age_s > BETWEEN_PICTURES_S) or age_s > SAME_PICTURE_S
