"""How good a model is on labelled pictures: by class, by size of the face, at its own threshold, and where it errs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from detection.coco import LABELS, Example
from detection.detector import Detector, Image, intersection_over_union
from detection.errors import DataError, PictureError
from detection.evaluation.precision import Ranked, match, rank
from detection.pictures import read_picture

Floats = npt.NDArray[np.float32]
LEAST_SCORE = 0.002  # curves are drawn down to here, far below what the product shows
# What is measured: a class's name, and the labels that count as it. A face that should wear a mask is "face".
CLASSES = {
    "face": ("no_mask", "incorrect"),
    "mask": ("mask",),
    "no_mask": ("no_mask",),
    "incorrect": ("incorrect",),
    "any": LABELS,
}
# The root of a face's area in pixels of a picture 640 px wide: at least, and less than.
SIZES = {"<16": (0.0, 16.0), "16-32": (16.0, 32.0), "32-96": (32.0, 96.0), ">96": (96.0, np.inf)}
# The mean grey of a face's box, 0 to 255.
LIGHTS = {"dark, <70": (0.0, 70.0), "70-170": (70.0, 170.0), "bright, >170": (170.0, 256.0)}
NOT_FOUND, NOTHING = "not found", "nothing"


@dataclass(frozen=True)
class Found:
    """What the model found in one picture, most confident first.

    Args:
        boxes: (n, 4) in pixels of the picture. labels: (n,) indices into LABELS. confidences: (n,), 0 to 1.
        light: (m,) of each known face, the mean grey of its box, 0 to 255; empty where nobody measured it.
    """

    example: Example
    boxes: Floats
    labels: npt.NDArray[np.int64]
    confidences: Floats
    light: Floats = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class Evaluation:
    """All figures of one model on one set.

    Args:
        unread: a sentence for each picture that could not be read.
    """

    detector: Detector
    found: list[Found]
    unread: list[str]

    def curve(self, name: str, iou_threshold: float = 0.5) -> Ranked | None:
        """The ranked detections of a class of CLASSES; None where the model does not know all of its labels."""
        wanted = CLASSES[name]
        if name in LABELS and name not in self.detector.manifest.labels:
            return None
        indices = [LABELS.index(label) for label in wanted]
        mine = [np.isin(each.labels, indices) for each in self.found]
        return rank(
            [each.boxes[own] for each, own in zip(self.found, mine, strict=True)],
            [each.confidences[own] for each, own in zip(self.found, mine, strict=True)],
            [each.example.boxes[np.isin(each.example.labels, indices)] for each in self.found],
            iou_threshold,
            [each.example.ignored for each in self.found],
        )

    def average_precisions(self, iou_threshold: float) -> dict[str, float | None]:
        """Average precision of each class, 0 to 1; None where it cannot be said."""
        curves = {name: self.curve(name, iou_threshold) for name in CLASSES}
        return {name: _rounded(curve.average_precision) if curve else None for name, curve in curves.items()}

    def at_threshold(self) -> dict[str, dict[str, float | None]]:
        """Precision and recall of each class at the model's own threshold."""
        result: dict[str, dict[str, float | None]] = {}
        for name in CLASSES:
            curve = self.curve(name)
            if curve is None:
                continue
            shown = int((curve.scores >= self.detector.confidence_threshold).sum())
            right = int(curve.right[:shown].sum())
            result[name] = {
                "precision": _rounded(right / shown if shown else None),
                "recall": _rounded(right / curve.known if curve.known else None),
            }
        return result

    def by_size(self) -> dict[str, dict[str, float | int | None]]:
        """For each of SIZES: how many faces, the average precision of any face, and what the threshold leaves.

        Faces of other sizes are neither right nor wrong there.
        """
        result: dict[str, dict[str, float | int | None]] = {}
        for name, (low, high) in SIZES.items():
            faces, others, boxes, scores = [], [], [], []
            for each in self.found:
                inside = _between(each.example.boxes, each.example.width, low, high)
                faces.append(each.example.boxes[inside])
                others.append(np.concatenate([each.example.boxes[~inside], each.example.ignored]))
                near = _between(each.boxes, each.example.width, low / 1.5, high * 1.5)
                boxes.append(each.boxes[near])
                scores.append(each.confidences[near])
            curve = rank(boxes, scores, faces, ignored=others)
            shown = curve.scores >= self.detector.confidence_threshold
            recall = float(curve.right[shown].sum()) / curve.known if curve.known else None
            result[name] = {
                "faces": curve.known,
                "ap50": _rounded(curve.average_precision),
                "recall": _rounded(recall),
                "label_right": _rounded(self._label_right(low, high)),
            }
        return result

    def by_light(self) -> dict[str, dict[str, float | int | None]]:
        """For each of LIGHTS: how many faces, how many of them the threshold finds, and how many bear their label."""

        def figures(low: float, high: float) -> dict[str, float | int | None]:
            return self._of_faces(lambda each, index: len(each.light) > index and low <= each.light[index] < high)

        return {name: figures(*limits) for name, limits in LIGHTS.items()}

    def by_group(self, groups: Mapping[str, Mapping[str, Sequence[int]]]) -> dict[str, dict[str, dict[str, Any]]]:
        """The same for groups of faces that somebody sorted by hand: group, value, ids of annotations."""

        def figures(chosen: frozenset[int]) -> dict[str, Any]:
            return self._of_faces(lambda each, index: each.example.ids[index] in chosen)

        return {
            name: {value: figures(frozenset(chosen)) for value, chosen in values.items()}
            for name, values in groups.items()
        }

    def _of_faces(self, belongs: Callable[[Found, int], bool]) -> dict[str, float | int | None]:
        faces = found = right = 0
        for each in self.found:
            shown = each.confidences >= self.detector.confidence_threshold
            hits = match(each.boxes[shown], each.example.boxes, 0.5)
            called = {int(hit): label for hit, label in zip(hits, each.labels[shown], strict=True) if hit >= 0}
            for index, known in enumerate(each.example.labels):
                if belongs(each, index):
                    faces += 1
                    found += index in called
                    right += bool(called.get(index, -1) == known)
        return {
            "faces": faces,
            "recall": _rounded(found / faces if faces else None),
            "label_right": _rounded(right / found if found else None),
        }

    def confusion(self) -> dict[str, dict[str, int]]:
        """At the model's threshold: of each known label, what the model called it; of nothing, what it made up."""
        columns = (*LABELS, NOT_FOUND)
        table = {row: dict.fromkeys(columns, 0) for row in (*LABELS, NOTHING)}
        for known, called in self.pairs():
            table[known][called] += 1
        return table

    def pairs(self) -> list[tuple[str, str]]:
        """(known label, what the model called it) of every face, and of every face made up, at the threshold."""
        result = []
        for each in self.found:
            shown = each.confidences >= self.detector.confidence_threshold
            boxes, labels = each.boxes[shown], each.labels[shown]
            faces = match(boxes, each.example.boxes, 0.5)
            forgiven = intersection_over_union(boxes, each.example.ignored).max(1, initial=0) >= 0.5
            called = {int(face): LABELS[label] for face, label in zip(faces, labels, strict=True) if face >= 0}
            for index, known in enumerate(each.example.labels):
                result.append((LABELS[known], called.get(index, NOT_FOUND)))
            for face, label, free in zip(faces, labels, forgiven, strict=True):
                if face < 0 and not free:
                    result.append((NOTHING, LABELS[label]))
        return result

    def misses(self) -> list[tuple[Example, Floats, float]]:
        """Faces that nothing shown overlaps, largest first: example, box, and the root of its area at 640 wide."""
        result = []
        for each in self.found:
            shown = each.boxes[each.confidences >= self.detector.confidence_threshold]
            hit = intersection_over_union(each.example.boxes, shown).max(1, initial=0) >= 0.5
            for box in each.example.boxes[~hit]:
                result.append((each.example, box, float(_side_px(box[None], each.example.width)[0])))
        return sorted(result, key=lambda miss: -miss[2])

    def false_alarms(self) -> list[tuple[Example, Floats, float]]:
        """What is shown and no face, or one called otherwise, most confident first: example, box, confidence."""
        result = []
        for each in self.found:
            faces = match(each.boxes, each.example.boxes, 0.5)
            forgiven = intersection_over_union(each.boxes, each.example.ignored).max(1, initial=0) >= 0.5
            for index, face in enumerate(faces):
                wrong = each.labels[index] != each.example.labels[face] if face >= 0 else not forgiven[index]
                if wrong and each.confidences[index] >= self.detector.confidence_threshold:
                    result.append((each.example, each.boxes[index], float(each.confidences[index])))
        return sorted(result, key=lambda alarm: -alarm[2])

    def as_json(self) -> dict[str, Any]:
        """All figures, as `manage.py evaluate --json` prints them."""
        return {
            "name": self.detector.manifest.name,
            "pictures": len(self.found),
            "faces": {label: self._known(index) for index, label in enumerate(LABELS)},
            "ap50": self.average_precisions(0.5),
            "ap75": self.average_precisions(0.75),
            "threshold": self.detector.confidence_threshold,
            "at_threshold": self.at_threshold(),
            "by_size": self.by_size(),
            "by_light": self.by_light(),
            "confusion": self.confusion(),
            "unread": self.unread,
        }

    def _known(self, label: int) -> int:
        return sum(int((each.example.labels == label).sum()) for each in self.found)

    def _label_right(self, low: float, high: float) -> float | None:
        """Of the faces of a size that were found at the threshold, how many bear the right label."""
        right = []
        for each in self.found:
            shown = each.confidences >= self.detector.confidence_threshold
            faces = match(each.boxes[shown], each.example.boxes, 0.5)
            inside = _between(each.example.boxes, each.example.width, low, high)
            for label, face in zip(each.labels[shown], faces, strict=True):
                if face >= 0 and inside[face]:
                    right.append(bool(label == each.example.labels[face]))
        return float(np.mean(right)) if right else None


