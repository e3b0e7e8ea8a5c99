"""What it costs, and removes, that a detection must be found again before it accuses anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detection.coco import Example, read_image
from detection.detector import Detector
from detection.evaluation.report import evaluate

BANDS = ((0.3, 0.5), (0.5, 0.8), (0.8, 1.01))  # of confidence


@dataclass(frozen=True)
class Survival:
    """Of detections in a band of confidence: how many are known faces and how many are made up, and what is left."""

    low: float
    high: float
    faces: int
    faces_left: int
    made_up: int
    made_up_left: int


def survival(model: Detector, examples: Sequence[Example]) -> list[Survival]:
    """Ask of each detection from 0.3 on whether it is found again (`Detector.survives`)."""
    rows: list[tuple[float, bool, bool]] = []  # confidence, a known face, found again
    for each in evaluate(model, examples).found:
        shown = each.above(BANDS[0][0])
        if not len(shown.boxes):
            continue
        image = read_image(each.example)
        sides = np.asarray([each.example.width, each.example.height] * 2)
        for index in np.flatnonzero(shown.made_up | (shown.faces >= 0)):
            x1, y1, x2, y2 = (float(value) for value in shown.boxes[index] / sides)
            left = model.survives(image, (x1, y1, x2, y2))
            rows.append((float(shown.confidences[index]), not shown.made_up[index], left))
    result = []
    for low, high in BANDS:
        mine = [(face, left) for confidence, face, left in rows if low <= confidence < high]
        faces, made_up = [left for face, left in mine if face], [left for face, left in mine if not face]
        result.append(Survival(low, min(high, 1.0), len(faces), sum(faces), len(made_up), sum(made_up)))
    return result
