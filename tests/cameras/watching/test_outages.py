"""When a camera counts as out, and when as back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from cameras.watching.outages import OutageClock


@dataclass
class Told:
    """A clock that the test moves on, and what was told by it; the wall's is 1000 s ahead of the other."""

    clock: list[float]
    opened: list[tuple[float, str]] = field(default_factory=list)
    recovered: list[float] = field(default_factory=list)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "time", lambda: 1000 + clock[0])
    return Told(clock)


def test_an_outage_opens_late_and_closes_late(told: Told) -> None:
    clock, opened, recovered = told.clock, told.opened, told.recovered
    one = OutageClock(lambda at, reason: opened.append((at, reason)), recovered.append)

    def play(until: float) -> None:
        while clock[0] < until:
            clock[0] += 0.2
            one.picture()

    def fail(until: float, reason: str) -> None:
        one.fault(reason)
        while clock[0] < until:
            clock[0] += 1
            one.tick()

    play(11)
    assert recovered == [pytest.approx(1000.2)] and not opened
    fail(20, "hiccup")
    play(23)
    fail(24, "again")
    assert not opened, "the dark began again only if nobody was told that all is well"
    fail(40, "gone")
    assert len(opened) == 1 and opened[0][0] == pytest.approx(1011, abs=1.5)
    play(45)
    fail(46, "flap")
    play(60)
    assert len(opened) == 1 and len(recovered) == 2 and recovered[1] == pytest.approx(1046.2, abs=0.5)


def test_a_camera_that_only_falls_silent_has_an_outage_since_its_last_picture(told: Told) -> None:
    """Nothing breaks, no fault is reported: it freezes for thirty seconds, and goes on."""
    clock, opened, recovered = told.clock, told.opened, told.recovered
    one = OutageClock(lambda at, reason: opened.append((at, reason)), recovered.append)

    def go(until: float, plays: bool) -> None:
        while clock[0] < until:
            clock[0] += 0.5
            if plays:
                one.picture()
            one.tick()

    go(20, plays=True)
    go(30, plays=False)
    assert not opened and one.silent_s == 10
    go(50, plays=False)
    ((began_at, reason),) = opened
    assert began_at == pytest.approx(1020) and reason == "No picture came."
    go(70, plays=True)
    assert recovered[-1] == pytest.approx(1050.5) and len(opened) == 1


@pytest.mark.parametrize("gap", [0.2, 4.0, 12.0])
def test_rare_pictures_are_no_outage(told: Told, gap: float) -> None:
    clock, opened = told.clock, told.opened
    one = OutageClock(lambda at, reason: opened.append((at, reason)), told.recovered.append)
    for step in range(600):
        clock[0] += 0.2
        if step % round(gap / 0.2) == 0:
            one.picture()
        one.tick()
    assert not opened
