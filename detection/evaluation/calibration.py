"""What a confidence is worth: fitted so that nine in ten detections at 0.9 are right; and the threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detection.evaluation.report import Evaluation
from detection.manifest import Calibration, logit

Floats = npt.NDArray[np.float64]
BINS = 10
LEAST_FITTED = 0.1  # lower scores are never shown, and are so many that they would dominate the fit


@dataclass(frozen=True)
class Reliability:
    """Confidence against truth, in bins of equal width from 0 to 1.

    Args:
        confidence, right: (BINS,) the mean of each bin; NaN in an empty one. count: (BINS,).
    """

    confidence: Floats
    right: Floats
    count: npt.NDArray[np.int64]

    @property
    def expected_error(self) -> float:
        """The mean distance of confidence and truth, weighted by count (Guo et al., 2017, equation 3)."""
        filled = self.count > 0
        gaps = np.abs(self.confidence[filled] - self.right[filled])
        return float((gaps * self.count[filled]).sum() / max(1, self.count.sum()))


def outcomes(evaluation: Evaluation, least: float = LEAST_FITTED) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The confidence of each detection from `least` on, and whether it is a known face with that label."""
    chosen = [(each, (each.confidences >= least) & ((each.faces >= 0) | each.made_up)) for each in evaluation.found]
    scores = [each.confidences[counts].astype(np.float64) for each, counts in chosen]
    right = [each.right[counts] for each, counts in chosen]
    return np.concatenate(scores), np.concatenate(right)


def fit(scores: Floats, right: npt.NDArray[np.bool_]) -> Calibration:
    """Temperature and shift that make the scores most likely: logit(p) = logit(score) / temperature + shift.

    Platt's scaling (1999) of the logit, by Newton's method; temperature alone (Guo et al., 2017, section 4.2) cannot
    correct a score that is too high or too low throughout.
    """
    if not right.any() or right.all():
        return Calibration()
    x = np.stack([logit(scores), np.ones(len(scores))], 1)
    weights = np.asarray([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (right - p) - 1e-3 * (weights - [1.0, 0.0])
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(temperature=round(1 / max(weights[0], 0.05), 4), shift=round(float(weights[1]), 4))


def reliability(scores: Floats, right: npt.NDArray[np.bool_]) -> Reliability:
    """How often each tenth of the scale is right."""
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, scores, BINS) / count
        truth = np.bincount(place, right.astype(float), BINS) / count
    return Reliability(confidence, truth, count)


def threshold_for(evaluation: Evaluation, false_alarms: float) -> float:
    """The lowest threshold at which at most `false_alarms` per picture are shown where there is no known face.

    Rounded up to a hundredth; from 0.05 to 0.95.
    """
    wrong = np.concatenate([each.confidences[each.made_up] for each in evaluation.found])
    allowed = int(false_alarms * len(evaluation.found))
    falling = np.sort(wrong)[::-1]
    least = float(falling[allowed]) if allowed < len(falling) else 0.0
    return float(np.clip(np.ceil(least * 100) / 100, 0.05, 0.95))
