"""A face on a wall or a screen is no person: it never comes and never goes. Nobody who does is taken for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection import Analyzer, Detector, ViolationFinding, make_key
from detection.spots import LEAST_S, MOST, VISITS, Spot
from detection.surroundings import ENOUGH, Surroundings
from tests.cameras.footage import advertising
from tests.conftest import DEMO_CLIPS
from tests.detection.scenes import Actor, Stage

SCREEN, EVERY_S = 0.7, 200.0  # where it hangs, and how often a face shows on it


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.show(0)
    return made


def visit(stage: Stage, at: float, x: float = SCREEN, seconds: float = 4, side: float = 0.1, y: float = 0.3) -> int:
    """A bare face shows, and is gone; returns how many violations there are by then."""
    stage.play(at, at + seconds, Actor("a", x, y, "no_mask", side))
    stage.show(at + seconds + 4)
    return len(stage.violations)


def doubted(stage: Stage) -> list[Spot]:
    return [spot for spot in stage.analyzer.surroundings.spots.take_changes() if spot.is_doubted]


def come(stage: Stage, at: float, x: float = SCREEN, stays_s: float = 4) -> None:
    """Somebody walks to a place, stays there, and goes out of sight there."""
    for step in range(20):
        stage.show(at + step / 5, Actor("b", 0.1 + (x - 0.1) * step / 20, 0.3, "mask", 0.1))
    stage.play(at + 4, at + 4 + stays_s, Actor("b", x, 0.3, "mask", 0.1))
    stage.show(at + 8 + stays_s)


def test_a_face_on_a_screen_is_doubted_and_alerts_no_more(stage: Stage) -> None:
    counts = [visit(stage, (number + 1) * EVERY_S) for number in range(VISITS)]
    assert counts[-1] == VISITS, "until then it cannot be told from a person"
    (spot,) = doubted(stage)
    assert spot.visits == VISITS and spot.last_at - spot.first_at >= LEAST_S
    assert visit(stage, (VISITS + 1) * EVERY_S) == VISITS
    assert [row.label for row in stage.analyzer.sightings()] == []
    stage.play(2000, 2001, Actor("a", SCREEN, 0.3, "no_mask", 0.1))
    assert [row.label for row in stage.analyzer.sightings()] == ["unsure"]


def test_somebody_who_walks_to_the_screen_is_accused_there_all_the_same(stage: Stage) -> None:
    for number in range(VISITS):
        visit(stage, (number + 1) * EVERY_S)
    before = len(stage.violations)
    for step in range(20):
        stage.show(2000 + step / 5, Actor("b", 0.3 + (SCREEN - 0.3) * step / 20, 0.3, "no_mask", 0.1))
    stage.play(2004, 2008, Actor("b", SCREEN, 0.3, "no_mask", 0.1))
    assert len(stage.violations) == before + 1


def test_where_people_come_and_go_nothing_is_ever_doubted(stage: Stage) -> None:
    come(stage, 50)
    for number in range(3 * VISITS):
        assert visit(stage, (number + 1) * EVERY_S) == number + 1, "somebody at a desk who turns away again and again"
    assert not doubted(stage)


def test_what_was_doubted_is_not_when_somebody_came_there_after_all(stage: Stage) -> None:
    for number in range(VISITS):
        visit(stage, (number + 1) * EVERY_S)
    assert doubted(stage)
    come(stage, 2000)
    (spot,) = stage.analyzer.surroundings.spots.take_changes()
    assert spot.has_people and not spot.is_doubted
    before = len(stage.violations)
    assert visit(stage, 3000) == before + 1


def test_walking_past_the_screen_proves_nothing(stage: Stage) -> None:
    for number in range(VISITS):
        visit(stage, (number + 1) * EVERY_S)
        for step in range(20):
            stage.show((number + 1) * EVERY_S + 50 + step / 5, Actor("b", 0.05 + step * 0.045, 0.3, "mask", 0.1))
        stage.show((number + 1) * EVERY_S + 60)
    assert doubted(stage)


@pytest.mark.parametrize(
    ("how", "many", "more"),
    [
        ("soon after each other", VISITS, {"every": 20.0}),
        ("four times", VISITS - 1, {"every": EVERY_S}),
        ("for long", VISITS, {"every": EVERY_S, "seconds": 70.0}),
        ("large, at a door", VISITS, {"every": EVERY_S, "side": 0.5}),
        ("each elsewhere", VISITS, {"every": EVERY_S, "step": 0.15}),
    ],
)
def test_people_who_appear_where_they_stay_are_not_doubted(
    stage: Stage, how: str, many: int, more: dict[str, float]
) -> None:
    for number in range(many):
        x = 0.1 + number * more.get("step", 0.0)
        visit(stage, EVERY_S + number * more["every"], x, more.get("seconds", 4), more.get("side", 0.1), y=0.5)
    assert not doubted(stage), how


def test_who_is_there_when_the_pictures_begin_or_end_did_not_come_or_go_there() -> None:
    surroundings = Surroundings(make_key)
    for number in range(2 * VISITS):
        stage = Stage()
        stage.analyzer.surroundings = surroundings
        stage.play((number + 1) * EVERY_S, (number + 1) * EVERY_S + 4, Actor("a", SCREEN, 0.3, "no_mask", 0.1))
        stage.leave()
    assert not surroundings.spots.take_changes()


def test_a_portrait_is_asked_about_after_ten_minutes(stage: Stage) -> None:
    for at in range(0, int(LEAST_S) + 10, 2):
        stage.show(float(at), Actor("c", 0.2, 0.3, "no_mask", 0.1, frozen=True))
    (spot,) = doubted(stage)
    assert spot.visits == 0 and not stage.violations


def test_what_a_person_said_is_remembered(stage: Stage) -> None:
    for number in range(VISITS):
        visit(stage, (number + 1) * EVERY_S)
    (spot,) = doubted(stage)
    answered = Spot(spot.key, spot.box, spot.visits, spot.first_at, spot.last_at, has_people=True)
    stage.analyzer.surroundings = Surroundings(make_key, [answered])
    before = len(stage.violations)
    for number in range(VISITS):
        assert visit(stage, 4000 + (number + 1) * EVERY_S) == before + number + 1
    stage.analyzer.surroundings = Surroundings(make_key, [spot])
    assert visit(stage, 8000) == before + VISITS, "as is what nobody has answered yet"


@given(st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.floats(1, 400)), max_size=80))
@settings(max_examples=20)
def test_whatever_is_seen_a_camera_remembers_no_more_than_it_can_say(seen: list[tuple[float, float, float]]) -> None:
    stage, at = Stage(), 10.0
    for x, y, pause in seen:
        at += pause
        stage.show(at, Actor("a", x, y, "no_mask", 0.1))
        stage.show(at + 0.5, Actor("a", x, y, "no_mask", 0.1))
        stage.show(at + 4.2)
        at += 4.2
    assert len(stage.analyzer.surroundings.spots.known()) <= MOST


def test_a_face_far_smaller_than_any_person_was_there_accuses_nobody(stage: Stage) -> None:
    for number in range(ENOUGH):
        at = 100.0 * number
        for step in range(15):
            stage.show(at + step / 5, Actor("b", 0.1 + step * 0.055, 0.5, "mask", 0.25))
        stage.show(at + 10)
    assert visit(stage, 9000, side=0.1, y=0.5) == 0, "on a shirt, or on a telephone"
    assert visit(stage, 9100, side=0.1, y=0.2) == 1, "of another height, nothing is known"
    assert visit(stage, 9200, side=0.16, y=0.5) == 2, "a child, or somebody farther away"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


def rounds(detector: Detector, clip: Path, seconds: float = 900) -> tuple[Counter[bool], Sequence[Spot]]:
    """A clip again and again for so long; accusations in its last round, by whether they are at the screen."""
    with av.open(str(clip)) as source:
        rate = float(source.streams.video[0].average_rate or 1)
        frames = [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in source.decode(video=0)]
    step, analyzer, at = round(rate / 5), Analyzer(detector), 1000.0
    last: Counter[bool] = Counter()
    while at < 1000 + seconds:
        last = Counter()
        for frame in frames[::step]:
            at += step / rate
            found = analyzer.analyse(frame, at)
            last.update(
                each.box[0] > 0.8 and each.box[3] < 0.27
                for each in found
                if isinstance(each, ViolationFinding) and each.seq == 1
            )
    return last, analyzer.surroundings.spots.known()


@pytest.mark.slow
def test_a_screen_in_a_lobby_is_found_out_and_its_people_are_not(detector: Detector, tmp_path: Path) -> None:
    accused, spots = rounds(detector, advertising(tmp_path / "screen.mp4"))
    assert accused == {False: 2}, "two people a round, and nobody on the screen"
    assert [spot.is_doubted for spot in spots if spot.box[0] > 0.8] == [True]


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["harbour-house.mp4", "maple-tower.mp4"])
def test_people_who_walk_past_for_a_quarter_of_an_hour_are_all_taken_for_people(detector: Detector, clip: str) -> None:
    accused, spots = rounds(detector, DEMO_CLIPS / clip)
    assert accused.total() == 2 and not any(spot.is_doubted for spot in spots)
