"""Zones: what counts, what does not, and what nobody may see."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detection import Analyzer, Detection, Detector
from detection.detector import LookResult
from detection.zones import NOT_REQUIRED, RECOMMENDED, REQUIRED, Zone, Zones, area, crosses_itself, holds
from tests.detection.scenes import Actor, Stage

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
PICTURE = np.full((360, 640, 3), 200, np.uint8)
WIDE = 640 / 360


def test_a_privacy_zone_is_black_to_the_pixel_and_nothing_else_is() -> None:
    before = PICTURE.copy()
    black = Zones((Zone("privacy", LEFT, WIDE),)).black_out(PICTURE)
    assert (black[:, :320] == 0).all() and (black[:, 322:] == 200).all()
    assert np.array_equal(PICTURE, before), "the frame itself is somebody else's"


def test_without_a_privacy_zone_nothing_is_copied() -> None:
    assert Zones((Zone("ignore", LEFT, WIDE),)).black_out(PICTURE) is PICTURE


def test_a_camera_that_was_turned_shows_nothing_where_something_was_private() -> None:
    tall = np.full((640, 360, 3), 200, np.uint8)
    zones = Zones((Zone("privacy", LEFT, WIDE),))
    assert zones.is_turned(tall) and not zones.is_turned(PICTURE)
    assert not zones.black_out(tall).any()
    assert Zones((Zone("ignore", LEFT, WIDE),)).counting([(0.1, 0.1, 0.2, 0.2)], tall) == [True]


def test_faces_count_by_where_their_middle_is() -> None:
    left, right, across = (0.1, 0.1, 0.2, 0.2), (0.7, 0.1, 0.8, 0.2), (0.4, 0.4, 0.55, 0.5)
    boxes = [left, right, across]
    assert Zones().counting(boxes, PICTURE) == [True, True, True]
    assert Zones((Zone("watch", LEFT, WIDE),)).counting(boxes, PICTURE) == [True, False, True]
    assert Zones((Zone("ignore", LEFT, WIDE),)).counting(boxes, PICTURE) == [False, True, False]
    both = Zones((Zone("watch", LEFT, WIDE), Zone("ignore", ((0.0, 0.0), (0.3, 0.0), (0.3, 0.3), (0.0, 0.3)), WIDE)))
    assert both.counting(boxes, PICTURE) == [False, False, True]


def test_a_camera_that_shows_another_part_shows_nothing_either() -> None:
    zones = Zones((Zone("privacy", LEFT, WIDE),))
    assert zones.is_turned(np.zeros((480, 640, 3), np.uint8)) and not zones.is_turned(np.zeros((540, 960, 3), np.uint8))
    assert not zones.is_turned(np.zeros((361, 640, 3), np.uint8)), "rounding is no other shape"


def test_sides_that_cross_are_found() -> None:
    star = [(0.5, 0.0), (0.8, 1.0), (0.0, 0.4), (1.0, 0.4), (0.2, 1.0)]
    assert crosses_itself(star) and crosses_itself([(0, 0), (1, 1), (1, 0), (0, 1)])
    assert not crosses_itself(LEFT) and not crosses_itself([(0, 0), (1, 0), (1, 1), (0.5, 0.2), (0, 1)])


points = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=3, max_size=12)


@given(points, st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)))
def test_whatever_is_drawn_a_point_is_in_it_or_not(corners: Any, point: Any) -> None:
    assert holds(corners, point) in {True, False} and 0 <= area(corners) <= 1
    assert all(holds(corners, corner) for corner in corners), "its corners are its own"
    shape = Zones((Zone("privacy", tuple(corners)),)).black_out(PICTURE)
    assert shape.shape == PICTURE.shape


class OneFace(Detector):
    """Sees a bare face on the left, always."""

    def __init__(self) -> None:
        self.manifest = Detector.load().manifest

    def look(self, *given: Any, **more: Any) -> LookResult:
        scores = {"no_mask": 0.95, "mask": 0.02, "incorrect": 0.03}
        return LookResult([Detection((0.1, 0.2, 0.3, 0.6), "no_mask", 0.95, scores)], [], 0)

    def survives(self, *given: Any) -> bool:
        return True


def test_nobody_in_an_ignored_zone_is_anybody_but_their_face_stays_hidden() -> None:
    rng = np.random.default_rng(2)
    for zones, expected in ((Zones(), True), (Zones((Zone("ignore", LEFT, WIDE),)), False)):
        analyzer, findings = Analyzer(OneFace(), zones), []
        for step in range(15):
            findings += analyzer.analyse(rng.integers(0, 255, (360, 640, 3), np.uint8), step / 5)
        assert bool(findings) is expected
        assert (0.1, 0.2, 0.3, 0.6) in analyzer.possible_faces(), "who may not see faces does not see this one"


# -- what is asked of people -------------------------------------------------------------------------------------------

RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))


def stage_with(left: str, right: str) -> Stage:
    stage = Stage()
    stage.analyzer.zones = Zones((Zone("watch", LEFT, WIDE, left), Zone("watch", RIGHT, WIDE, right)))
    return stage


def stay(stage: Stage, start: float, end: float, x: float, label: str = "no_mask") -> None:
    stage.play(start, end, Actor("a", x, 0.5, label))


def walk(stage: Stage, start: float, x: float, to: float, label: str = "no_mask") -> None:
    for step in range(10):
        stage.show(start + step / 5, Actor("a", x + (to - x) * step / 10, 0.5, label))


def test_where_masks_are_not_required_nobody_is_accused_and_everybody_is_seen() -> None:
    stage = stage_with(NOT_REQUIRED, REQUIRED)
    stay(stage, 0, 5, 0.2)
    stage.leave()
    (passage,) = stage.passages
    assert not stage.violations and (passage.label, passage.demand) == ("no_mask", NOT_REQUIRED)


def test_who_walks_bare_to_where_masks_are_required_is_accused_from_there_on() -> None:
    stage = stage_with(NOT_REQUIRED, REQUIRED)
    stay(stage, 0, 5, 0.2)
    walk(stage, 5, 0.2, 0.8)
    stay(stage, 7, 10, 0.8)
    stage.leave()
    (passage,), (violation,) = stage.passages, stage.violations
    assert passage.demand == violation.demand == REQUIRED
    assert 5.9 <= violation.started_at <= 6.5 and violation.opened_at - violation.started_at < 1.5


def test_who_leaves_where_masks_are_required_ends_the_violation_and_keeps_what_was_seen_there() -> None:
    stage = stage_with(NOT_REQUIRED, REQUIRED)
    stay(stage, 0, 4, 0.8)
    walk(stage, 4, 0.8, 0.2)
    stay(stage, 6, 10, 0.2, "mask")
    stage.leave()
    (passage,), (violation,) = stage.passages, stage.violations
    assert passage.label == "no_mask" and violation.ended_at is not None and 4.8 <= violation.ended_at <= 5.4


def test_who_takes_it_off_where_it_may_be_taken_off_wore_one() -> None:
    stage = stage_with(NOT_REQUIRED, REQUIRED)
    stay(stage, 0, 4, 0.8, "mask")
    walk(stage, 4, 0.8, 0.2, "mask")
    stay(stage, 6, 12, 0.2)
    stage.leave()
    (passage,) = stage.passages
    assert (passage.label, passage.demand) == ("mask", REQUIRED) and not stage.violations


def test_what_is_recommended_becomes_another_violation_where_it_is_required() -> None:
    stage = stage_with(RECOMMENDED, REQUIRED)
    stay(stage, 0, 4, 0.2)
    walk(stage, 4, 0.2, 0.8)
    stay(stage, 6, 9, 0.8)
    walk(stage, 9, 0.8, 0.2)
    stay(stage, 11, 13, 0.2)
    stage.leave()
    advised, accused = stage.violations
    assert [advised.demand, accused.demand] == [RECOMMENDED, REQUIRED]
    assert advised.ended_at == accused.started_at and accused.ended_at == stage.passages[0].ended_at
    assert accused.passage == advised.passage and len(stage.passages) == 1


def test_where_zones_overlap_the_strictest_counts_and_a_turned_camera_asks_everybody() -> None:
    both = Zones((Zone("watch", LEFT, WIDE, NOT_REQUIRED), Zone("watch", LEFT, WIDE, RECOMMENDED)))
    face = (0.1, 0.1, 0.2, 0.2)
    assert both.demand(face, PICTURE) == RECOMMENDED
    assert both.demand(face, np.zeros((640, 360, 3), np.uint8)) == REQUIRED
    assert Zones().demand(face, PICTURE) == REQUIRED
