"""Looks: a face that fills the picture, one at the far end of the lobby, and what neither may break."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detection import Analyzer, Detector
from detection.detector import prepare, shared_source
from detection.looks import CUT, Looks, PlannedLook, counts, far_parts, small
from detection.motion import Motion

DETECTOR = Detector.load()
WHOLE = DETECTOR.with_looks(near_side=0, far_most=0)


def face_of(image: np.ndarray) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    box = WHOLE.detect(image)[0].box
    x1, y1, x2, y2 = (round(value * side) for value, side in zip(box, (width, height) * 2, strict=True))
    return x1, y1, x2, y2


def filling(image: np.ndarray, margin: float) -> np.ndarray:
    """The face with so much of its size around it, as 640x480."""
    x1, y1, x2, y2 = face_of(image)
    across, down = round(margin * (x2 - x1)), round(margin * (y2 - y1))
    cut = image[max(0, y1 - down) : y2 + down, max(0, x1 - across) : x2 + across]
    return np.asarray(cv2.resize(cut, (640, 480), interpolation=cv2.INTER_CUBIC))


def in_a_hall(image: np.ndarray, side_px: int, *places: tuple[int, int], size: tuple[int, int] = (1920, 1080)) -> Any:
    """A grey hall with this person in it, whose face is so large."""
    x1, y1, x2, y2 = face_of(image)
    factor = side_px / (y2 - y1)
    person = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(4)
    coarse = rng.integers(90, 150, (size[1] // 60, size[0] // 60, 3), np.uint8)
    hall = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    for x, y in places:
        tall, wide = person.shape[:2]
        hall[y : y + tall, x : x + wide] = person[: hall.shape[0] - y, : hall.shape[1] - x]
    return hall


# -- near -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [320, 512])
def test_a_face_that_fills_the_picture_is_found_once(astronaut: np.ndarray, size: int) -> None:
    close = filling(astronaut, 0.1)
    found = DETECTOR.at(size).detect(close)
    assert [each.label for each in found] == ["no_mask"]
    x1, y1, x2, y2 = found[0].box
    assert (x2 - x1) * (y2 - y1) > 0.4


def test_a_wide_lobby_loses_nobody_who_comes_near(astronaut: np.ndarray) -> None:
    close = filling(astronaut, 0.02)
    confident = [max((each.confidence for each in model.at(512).detect(close, 0.01)), default=0.0)
                 for model in (WHOLE, DETECTOR)]  # fmt: skip
    assert confident[1] > 0.8 and confident[1] > confident[0]


# -- far --------------------------------------------------------------------------------------------------------------


def test_a_face_at_the_far_end_is_found_where_it_is_and_votes(astronaut: np.ndarray) -> None:
    hall = in_a_hall(astronaut, 64, (1200, 300))
    assert WHOLE.detect(hall) == []
    (found,) = DETECTOR.detect(hall)
    assert found.label == "no_mask" and found.confidence > 0.9 and found.detail == pytest.approx(2, rel=0.02)
    x1, y1, x2, y2 = face_of(astronaut)
    factor = 64 / (y2 - y1)
    expected = np.asarray([1200 + x1 * factor, 300 + y1 * factor, 1200 + x2 * factor, 300 + y2 * factor])
    assert np.abs(np.asarray(found.box) * [1920, 1080, 1920, 1080] - expected).max() < 8


def test_a_hint_finds_what_is_not_even_suspected(astronaut: np.ndarray) -> None:
    hall = in_a_hall(astronaut, 54, (1200, 300))
    assert DETECTOR.detect(hall) == []
    (found,) = DETECTOR.detect(hall, hints=[(0.62, 0.28, 0.66, 0.32)])
    assert found.confidence > 0.8


def test_two_hundred_places_in_a_large_picture_cost_two_far_looks(astronaut: np.ndarray) -> None:
    hall = in_a_hall(astronaut, 64, (1200, 300), size=(3840, 2160))
    places = [(0.05 * x, 0.1 * y, 0.05 * x + 0.01, 0.1 * y + 0.02) for y in range(10) for x in range(20)]
    seen = DETECTOR.look(hall, hints=places)
    assert len(seen.parts) == 2 and seen.waiting > 20
    times = []
    for hints in (places[:1], places):
        began = time.perf_counter()
        for _ in range(5):
            DETECTOR.look(hall, hints=hints)
        times.append(time.perf_counter() - began)
    assert times[1] < 4 * times[0], "it takes no longer, the more there is"


def test_what_was_looked_at_waits_for_what_was_not(astronaut: np.ndarray) -> None:
    places = [(60, 60), (3200, 60), (60, 1500), (3200, 1500)]
    crowd = in_a_hall(astronaut, 130, *places, size=(3840, 2160))
    first = DETECTOR.with_looks(far_most=1, far_part=0.3).look(crowd)
    second = DETECTOR.with_looks(far_most=1, far_part=0.3).look(crowd, before=first.parts)
    assert first.waiting >= 1 and second.parts != first.parts


sizes = st.integers(40, 4000)


@given(sizes, sizes, st.integers(0, 5), st.floats(0.1, 0.9), st.data())
def test_far_parts_lie_in_the_picture_and_hold_what_they_say(
    width: int, height: int, most: int, part: float, data: st.DataObject
) -> None:
    unit = data.draw(arrays.arrays(np.float32, (data.draw(st.integers(0, 12)), 4), elements=st.floats(0, 1, width=32)))
    boxes = np.sort(unit.reshape(-1, 2, 2), axis=1).reshape(-1, 4) * np.asarray([width, height] * 2, np.float32)
    parts, left = far_parts(boxes, np.ones(len(boxes), np.float32), width, height, most, part)
    assert len(parts) <= most and len({(x2 - x1, y2 - y1) for x1, y1, x2, y2 in parts}) <= 1
    for x1, y1, x2, y2 in parts:
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    assert 0 <= left <= len(boxes) and (not parts or left < len(boxes))
    held = [any(a <= x1 and b <= y1 and x2 <= c and y2 <= d for a, b, c, d in parts) for x1, y1, x2, y2 in boxes]
    assert left >= len(boxes) - sum(held), "what waits lies in none of them, or too near an edge"


@given(st.integers(130, 1500), st.integers(130, 1500), st.sampled_from([(320, 128), (512, 128), (320, 64)]))
def test_a_shared_source_changes_no_byte_of_any_input(width: int, height: int, sides: tuple[int, int]) -> None:
    image = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)
    source = shared_source(image, sides[0])
    for side in sides:
        wanted = replace(DETECTOR.manifest.input, longer_side=side)
        plain, shared = prepare(image, wanted), prepare(image, wanted, source)
        assert np.array_equal(plain[0], shared[0]) and plain[1] == shared[1]


def test_what_an_edge_inside_the_picture_cuts_does_not_count() -> None:
    look = PlannedLook("far", (100, 100, 300, 200), 320)
    near_edge = 100 + CUT * 200 - 1
    boxes = np.asarray([[near_edge, 120, 150, 150], [150, 120, 190, 150], [250, 120, 299, 150], [150, 180, 190, 199.5]])
    assert counts(look, boxes.astype(np.float32), 640, 480, 0.3).tolist() == [False, True, False, False]
    corner = PlannedLook("far", (0, 0, 300, 200), 320)
    assert counts(corner, np.asarray([[0, 0, 50, 50]], np.float32), 640, 480, 0.3).tolist() == [True]


def test_a_near_look_counts_for_large_boxes_alone() -> None:
    look = PlannedLook("near", (0, 0, 640, 480), 128)
    boxes = np.asarray([[0, 0, 180, 180], [0, 0, 200, 100], [0, 0, 100, 200]], np.float32)
    assert counts(look, boxes, 640, 480, 0.3).tolist() == [False, True, True]


def test_only_small_and_unsure_faces_are_worth_a_look() -> None:
    boxes = np.asarray([[0, 0, 30, 30], [0, 0, 30, 30], [0, 0, 100, 100], [0, 0, 30, 30]], np.float32)
    confidences = np.asarray([0.5, 0.95, 0.5, 0.01], np.float32)
    assert small(boxes, confidences, 0.5).tolist() == [True, False, False, False]


def test_no_look_finds_a_face_twice(astronaut: np.ndarray) -> None:
    for margin in (0.05, 0.3, 1.0):
        assert len(DETECTOR.detect(filling(astronaut, margin))) == 1
    assert len(DETECTOR.detect(astronaut)) == 1


def test_a_model_without_looks_looks_once(astronaut: np.ndarray) -> None:
    assert Detector.load(DETECTOR.manifest.path.with_name("aizoo-260.json")).manifest.looks == Looks()
    assert WHOLE.look(astronaut).parts == []


# -- motion -----------------------------------------------------------------------------------------------------------


def test_motion_is_where_something_moved_and_not_where_the_light_changed() -> None:
    rng = np.random.default_rng(1)
    still = np.asarray(cv2.resize(rng.integers(60, 160, (20, 36, 3), np.uint8), (1280, 720)), np.uint8)
    motion = Motion()
    assert motion.places(still) == [] and motion.places(still) == []
    moved = still.copy()
    moved[300:420, 640:740] = 250
    places = motion.places(moved)
    assert places and all(x1 > 0.42 and x2 < 0.65 and y1 > 0.35 and y2 < 0.65 for x1, y1, x2, y2 in places)
    brighter = cv2.convertScaleAbs(moved, alpha=1.0, beta=40)
    assert motion.places(np.asarray(brighter, np.uint8)) == []
    assert motion.places(np.zeros((90, 160, 3), np.uint8)) == [], "another size is another picture"


def test_the_analyzer_looks_where_something_small_moves_once_a_second(astronaut: np.ndarray) -> None:
    analyzer, looked = Analyzer(DETECTOR), []
    for step in range(20):
        hall = in_a_hall(astronaut, 18, (300 + 40 * step, 640))
        analyzer.analyse(hall, step / 5)
        looked.append(any(x1 <= 300 + 40 * step < x2 and y1 <= 640 < y2 for x1, y1, x2, y2 in analyzer._parts))
    assert sum(looked) >= 3


# -- evidence ---------------------------------------------------------------------------------------------------------


def test_a_face_is_found_again_and_a_pattern_is_not(astronaut: np.ndarray) -> None:
    for image in (astronaut, in_a_hall(astronaut, 120, (700, 300)), filling(astronaut, 0.1)):
        assert DETECTOR.survives(image, DETECTOR.detect(image)[0].box)
    hall = in_a_hall(astronaut, 120)
    assert not DETECTOR.survives(hall, (0.4, 0.4, 0.45, 0.5))
    assert DETECTOR.survives(hall, (0.0, 0.0, 0.001, 0.001)), "what is too small to be asked is left to the votes"
