"""Of each violation up to five small pictures are told: before, at its best, after."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection import Glimpse, StripPlace, ViolationFinding
from detection.filmstrip import SIDE_PX, glimpse
from tests.detection.scenes import Actor, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def strip(stage: Stage) -> dict[StripPlace, Glimpse]:
    """What a reviewer has of the only violation."""
    (violation,) = stage.violations
    told = [found for found in stage.told(violation.key) if isinstance(found, ViolationFinding)]
    return {each.place: each for found in told for each in found.glimpses}


def actor(label: str, who: str = "a", x: float = 0.5, side: float = 0.25) -> Actor:
    return Actor(who, x, 0.5, label, side)


def test_who_takes_a_mask_off_and_puts_it_on_again_is_shown_before_bare_and_after(stage: Stage) -> None:
    stage.play(0, 4, actor("mask"))
    stage.play(4, 9, actor("no_mask"))
    stage.play(9, 12, actor("mask"))
    found = strip(stage)
    assert sorted(found) == list(StripPlace)
    assert len({each.captured_at for each in found.values()}) == 5, "no picture twice"
    (violation,) = stage.violations
    assert found[StripPlace.FIRST].captured_at < 4 <= found[StripPlace.BEST].captured_at < 9
    assert found[StripPlace.DURING].captured_at >= violation.opened_at + 2
    assert found[StripPlace.LAST].captured_at >= 9, "with the mask on"


def test_who_comes_in_bare_and_leaves_is_shown_coming_and_going(stage: Stage) -> None:
    stage.play(0, 5, actor("no_mask", side=0.1))
    stage.leave()
    found = strip(stage)
    assert set(found) == set(StripPlace)
    assert found[StripPlace.LAST].captured_at > 3.5


def test_a_snapshot_that_gets_better_is_the_best_of_the_strip(stage: Stage) -> None:
    stage.play(0, 2, actor("no_mask", side=0.08))
    stage.play(2, 4, actor("no_mask", side=0.14))
    shots = [found.snapshot for found in stage.findings if isinstance(found, ViolationFinding) and found.snapshot]
    assert len(shots) > 1 and strip(stage)[StripPlace.BEST].captured_at == shots[-1].captured_at


def test_of_whoever_is_not_accused_nothing_is_told(stage: Stage) -> None:
    stage.play(0, 5, actor("mask"))
    assert not any(getattr(found, "glimpses", ()) for found in stage.findings)


def test_others_are_pixelated_in_it(stage: Stage) -> None:
    stage.play(0, 3, actor("no_mask", "a", 0.42), actor("mask", "b", 0.58))
    (violation,) = stage.violations
    for each in strip(stage).values():
        height, width = each.image_bgr.shape[:2]
        x1, y1, x2, y2 = each.box
        own = each.image_bgr[int(y1 * height) : int(y2 * height), int(x1 * width) : int(x2 * width)]
        beside = each.image_bgr[int(y1 * height) : int(y2 * height), int((x2 + 0.02) * width) :]
        assert len(np.unique(own.reshape(-1, 3), axis=0)) > 500 > 120 > len(np.unique(beside.reshape(-1, 3), axis=0))
    assert violation.passage


@given(
    st.tuples(*[st.floats(-0.2, 1.2)] * 2, *[st.floats(0.002, 1.0)] * 2),
    st.integers(16, 2000), st.integers(16, 1200),
)  # fmt: skip
def test_the_face_lies_where_its_box_says(place: tuple[float, float, float, float], width: int, height: int) -> None:
    x1, y1 = min(0.99, max(0.0, place[0])), min(0.99, max(0.0, place[1]))
    box = (x1, y1, min(1.0, x1 + place[2]), min(1.0, y1 + place[3]))
    image = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = (round(edge * size) for edge, size in zip(box, (width, height) * 2, strict=True))
    image[top:bottom, left:right] = 255
    taken = glimpse(image, box, (), 1.0)
    tall, wide = taken.image_bgr.shape[:2]
    assert 1 <= max(tall, wide) <= max(SIDE_PX, 1)
    assert all(0 <= edge <= 1 for edge in taken.box)
    if right - left < 40 or bottom - top < 40:
        return
    ys, xs = np.nonzero(taken.image_bgr[:, :, 0] > 127)
    seen = (xs.min() / wide, ys.min() / tall, (xs.max() + 1) / wide, (ys.max() + 1) / tall)
    assert seen == pytest.approx(taken.box, abs=0.05)
