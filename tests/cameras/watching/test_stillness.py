"""An encoder that hangs sends one picture for ever; an empty room is not that."""

from __future__ import annotations

import numpy as np
import pytest

from cameras.watching.stillness import SAME_FOR_S, Stillness

ROOM = np.random.default_rng(1).integers(0, 255, (360, 640, 3), dtype=np.uint8)


def noisy(number: int) -> np.ndarray:
    """As a sensor gives it in the dark: one level up or down, here and there."""
    change = np.random.default_rng(number).integers(-1, 2, ROOM.shape)
    return np.clip(ROOM.astype(int) + change, 0, 255).astype(np.uint8)


def with_clock(number: int) -> np.ndarray:
    """The picture hangs, but the camera writes the time into it."""
    image = ROOM.copy()
    image[10:40, 20:220] = number % 200
    return image


@pytest.mark.parametrize(
    ("kind", "is_still"), [("hanging", True), ("clock", True), ("noise", False), ("someone", False)]
)
def test_what_is_the_same_for_two_minutes_is_noticed(kind: str, is_still: bool) -> None:
    stillness, seen = Stillness(), []
    for number in range(round(SAME_FOR_S) + 20):
        image = {"hanging": ROOM, "clock": with_clock(number), "noise": noisy(number), "someone": ROOM}[kind]
        if kind == "someone" and 60 < number < 70:
            image = np.roll(ROOM, 40, axis=1)
        seen.append(stillness.has_lasted(image, float(number)))
    assert seen[-1] is is_still and not any(seen[: round(SAME_FOR_S)])


def test_as_soon_as_it_moves_again_it_is_well() -> None:
    stillness = Stillness()
    for number in range(round(SAME_FOR_S) + 10):
        stillness.has_lasted(ROOM, float(number))
    assert not stillness.has_lasted(np.roll(ROOM, 40, axis=1), SAME_FOR_S + 20)
    assert not stillness.has_lasted(np.zeros((100, 100, 3), np.uint8), SAME_FOR_S + 30), (
        "another size is another picture"
    )
