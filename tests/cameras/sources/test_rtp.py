"""Packets that are lost, late, doubled or begun again, and the pictures that are broken by it."""

from __future__ import annotations

import struct
from collections import deque
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.sources.damage import HEALS_S, Damage
from cameras.sources.rtsp.rtp import (
    HOLE_S,
    MOST_WAITING,
    RESTART_AFTER,
    JitterBuffer,
    PictureTimes,
    RtpPacket,
    goodbye_in,
    parse_rtp,
)


def packet(sequence: int, timestamp: int = 0, at: float = 0.0, is_last: bool = True, ssrc: int = 7) -> RtpPacket:
    head = struct.pack(">BBHII", 0x80, 96 | is_last << 7, sequence % 0x10000, timestamp & 0xFFFFFFFF, ssrc)
    found = parse_rtp(head + b"payload", at)
    assert found is not None
    return found


def numbers(ready: object) -> list[tuple[int, bool]]:
    return [(each.sequence, is_after_hole) for each, is_after_hole in ready]  # type: ignore[attr-defined]


# -- order ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 0xFFFF), st.integers(1, 300), st.integers(0, 8), st.integers(0, 2**32))
def test_packets_that_overtake_each_other_go_on_in_order(first: int, count: int, near: int, seed: int) -> None:
    shuffle = Random(seed)
    order = sorted(range(1, count), key=lambda number: number + shuffle.uniform(0, near))
    buffer, seen = JitterBuffer(HOLE_S), []
    for number in [0, *order, *order[:3]]:  # and some a second time
        seen += numbers(buffer.push(packet(first + number, at=1.0)))
    assert seen == [((first + number) % 0x10000, False) for number in range(count)]


@given(st.sets(st.integers(1, 199), max_size=60), st.integers(0, 0xFFFF), st.sampled_from([0.0, HOLE_S]))
def test_only_what_is_lost_is_missing_and_nothing_waits_longer(lost: set[int], first: int, patience: float) -> None:
    buffer, seen, gap = JitterBuffer(patience), [], 0.02
    for number in range(201 + round(HOLE_S / gap) + 1):
        now = number * gap
        if number not in lost and number <= 200:
            seen += [(now, *each) for each in numbers(buffer.push(packet(first + number, at=now)))]
        seen += [(now, *each) for each in numbers(buffer.give_up(now))]
    kept = [number for number in range(201) if number not in lost]
    assert [sequence for _, sequence, _ in seen] == [(first + number) % 0x10000 for number in kept]
    for (at, _, is_after_hole), number in zip(seen, kept, strict=True):
        assert at - number * gap <= patience + gap + 1e-9
        assert is_after_hole == (number - 1 in lost)


def test_a_camera_that_begins_again_is_followed() -> None:
    buffer = JitterBuffer(HOLE_S)
    assert numbers(buffer.push(packet(1000))) == [(1000, False)]
    assert numbers(buffer.push(packet(40_000))) == [(40_000, True)], "far away"
    assert numbers(buffer.push(packet(39_500, ssrc=8))) == [(39_500, True)], "another source"
    seen = [each for number in range(39_000, 39_020) for each in numbers(buffer.push(packet(number, ssrc=8)))]
    assert seen[0] == (39_000 + RESTART_AFTER - 1, True), "a little back: known by packets that follow each other"
    assert len(seen) == 20 - RESTART_AFTER + 1


def test_memory_behind_a_hole_is_bounded() -> None:
    buffer = JitterBuffer(HOLE_S)
    list(buffer.push(packet(0)))
    held = [numbers(buffer.push(packet(number, at=0.0))) for number in range(2, MOST_WAITING + 3)]
    assert not any(held[:-1]) and len(held[-1]) == MOST_WAITING + 1


@given(st.binary(max_size=40))
def test_any_bytes_are_a_packet_or_none(data: bytes) -> None:
    found = parse_rtp(data, 0.0)
    assert found is None or found.with_timestamp(found.timestamp) == data
    goodbye_in(data)


