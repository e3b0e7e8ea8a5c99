"""Cameras' clocks that run slow or fast, stand still, jump or say anything: nobody is overlooked because of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.sources.clock import MOST_DELAY_S, PictureMoments, StreamClock
from cameras.watching.watch import AnalysisPace

PER_SECOND = 5
SECONDS = 40
Stamp = Callable[[int, float], float]  # number and real time of a picture → its timestamp, in seconds

drifts = st.floats(-0.5, 1.0)
steps = st.one_of(st.floats(0.05, 100), st.floats(-100, -0.05))


def watch(
    stamp: Stamp, rate: int = 25, delays: Callable[[int], float] = lambda number: 0.0
) -> list[tuple[float, float]]:
    """(taken, arrived) of each picture of SECONDS of a camera with this clock, as a stream would give them."""
    clock, moments, arrived, seen = StreamClock(), PictureMoments(), 0.0, []
    for number in range(SECONDS * rate):
        arrived = max(arrived, 5000 + number / rate + delays(number))
        media = stamp(number, number / rate)
        clock.note(media, arrived)
        seen.append((moments.next(clock.taken_at(media, arrived), arrived), arrived))
    return seen


def analyses(seen: list[tuple[float, float]]) -> list[int]:
    """How many pictures are analysed in each five seconds."""
    pace, counts = AnalysisPace(PER_SECOND), [0] * (SECONDS // 5)
    for taken, arrived in seen:
        if pace.due(taken):
            counts[min(int((arrived - 5000) // 5), len(counts) - 1)] += 1
    return counts


def holds(seen: list[tuple[float, float]], rate: int = 25) -> None:
    assert all(0 <= arrived - taken <= 1 for taken, arrived in seen), "a time is at most a second before the arrival"
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(seen)), "times never run backwards"
    least = 0.8 * 5 * min(PER_SECOND, rate)
    assert min(analyses(seen)) >= least, (analyses(seen), least)


@given(drifts, st.sampled_from([1, 5, 10, 25]))
def test_a_clock_that_runs_slow_or_fast(drift: float, rate: int) -> None:
    holds(watch(lambda number, real: real * (1 + drift), rate), rate)


@given(st.lists(st.tuples(st.floats(0, SECONDS), steps), max_size=4), drifts)
def test_a_clock_that_is_set_while_it_runs(settings: list[tuple[float, float]], drift: float) -> None:
    def stamp(number: int, real: float) -> float:
        return real * (1 + drift) + sum(step for at, step in settings if real >= at)

    holds(watch(stamp))


@given(st.sampled_from([0.0, 1 / 90, 90.0, 1000.0]))
def test_a_clock_that_stands_still_or_counts_in_another_unit(factor: float) -> None:
    holds(watch(lambda number, real: real * factor))


@given(st.integers(0, 2**32), st.one_of(st.floats(0, 3), st.just(40_000.0)))
def test_a_clock_that_says_anything(seed: int, spread: float) -> None:
    noise = Random(seed)
    holds(watch(lambda number, real: real + noise.uniform(0, spread)))


@given(st.integers(1, 3), st.floats(0.02, 0.12))
def test_pictures_that_arrive_in_bursts_get_their_own_times(frames: int, jitter: float) -> None:
    """A wireless camera sends half a second at a time; its clock is good, and so are all times after a while."""
    rate, burst = 25, 0.5

    def delay(number: int) -> float:
        real = number / rate
        return (int(real / burst) + 1) * burst - real + jitter * (number % frames) / frames

    seen = watch(lambda number, real: real, rate, delay)
    assert min(analyses(seen)[2:]) >= 24
    late = seen[10 * rate :]
    assert all(0.5 / rate < later - earlier < 2 / rate for (earlier, _), (later, _) in pairwise(late))


@given(st.integers(1, 3), st.floats(-0.5, 1.0))
def test_pictures_that_are_sent_before_earlier_ones_stay_in_order(between: int, drift: float) -> None:
    """B-frames: each later picture is sent first. A decoder gives them back in order, and so must be their times."""
    rate, group = 25, between + 1
    clock, moments, shown = StreamClock(), PictureMoments(), []
    for number in range(0, SECONDS * rate, group):
        sent = [number + group - 1, *range(number, number + group - 1)]
        at = {}
        for place, picture in enumerate(sent):
            arrived = 5000 + (number + place) / rate
            clock.note(picture / rate * (1 + drift), arrived)
            at[picture] = clock.taken_at(picture / rate * (1 + drift), arrived)
        shown += [(moments.next(at[picture], arrived), arrived) for picture in range(number, number + group)]
    assert all(earlier <= later for (earlier, _), (later, _) in pairwise(shown))
    assert min(analyses(shown)) >= 20


@given(st.lists(st.floats(0, 2.0), min_size=5, max_size=60), st.floats(-1000, 1000), st.integers(1, 30))
def test_a_late_packet_does_not_move_the_time_of_its_picture(delays: list[float], start: float, rate: int) -> None:
    clock = StreamClock()
    for number in range(8 * rate):  # until it is trusted
        clock.note(start + number / rate, 1000 + number / rate)
    for number, delay in enumerate(delays, 8 * rate):
        taken = 1000 + number / rate
        stamped = clock.taken_at(start + number / rate, taken + delay)
        assert stamped == pytest.approx(taken if delay < MOST_DELAY_S else taken + delay - MOST_DELAY_S, abs=1e-6)


def test_a_moment_that_cannot_be_is_now() -> None:
    moments = PictureMoments()
    assert moments.next(None, 100.0) == 100.0
    assert moments.next(500.0, 101.0) == 101.0, "later than now"
    assert moments.next(-500.0, 102.0) == 102.0, "long ago"
    assert moments.next(90.0, 103.0) == pytest.approx(102.001), "before the picture that was shown before it"
