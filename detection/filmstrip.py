"""How one person looked before, during and after a spell without a mask: up to five small pictures.

A single picture cannot tell a turned head, or a mask that is just being put on, from a bare face; a few can. They are
cut from frames that are at hand, once a second at most, and only a violation's are ever told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from detection.appearance import pixelate
from detection.detector import Box, Image
from detection.pictures import scaled_down

SIDE_PX = 320
FIRST_GAP_S = 0.35  # between the first glimpses of somebody, who may be accused within a second
GAP_S = 1.0
KEPT = 3
APART_S = 0.15  # two that are nearer to each other show the same
DURING_AFTER_S = 2.5
AROUND = (1.1, 0.8, 1.1, 1.6)  # what is shown beyond the face: in its widths and heights, to the left, above, ...


class StripPlace(IntEnum):
    """Which of a violation's glimpses one is; a later one in the same place takes its place."""

    FIRST = 0  # what else there was when it began
    SECOND = 1
    BEST = 2
    DURING = 3
    LAST = 4


@dataclass(frozen=True)
class Glimpse:
    """One person at one moment.

    Args:
        box: the face, relative to this picture.
    """

    image_bgr: Image
    box: Box
    captured_at: float
    place: StripPlace = StripPlace.BEST


def glimpse(image_bgr: Image, box: Box, others: Sequence[Box], at: float) -> Glimpse:
    """A person's head and shoulders; `box` and `others`, which are pixelated, are relative to the whole picture."""
    height, width = image_bgr.shape[:2]
    x1, y1, x2, y2 = box
    wide, tall = x2 - x1, y2 - y1
    left, top, right, bottom = AROUND
    cut = (
        max(0, int((x1 - left * wide) * width)),
        max(0, int((y1 - top * tall) * height)),
        min(width, int((x2 + right * wide) * width) + 1),
        min(height, int((y2 + bottom * tall) * height) + 1),
    )
    picture = image_bgr[cut[1] : cut[3], cut[0] : cut[2]].copy()

    def inside(given: Box) -> Box:
        scale_x, scale_y = cut[2] - cut[0], cut[3] - cut[1]
        edges = np.array(given) * (width, height, width, height) - (cut[0], cut[1], cut[0], cut[1])
        gx1, gy1, gx2, gy2 = (float(v) for v in edges / (scale_x, scale_y, scale_x, scale_y))
        return gx1, gy1, gx2, gy2

    for other in map(inside, others):
        if other[0] < 1 and other[1] < 1 and other[2] > 0 and other[3] > 0:
            pixelate(picture, other)
    fx1, fy1, fx2, fy2 = inside(box)
    clipped = (max(0.0, fx1), max(0.0, fy1), min(1.0, fx2), min(1.0, fy2))
    return Glimpse(scaled_down(picture, SIDE_PX), clipped, at)


class Filmstrip:
    """What is kept of one person while they are in view."""

    def __init__(self) -> None:
        self._recent: deque[Glimpse] = deque(maxlen=KEPT)
        self._told_at: dict[StripPlace, float] = {}

    def is_due(self, at: float) -> bool:
        """Whether another glimpse is wanted at this time."""
        gap_s = FIRST_GAP_S if len(self._recent) < KEPT else GAP_S
        return not self._recent or at - self._recent[-1].captured_at >= gap_s

    def add(self, taken: Glimpse) -> None:
        self._recent.append(taken)

    def opening(self, best: Glimpse) -> tuple[Glimpse, ...]:
        """For a violation that begins: how they looked until then, and the picture that shows it best."""
        self._told_at = {}
        others = [each for each in self._recent if abs(each.captured_at - best.captured_at) > APART_S]
        found = [replace(others[0], place=StripPlace.FIRST)] if others else []
        if len(others) > 1:
            found.append(replace(others[-1], place=StripPlace.SECOND))
        self._told_at |= {each.place: each.captured_at for each in found}
        return (*found, *self.better(best))

    def better(self, best: Glimpse) -> tuple[Glimpse, ...]:
        """For a violation that gets another picture."""
        self._told_at[StripPlace.BEST] = best.captured_at
        return (replace(best, place=StripPlace.BEST),)

    def during(self, opened_at: float) -> tuple[Glimpse, ...]:
        """For one that goes on: what is missing from its beginning, and once more after a while."""
        for place, after_s in ((StripPlace.SECOND, GAP_S), (StripPlace.DURING, DURING_AFTER_S)):
            if place not in self._told_at:
                return self._newest(place, opened_at + after_s)
        return ()

    def closing(self) -> tuple[Glimpse, ...]:
        """For one that ends, be it by a mask: how they looked last."""
        return self._newest(StripPlace.LAST, float("-inf"))

    def _newest(self, place: StripPlace, since: float) -> tuple[Glimpse, ...]:
        if not self._recent:
            return ()
        newest = self._recent[-1]
        shown = newest.captured_at < since or any(
            abs(newest.captured_at - at) < APART_S for at in self._told_at.values()
        )
        if shown:
            return ()
        self._told_at[place] = newest.captured_at
        return (replace(newest, place=place),)