def test_of_reports_only_a_goodbye_goes_on() -> None:
    sender = struct.pack(">BBHIQIII", 0x80, 200, 6, 7, 1, 2, 3, 4)
    goodbye = struct.pack(">BBHI", 0x81, 203, 1, 7)
    assert parse_rtp(sender, 0.0) is None and goodbye_in(sender) == b""
    assert goodbye_in(sender + goodbye) == goodbye


# -- times ------------------------------------------------------------------------------------------------------------


def timestamp_of(data: bytes) -> int:
    return int.from_bytes(data[4:8], "big")


@given(st.sampled_from(["good", "still", "random"]), st.integers(1, 5), st.integers(0, 2**32))
def test_all_packets_of_a_picture_have_one_time_which_leads_back(kind: str, parts: int, seed: int) -> None:
    noise, times, sequence = Random(seed), PictureTimes(), 0
    stamps: list[int] = []
    first: int | None = None
    for number in range(100):
        at = 70_000 + number / 10
        stamp = {"good": number * 9000, "still": 5, "random": noise.getrandbits(32)}[kind]
        given_ = [packet(sequence + part, stamp, at, part == parts - 1) for part in range(parts)]
        sequence += parts
        found = {timestamp_of(times.stamp(each)) for each in given_}
        assert len(found) == 1
        stamps += found
        first = stamps[0] if first is None else first
        pts_s = ((stamps[-1] - first) % 2**32) / 90_000  # as FFmpeg counts
        assert at - 1 <= times.taken_at(pts_s) <= at + 1e-4
    assert len(set(stamps)) == 100


# -- broken pictures --------------------------------------------------------------------------------------------------


def play(events: list[tuple[str, float]]) -> dict[float, bool]:
    """Whether each picture is broken. An event is ("key" or "picture", time) or ("hole", since)."""
    damage, holes, found = Damage(), deque[float](), {}
    for kind, at in events:
        if kind == "hole":
            holes.append(at)
            continue
        damage.packet(at, kind == "key", holes)
        found[at] = damage.covers(at)
    return found


def test_pictures_are_broken_from_a_hole_to_the_next_key_frame() -> None:
    found = play([("key", 1), ("picture", 2), ("hole", 3), ("picture", 3), ("picture", 4), ("key", 5), ("picture", 6)])
    assert found == {1: False, 2: False, 3: True, 4: True, 5: False, 6: False}


def test_a_key_frame_with_a_hole_in_it_mends_nothing() -> None:
    found = play([("picture", 1), ("hole", 2), ("picture", 2), ("hole", 3), ("key", 3), ("picture", 4), ("key", 5)])
    assert found == {1: False, 2: True, 3: True, 4: True, 5: False}


def test_a_stream_without_key_frames_heals_in_time() -> None:
    late = 2 + HEALS_S + 1
    found = play([("picture", 1), ("hole", 2), ("picture", 2), ("picture", 2 + HEALS_S - 1), ("picture", late)])
    assert found == {1: False, 2: True, 2 + HEALS_S - 1: True, late: False}


def test_a_picture_that_a_decoder_held_back_is_judged_by_its_own_time() -> None:
    damage, holes = Damage(), deque([2.0])
    damage.packet(2.0, False, holes)
    damage.packet(3.0, True, holes)
    assert damage.covers(2.5) and not damage.covers(1.9) and not damage.covers(3.0)


@pytest.mark.parametrize(("marker", "hurt"), [(True, 2.0), (False, 1.0)])
def test_a_hole_hurts_the_picture_before_it_unless_its_end_was_seen(marker: bool, hurt: float) -> None:
    times = PictureTimes()
    times.stamp(packet(1, 9000, 1.0, is_last=marker))
    after = packet(5, 18_000, 2.0)
    since = times.hole_before(after)
    times.stamp(after)
    assert (times.newest if since is None else since) == pytest.approx(hurt, abs=1e-3)
