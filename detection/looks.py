"""What the detector does with one picture: a plan of looks, each at a part of it and at a size of its own.

    whole   the picture at the model's size (320, or what the camera was set to)
    near    the picture at 128: a face that fills it is larger than anything the model was shown at the size of `whole`
    far     parts at a finer scale, where something may be a face that is too small for `whole`

What all of them find is merged by one suppression in the picture's own coordinates. A near look counts only for large
boxes, and a far look not for what its edge may have cut: another look sees that whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
PartPx = tuple[int, int, int, int]
Box = tuple[float, float, float, float]  # x1, y1, x2, y2, relative to the picture, from 0 to 1

SMALL_PX = 20.0  # of the whole look's input: a face with a smaller side is worth a far look
WORTH = 0.06  # the least confidence at which something is worth a far look
SURE = 0.85  # from here on, nothing is left to find out
CUT = 0.02  # of a part's side: what comes so near to an edge inside the picture may be cut by it
ROOM = 0.5  # of a face's side, that has to be around it in a part


@dataclass(frozen=True)
class Looks:
    """Which looks a model wants beside the whole one, as its manifest says; none by default.

    Args:
        near_side: the longer side of the near look's input, px; 0 for no near look.
        near_least: what counts in it: boxes whose longer side is more than this share of the picture's.
        far_most: at most so many far looks a picture.
        far_part: how much of the picture's sides a far look covers.
        far_side: the longer side of its input, px; 0 for that of the whole look.
    """

    near_side: int = 0
    near_least: float = 0.3
    far_most: int = 0
    far_part: float = 0.5
    far_side: int = 0


@dataclass(frozen=True)
class PlannedLook:
    """One look.

    Args:
        kind: "whole", "near" or "far".
        part: x1, y1, x2, y2 in pixels of the picture.
        longer_side: of the model's input, px.
    """

    kind: str
    part: PartPx
    longer_side: int


def counts(look: PlannedLook, boxes_px: Floats, width: int, height: int, least: float) -> npt.NDArray[np.bool_]:
    """Which boxes of a look count: (n,).

    Args:
        boxes_px: (n, 4) in pixels of the picture. least: as `Looks.near_least`.
    """
    if look.kind == "near":
        longer = (boxes_px[:, 2:] - boxes_px[:, :2]).max(1, initial=0)
        return np.asarray(longer > least * max(width, height))
    if look.kind == "far":
        x1, y1, x2, y2 = look.part
        across, down = CUT * (x2 - x1), CUT * (y2 - y1)
        cut = (x1 > 0) & (boxes_px[:, 0] < x1 + across) | (x2 < width) & (boxes_px[:, 2] > x2 - across)
        cut |= (y1 > 0) & (boxes_px[:, 1] < y1 + down) | (y2 < height) & (boxes_px[:, 3] > y2 - down)
        return np.asarray(~cut)
    return np.ones(len(boxes_px), bool)


def small(boxes: Floats, confidences: Floats, scale: float) -> npt.NDArray[np.bool_]:
    """Which boxes are too small, and too unsure, for the whole look to have said all: (n,).

    Args:
        boxes: (n, 4) in pixels of the picture. scale: pixels of the whole look's input per pixel of the picture.
    """
    sides = np.sqrt(np.clip((boxes[:, 2:] - boxes[:, :2]).prod(1), 0, None)) * scale
    return np.asarray((sides < SMALL_PX) & (confidences >= WORTH) & (confidences < SURE))


def far_parts(
    boxes_px: Floats, weights: Floats, width: int, height: int, most: int, part: float
) -> tuple[list[PartPx], int]:
    """Where to look closely: parts of the picture's shape that hold as much weight as possible, the best one first.

    Greedy: each part is centred on a box, and takes all boxes that lie in it with some room; the next one counts only
    what is left. Time does not grow with what is not looked at.

    Args:
        boxes_px: (n, 4) places that are worth a look, in pixels of the picture. weights: (n,).
        most: at most so many parts. part: their sides, as a share of the picture's.

    Returns the parts, and how many of the places lie in none of them.
    """
    wide, tall = max(2, round(width * part)), max(2, round(height * part))
    centres = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
    room = (boxes_px[:, 2:] - boxes_px[:, :2]) * ROOM
    needed = np.concatenate([boxes_px[:, :2] - room, boxes_px[:, 2:] + room], 1)
    needed = np.clip(needed, 0, np.asarray([width, height, width, height], np.float32))
    left, parts = np.ones(len(boxes_px), bool), list[PartPx]()
    corners = np.stack([centres[:, 0] - wide / 2, centres[:, 1] - tall / 2], 1)
    corners = np.clip(np.round(corners), 0, [width - wide, height - tall]).astype(int)
    inside = (
        (needed[None, :, 0] >= corners[:, None, 0])
        & (needed[None, :, 1] >= corners[:, None, 1])
        & (needed[None, :, 2] <= corners[:, None, 0] + wide)
        & (needed[None, :, 3] <= corners[:, None, 1] + tall)
    )
    for _ in range(most):
        held = np.where(inside & left, weights, 0).sum(1)
        if not len(held) or held.max() <= 0:
            break
        best = int(held.argmax())
        x, y = (int(value) for value in corners[best])
        parts.append((x, y, x + wide, y + tall))
        left &= ~inside[best]
    return parts, int(left.sum())


def lie_in(boxes_px: Floats, parts: Sequence[PartPx]) -> npt.NDArray[np.bool_]:
    """Which boxes have their centre in one of these parts: (n,)."""
    centres = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
    found = np.zeros(len(boxes_px), bool)
    for x1, y1, x2, y2 in parts:
        found |= (centres >= (x1, y1)).all(1) & (centres < (x2, y2)).all(1)
    return found


def shapes(looks: Sequence[PlannedLook]) -> dict[tuple[int, int, int], list[int]]:
    """The looks that have one size of input, and so run as one batch: their places in the list."""
    found: dict[tuple[int, int, int], list[int]] = {}
    for place, look in enumerate(looks):
        x1, y1, x2, y2 = look.part
        found.setdefault((x2 - x1, y2 - y1, look.longer_side), []).append(place)
    return found
