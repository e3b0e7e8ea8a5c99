"""What each combination of looks finds, and what it costs: one table, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detection.coco import Example, read_image
from detection.detector import Detector
from detection.errors import PictureError
from detection.evaluation.report import evaluate, over_half, px_at_640

COMBINATIONS: dict[str, Callable[[Detector], Detector]] = {
    "320": lambda model: model.with_looks(near_side=0, far_most=0),
    "320 + near": lambda model: model.with_looks(far_most=0),
    "320 + near + far": lambda model: model,
    "512": lambda model: model.at(512).with_looks(near_side=0, far_most=0),
    "512 + near": lambda model: model.at(512).with_looks(far_most=0),
    "512 + near + far": lambda model: model.at(512),
    "640": lambda model: model.at(640).with_looks(near_side=0, far_most=0),
}
FAR_PX = (12.0, 24.0)  # faces that a far look is for: the root of their area at 640 px wide
TIMED = 60  # pictures


@dataclass(frozen=True)
class Combined:
    """Average precision at 0.5, 0 to 1, of one combination, and the median milliseconds of a picture."""

    name: str
    face: float | None
    mask: float | None
    any: float | None
    far: float | None
    over_half: float | None
    ms: float


def compare(model: Detector, examples: Sequence[Example]) -> list[Combined]:
    """Each combination on these pictures. Times are taken in turns, so that a busy machine is fair to all."""
    models = {name: make(model) for name, make in COMBINATIONS.items()}
    times = _times(models, examples)
    rows = []
    for name, each in models.items():
        found = evaluate(each, examples)
        precisions = found.average_precisions(0.5)
        far, half = found.of_size(px_at_640(*FAR_PX)), found.of_size(over_half)
        rows.append(
            Combined(
                name, precisions["face"], precisions["mask"], precisions["any"], far["ap50"], half["ap50"], times[name]
            )
        )
    return rows


def _times(models: dict[str, Detector], examples: Sequence[Example]) -> dict[str, float]:
    took: dict[str, list[float]] = {name: [] for name in models}
    for example in examples[:: max(1, len(examples) // TIMED)]:
        try:
            image = read_image(example)
        except PictureError:
            continue
        for name, model in models.items():
            began = time.perf_counter()
            model.detect(image)
            took[name].append((time.perf_counter() - began) * 1000)
    return {name: round(statistics.median(each), 2) if each else 0.0 for name, each in took.items()}
