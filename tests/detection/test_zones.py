"""Zones: what counts, what does not, and what nobody may see."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detection import Analyzer, Detection, Detector
from detection.detector import LookResult
from detection.zones import Zone, Zones, area, crosses_itself, holds

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
