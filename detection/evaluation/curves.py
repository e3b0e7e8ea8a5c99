"""Figures as pictures: precision over recall, reliability, and a run of training."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detection.errors import DataError
from detection.evaluation.calibration import Reliability
from detection.evaluation.precision import Ranked

COLOURS = {"ours": "#0f766e", "theirs": "#9a3412", "grey": "#78716c"}
POINTS = 200


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise DataError("Curves need matplotlib: pip install -r requirements-train.txt.") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def draw_precision(curves: Mapping[str, Mapping[str, Ranked]], path: Path, title: str) -> None:
    """Precision over recall, one panel per class; in each, the models by name, the first one in front.

    Args:
        curves: class, then model, then what it found. path: a .png, and a .json of the same name beside it.
    """
    plt = _pyplot()
    figure, panels = plt.subplots(1, len(curves), figsize=(4.6 * len(curves), 4.2), squeeze=False)
    points: dict[str, dict[str, Any]] = {}
    for panel, (name, models) in zip(panels[0], curves.items(), strict=True):
        for colour, (model, curve) in zip(COLOURS.values(), models.items(), strict=False):
            value, recall, precision = curve.average_precision, curve.recall, curve.precision
            panel.plot(recall, precision, color=colour, linewidth=1.8, label=f"{model}: AP50 {value or 0:.3f}")
            last = len(curve.scores) - 1
            chosen = np.unique(np.linspace(0, last, min(POINTS, last + 1)).astype(int)).tolist()
            points.setdefault(name, {})[model] = {
                "ap50": value,
                "score": [round(float(curve.scores[at]), 4) for at in chosen],
                "recall": [round(float(recall[at]), 4) for at in chosen],
                "precision": [round(float(precision[at]), 4) for at in chosen],
            }
        panel.set(title=name, xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        panel.grid(alpha=0.25)
        panel.legend(loc="lower left", frameon=False)
    _save(plt, figure, path, title)
    path.with_suffix(".json").write_text(json.dumps(points), encoding="utf-8")


def draw_reliability(before: Reliability, after: Reliability, path: Path) -> None:
    """How often a confidence is right, before and after it was calibrated; the diagonal is perfect."""
    plt = _pyplot()
    figure, panel = plt.subplots(figsize=(4.6, 4.4))
    panel.plot([0, 1], [0, 1], color=COLOURS["grey"], linestyle=":", label="perfect")
    for name, colour, each in (("as trained", COLOURS["theirs"], before), ("calibrated", COLOURS["ours"], after)):
        label = f"{name}: off by {each.expected_error:.3f}"
        panel.plot(each.confidence, each.right, color=colour, marker="o", markersize=4, label=label)
    panel.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    panel.grid(alpha=0.25)
    panel.legend(loc="upper left", frameon=False)
    _save(plt, figure, path, "What a confidence is worth (held-out pictures)")


def draw_training(curve_csv: Path, path: Path) -> None:
    """The losses of a run, epoch by epoch, and the average precisions on held-out pictures."""
    plt = _pyplot()
    with curve_csv.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure, (losses, scores) = plt.subplots(1, 2, figsize=(9.2, 4.0))
    for panel, names in ((losses, ("face", "box", "label")), (scores, ("ap50_face", "ap50_mask", "ap50_any"))):
        for name in names:
            points = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
            if points:
                panel.plot(*zip(*points, strict=True), label=name, linewidth=1.6)
        panel.set(xlabel="epoch")
        panel.grid(alpha=0.25)
        panel.legend(frameon=False)
    losses.set(title="loss")
    scores.set(title="average precision at 0.5, held out")
    _save(plt, figure, path, "")


def _save(plt: Any, figure: Any, path: Path, title: str) -> None:
    if title:
        figure.suptitle(title)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
