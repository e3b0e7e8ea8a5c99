"""Average precision: how well a model ranks what it finds, against faces that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detection.detector import intersection_over_union

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ranked:
    """What was found of one class in all pictures, most confident first.

    Args:
        scores: (n,), descending.
        right: (n,) whether it is a face that nothing more confident had found.
        known: how many faces there are.
    """

    scores: Floats
    right: npt.NDArray[np.bool_]
    known: int

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """The share of all faces found so far, at each rank."""
        return np.cumsum(self.right) / max(self.known, 1)

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """The share of what was found so far that is right, at each rank."""
        return np.cumsum(self.right) / np.arange(1, len(self.right) + 1)

    @property
    def average_precision(self) -> float | None:
        """The area under the curve of precision over recall, 0 to 1; None if there is no face to find.

        Precision is made monotone from the right, and every rank counts (Everingham et al., "The PASCAL visual object
        classes challenge: a retrospective", 2015, section 2.2).
        """
        if not self.known:
            return None
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        steps = np.diff(np.concatenate([[0.0], self.recall]))
        return float((steps * envelope).sum())


def match(found: Floats, known: Floats, iou_threshold: float) -> npt.NDArray[np.intp]:
    """Which known face each found box is, -1 for none: (n,).

    Boxes come most confident first; each takes the face that it overlaps most among those still free, if
    the intersection over union is at least `iou_threshold` (COCO's rule).
    """
    overlaps = intersection_over_union(found, known)
    result = np.full(len(found), -1, np.intp)
    for rank in range(len(found)):
        if not len(known):
            break
        best = int(overlaps[rank].argmax())
        if overlaps[rank, best] >= iou_threshold:
            result[rank] = best
            overlaps[:, best] = -1
    return result


def rank(
    found: Sequence[Floats],
    scores: Sequence[Floats],
    known: Sequence[Floats],
    iou_threshold: float = 0.5,
    ignored: Sequence[Floats] | None = None,
) -> Ranked:
    """Match picture by picture, and rank over all.

    Args:
        found: boxes (n, 4) of each picture; scores: (n,) of each; known: boxes (m, 4) of each.
        ignored: boxes (k, 4) of each: what is found there and is not a known face is neither right nor wrong.
    """
    right: list[npt.NDArray[np.bool_]] = []
    ordered: list[Floats] = []
    nothing = np.zeros((0, 4), np.float32)
    for boxes, values, faces, places in zip(found, scores, known, ignored or [nothing] * len(found), strict=True):
        order = np.argsort(-values, kind="stable")
        hits = match(boxes[order], faces, iou_threshold) >= 0
        counts = hits | (intersection_over_union(boxes[order], places).max(1, initial=0) < iou_threshold)
        right.append(hits[counts])
        ordered.append(values[order][counts])
    all_scores = np.concatenate(ordered) if ordered else np.zeros(0, np.float32)
    all_right = np.concatenate(right) if right else np.zeros(0, bool)
    order = np.argsort(-all_scores, kind="stable")
    return Ranked(all_scores[order], all_right[order], sum(len(faces) for faces in known))