def evaluate(detector: Detector, examples: Sequence[Example], done: Callable[[int], None] | None = None) -> Evaluation:
    """Run a detector over labelled pictures; a picture that cannot be read is named and left out.

    Raises DataError where none can be read.
    """
    found: list[Found] = []
    unread: list[str] = []
    for index, example in enumerate(examples):
        try:
            image = read_picture(example.path)
        except PictureError as error:
            unread.append(str(error))
            continue
        height, width = image.shape[:2]
        if (width, height) != (example.width, example.height):
            unread.append(
                f"{example.path.name} is {width}x{height}, its boxes are for {example.width}x{example.height}."
            )
            continue
        seen = detector.detect(image, LEAST_SCORE)
        found.append(
            Found(
                example,
                np.asarray([each.box for each in seen], np.float32).reshape(-1, 4) * np.asarray([width, height] * 2),
                np.asarray([LABELS.index(each.label) for each in seen], np.int64),
                np.asarray([each.confidence for each in seen], np.float32),
                _light(image, example.boxes),
            )
        )
        if done is not None:
            done(index + 1)
    if not found:
        raise DataError("None of the pictures can be read: " + (unread[0] if unread else "the file names none."))
    return Evaluation(detector, found, unread)


def _light(image: Image, boxes: Floats) -> Floats:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    corners = np.stack([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], 1).astype(int)
    return np.asarray([grey[y1:y2, x1:x2].mean() for (x1, y1), (x2, y2) in corners], np.float32)


def _side_px(boxes: Floats, width: int) -> Floats:
    sides = np.sqrt(np.clip((boxes[:, 2:] - boxes[:, :2]).prod(1), 0, None)) * 640 / width
    return np.asarray(sides, np.float32)


def _between(boxes: Floats, width: int, low: float, high: float) -> npt.NDArray[np.bool_]:
    sides = _side_px(boxes, width)
    return np.asarray((sides >= low) & (sides < high))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
