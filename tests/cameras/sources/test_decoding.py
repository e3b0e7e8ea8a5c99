from __future__ import annotations

import time
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.sources.decoding import DEVICE, SITE, DecodingTime


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_phone_that_sends_ordinary_pictures_never_meets_the_bound(clock: list[float]) -> None:
    times = DecodingTime()
    for _ in range(1000):
        assert times.may_decode(1, 1)
        times.count(1, 1, 0.09)  # a picture of 4K, on a slow machine
        clock[0] += 0.2


def test_one_picture_of_minutes_keeps_its_device_out_and_no_other(clock: list[float]) -> None:
    times = DecodingTime()
    times.count(1, 1, 3.0)
    assert not times.may_decode(1, 1) and times.may_decode(2, 1)
    clock[0] += 2 * DEVICE[1]
    assert times.may_decode(1, 1), "it may try again"


def test_many_devices_of_one_site_share_its_time(clock: list[float]) -> None:
    times = DecodingTime()
    for camera in range(100, 110):
        times.count(camera, 1, 1.0)
    assert not times.may_decode(200, 1) and times.may_decode(300, 2)


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 1.9), st.floats(0, 2)), max_size=60))
def test_no_device_and_no_site_gets_more_than_its_share(steps: list[tuple[int, float, float]]) -> None:
    """Whatever they send: its share of the time, what the bucket holds, and one picture that was begun."""
    now, times = [0.0], DecodingTime()
    taken: defaultdict[int, float] = defaultdict(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now[0])
        for camera, seconds, pause_s in steps:
            now[0] += pause_s
            if times.may_decode(camera, 9):
                times.count(camera, 9, seconds)
                taken[camera] += seconds
        for spent in taken.values():
            assert spent <= DEVICE[0] * now[0] + DEVICE[1] + 1.9 + 1e-6
        assert sum(taken.values()) <= SITE[0] * now[0] + SITE[1] + 1.9 + 1e-6


def test_what_waits_for_others_is_not_counted() -> None:
    times = DecodingTime()
    with times.spent(1, 1):
        time.sleep(0.05)  # the thread does nothing: its processor time stands still
    assert times._spent[1][0] < 0.04
