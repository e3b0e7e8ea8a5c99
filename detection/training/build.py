"""From labelled pictures to a model that can be shipped: split, train, calibrate, choose a threshold, export."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from detection.coco import Example, hold_out, read_examples, write_examples
from detection.detector import Detector, Image
from detection.errors import DataError, PictureError
from detection.evaluation.calibration import fit, outcomes, reliability, threshold_for
from detection.evaluation.curves import draw_reliability, draw_training
from detection.evaluation.report import LEAST_SCORE, Evaluation, evaluate
from detection.pictures import read_picture
from detection.training.blend import blended
from detection.training.dataset import forgiving
from detection.training.export import to_onnx, write_manifest
from detection.training.first import first_weights
from detection.training.loop import CURVE, Progress, TrainingSettings, train
from detection.training.network import Network
from detection.training.prior import adjusted
from detection.training.quantize import quantize
from detection.training.teacher import Seen, Teacher, ask
from detection.training.usual import usual_features

CALIBRATION_PICTURES = 200


@dataclass(frozen=True)
class Order:
    """What to build, and from what.

    Args:
        data, images: the COCO file, and the folder of its pictures.
        folder: gets the checkpoint, the curves and the model; a second run with the same one resumes.
        hold_out: the share of pictures, by groups of near-same ones, that thresholds and curves come from.
        teacher: a YuNet file, or None.
        first: an exported model or a YuNet file to begin with, or None for random weights.
        blend: exported models that the result is averaged with, if that is better on the held-out pictures.
        false_alarms: how many per picture the threshold may leave.
    """

    data: Path
    images: Path
    folder: Path
    name: str = "model"
    hold_out: float = 0.1
    teacher: Path | None = None
    first: Path | None = None
    blend: list[Path] = field(default_factory=list)
    false_alarms: float = 0.05
    settings: TrainingSettings = field(default_factory=TrainingSettings)


def build(order: Order, progress: Progress) -> Path:
    """Train and finish a model; returns the path of its manifest.

    The folder then holds NAME.onnx and NAME.json, their INT8 copy NAME.int8.*, curve.csv and curve.png,
    reliability.png, and held-out.json with the pictures that were kept from training.

    Raises:
        DataError, ModelError: something cannot be used; the text says what, and what to do.
    """
    examples = read_examples(order.data, order.images)
    for fault in examples.faults:
        progress.told(fault)
    teacher = Teacher(order.teacher) if order.teacher else None
    first = first_weights(order.first) if order.first else None
    earlier = {path.name: first_weights(path) for path in order.blend}
    order.folder.mkdir(parents=True, exist_ok=True)
    used, held = hold_out(examples.rows, order.hold_out, order.settings.seed)
    if unread := len(examples) - len(used) - len(held):
        progress.told(f"{unread} of {len(examples)} pictures cannot be read and are left out.")
    if not used:
        raise DataError(f"None of the pictures of {order.data.name} can be read.")
    if earlier and not held:
        raise DataError("What to blend is chosen on pictures held out, and there are none: hold out a share of them.")
    progress.told(f"{len(used)} pictures to train with, {len(held)} held out.")
    seen: list[Seen] | None = None
    if teacher is not None:
        progress.told("Asking the teacher about each picture.")
        seen = ask(teacher, used)
        held = [forgiving(each, other) for each, other in zip(held, ask(teacher, held), strict=True)]
    write_examples(held, order.folder / "held-out.json", order.images)
    network = train(used, held, order.folder, order.settings, progress, seen=seen, teacher=order.teacher, first=first)
    if held:
        network = adjusted(blended(network, earlier, held, progress), held, progress)
    return finish(network, order, used, held, progress)


def finish(network: Network, order: Order, used: list[Example], held: list[Example], progress: Progress) -> Path:
    """Export a trained network, calibrate it and choose its threshold on the held-out pictures."""
    model, manifest = order.folder / f"{order.name}.onnx", order.folder / f"{order.name}.json"
    to_onnx(network, model)
    write_manifest(manifest, model, order.name, {})
    extra = usual_features(Detector.load(manifest), used)
    write_manifest(manifest, model, order.name, extra)
    if held:
        extra |= _choose(evaluate(Detector.load(manifest), held), order, manifest, model, extra)
    small = model.with_suffix(".int8.onnx")
    quantize(
        model,
        small,
        _readable(used[:: max(1, len(used) // CALIBRATION_PICTURES)]),
        Detector.load(manifest).manifest.input,
    )
    write_manifest(small.with_suffix(".json"), small, f"{order.name}.int8", extra)
    draw_training(order.folder / CURVE, order.folder / "curve.png")
    progress.told(f"Wrote {manifest} and {model.name}. Try it: manage.py detect --model {manifest} PICTURE")
    return manifest


def _choose(raw: Evaluation, order: Order, manifest: Path, model: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Write calibration and threshold, from the held-out pictures, to the manifest; returns the chosen parts.

    Every other picture is fitted on, and the rest test the fit; what is shipped is fitted on all.
    """
    halves = [Evaluation(raw.detector, raw.found[start::2], []) for start in (0, 1)]
    fitted = fit(*outcomes(halves[0]))
    scores, right = outcomes(halves[1])
    before = reliability(scores, right)
    after = reliability(fitted.confidence(scores.astype(np.float32)).astype(np.float64), right)
    draw_reliability(before, after, order.folder / "reliability.png")
    calibration = fit(*outcomes(raw))
    found = [replace(each, confidences=calibration.confidence(each.confidences)) for each in raw.found]
    threshold = threshold_for(Evaluation(raw.detector, found, []), order.false_alarms)
    chosen = {
        "threshold": f"the least with at most {order.false_alarms:g} false alarms a picture on those held out",
        "pictures_held_out": len(raw.found),
        "calibration_error_before": round(before.expected_error, 4),
        "calibration_error_after": round(after.expected_error, 4),
    }
    extra = {"calibration": asdict(calibration), "confidence_threshold": threshold, "chosen": chosen}
    write_manifest(manifest, model, order.name, known | extra)
    figures = Evaluation(Detector.load(manifest), [each.above(LEAST_SCORE) for each in found], []).as_json()
    (order.folder / "held-out-figures.json").write_text(json.dumps(figures, indent=1))
    return extra


def _readable(examples: list[Example]) -> list[Image]:
    images = []
    for example in examples:
        try:
            images.append(read_picture(example.path))
        except PictureError:
            continue
    return images
