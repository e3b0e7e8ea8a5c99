"""What is usual among a model's features over many faces: what is not tells people apart (detection/features.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from detection.coco import Example
from detection.detector import Detector
from detection.errors import PictureError
from detection.features import FeatureOutput, chest, forehead
from detection.pictures import read_picture
from detection.training.network import CHANNELS

OUTPUT = "features"
LEAST_SIDE = 0.04  # of the picture: smaller faces are told apart by nothing
MOST_FACES = 4000


def usual_features(detector: Detector, examples: Iterable[Example]) -> dict[str, Any]:
    """The manifest's part about features, from faces of these pictures; empty if there are too few to say."""
    plain = detector.with_features(FeatureOutput(OUTPUT, (0.0,) * CHANNELS, (1.0,) * CHANNELS))
    plain = plain.with_looks(near_side=0, far_most=0)
    rows: list[Any] = []
    for example in examples:
        try:
            features = plain.look(read_picture(example.path)).features
        except PictureError:
            continue
        sides = np.asarray([example.width, example.height] * 2, np.float32)
        for x1, y1, x2, y2 in (example.boxes / sides).tolist():
            if features is not None and x2 - x1 >= LEAST_SIDE:
                rows += [features.average(part((x1, y1, x2, y2))) for part in (forehead, chest)]
        if len(rows) >= 2 * MOST_FACES:
            break
    if not rows:
        return {}
    seen = np.asarray(rows)
    spread = np.maximum(seen.std(0), 1e-3)
    return {"features": {"output": OUTPUT, "mean": rounded(seen.mean(0)), "spread": rounded(spread)}}


def rounded(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]
