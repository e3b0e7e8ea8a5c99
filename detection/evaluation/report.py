"""How good a model is on labelled pictures: by class, by size of the face, at its own threshold, and where it errs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from detection.coco import Example, read_image
from detection.detector import Detector, Image, intersection_over_union
from detection.errors import DataError, PictureError
from detection.evaluation.precision import Ranked, match, rank
from detection.manifest import LABELS

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
HALF = "over half"  # of the picture's longer side, by the face's longer side
# The root of a face's area in pixels of a picture 640 px wide: at least, and less than.
SIZES = {"<16": (0.0, 16.0), "16-32": (16.0, 32.0), "32-96": (32.0, 96.0), ">96": (96.0, np.inf)}
# The mean grey of a face's box, 0 to 255.
LIGHTS = {"dark, <70": (0.0, 70.0), "70-170": (70.0, 170.0), "bright, >170": (170.0, 256.0)}
SLACK = 1.5  # how much larger or smaller what is found may be than the faces of a size
# Which of some boxes (n, 4) of a picture have a size, give or take a factor.
SizeTest = Callable[[Floats, Example, float], npt.NDArray[np.bool_]]
NOT_FOUND, NOTHING = "not found", "nothing"


@dataclass(frozen=True)
class Found:
    """What the model found in one picture, most confident first.

    Args:
        boxes: (n, 4) in pixels of the picture. labels: (n,) indices into LABELS. confidences: (n,), 0 to 1.
        light: (m,) the mean grey of each known face's box, 0 to 255; empty if it was not measured.
    """

    example: Example
    boxes: Floats
    labels: npt.NDArray[np.int64]
    confidences: Floats
    light: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    @cached_property
    def faces(self) -> npt.NDArray[np.intp]:
        """Which known face each found box is, -1 for none: (n,)."""
        return match(self.boxes, self.example.boxes, 0.5)

    @cached_property
    def made_up(self) -> npt.NDArray[np.bool_]:
        """Which boxes are neither a known face nor in an ignored place: (n,)."""
        forgiven = intersection_over_union(self.boxes, self.example.ignored).max(1, initial=0) >= 0.5
        return np.asarray((self.faces < 0) & ~forgiven)

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which boxes are a known face with the label that they give: (n,)."""
        known = np.append(self.example.labels, -1)  # -1, no face, indexes the last: no label is right there
        return np.asarray(known[self.faces] == self.labels)

    def above(self, threshold: float) -> Found:
        """What is left at a threshold."""
        shown = self.confidences >= threshold
        return replace(self, boxes=self.boxes[shown], labels=self.labels[shown], confidences=self.confidences[shown])


def ranked(found: Sequence[Found], labels: Sequence[str], iou_threshold: float = 0.5) -> Ranked:
    """The detections of some labels taken together as one class, over all pictures."""
    indices = [LABELS.index(label) for label in labels]
    mine = [np.isin(each.labels, indices) for each in found]
    return rank(
        [each.boxes[own] for each, own in zip(found, mine, strict=True)],
        [each.confidences[own] for each, own in zip(found, mine, strict=True)],
        [each.example.boxes[np.isin(each.example.labels, indices)] for each in found],
        iou_threshold,
        [each.example.ignored for each in found],
    )


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
        """The ranked detections of a class of CLASSES; None if the model does not know all of its labels."""
        if name in LABELS and name not in self.detector.manifest.labels:
            return None
        return ranked(self.found, CLASSES[name], iou_threshold)

    @cached_property
    def shown(self) -> list[Found]:
        """What is left of each picture at the model's own threshold."""
        return [each.above(self.detector.confidence_threshold) for each in self.found]

    def average_precisions(self, iou_threshold: float) -> dict[str, float | None]:
        """Average precision of each class, 0 to 1; None if it cannot be computed."""
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

        limits = {name: px_at_640(low, high) for name, (low, high) in SIZES.items()} | {HALF: over_half}
        return {name: self.of_size(size) for name, size in limits.items()}

    def of_size(self, size: SizeTest) -> dict[str, float | int | None]:
        """The same for faces of one size."""
        faces, others, boxes, scores = [], [], [], []
        for each in self.found:
            inside = size(each.example.boxes, each.example, 1.0)
            faces.append(each.example.boxes[inside])
            others.append(np.concatenate([each.example.boxes[~inside], each.example.ignored]))
            near = size(each.boxes, each.example, SLACK)
            boxes.append(each.boxes[near])
            scores.append(each.confidences[near])
        curve = rank(boxes, scores, faces, ignored=others)
        shown = curve.scores >= self.detector.confidence_threshold
        labels = self._of_faces(lambda each, index: bool(size(each.example.boxes, each.example, 1.0)[index]))
        return {
            "faces": curve.known,
            "ap50": _rounded(curve.average_precision),
            "recall": _rounded(float(curve.right[shown].sum()) / curve.known if curve.known else None),
            "label_right": labels["label_right"],
        }

    def by_light(self) -> dict[str, dict[str, float | int | None]]:
        """For each of LIGHTS: how many faces, how many of them the threshold finds, and how many get their label."""

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
        for each in self.shown:
            called = _called(each)
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
        """At the model's threshold: for each known label, what the model called it; for nothing, what it made up."""
        table = {row: dict.fromkeys((*LABELS, NOT_FOUND), 0) for row in (*LABELS, NOTHING)}
        for each in self.shown:
            called = _called(each)
            for index, known in enumerate(each.example.labels):
                table[LABELS[known]][LABELS[called[index]] if index in called else NOT_FOUND] += 1
            for label in each.labels[each.made_up]:
                table[NOTHING][LABELS[label]] += 1
        return table

    def misses(self) -> list[tuple[Example, Floats, float]]:
        """Faces that nothing shown overlaps, largest first: example, box, and the root of its area at 640 wide."""
        result = []
        for each in self.shown:
            hit = intersection_over_union(each.example.boxes, each.boxes).max(1, initial=0) >= 0.5
            for box in each.example.boxes[~hit]:
                result.append((each.example, box, float(_side_px(box[None], each.example.width)[0])))
        return sorted(result, key=lambda miss: -miss[2])

    def false_alarms(self) -> list[tuple[Example, Floats, float]]:
        """What is shown but is no face, or has a wrong label, most confident first: example, box, confidence."""
        result = []
        for each in self.shown:
            wrong = each.made_up | ((each.faces >= 0) & ~each.right)
            for index in np.flatnonzero(wrong):
                result.append((each.example, each.boxes[index], float(each.confidences[index])))
        return sorted(result, key=lambda alarm: -alarm[2])

    def merged(self, into: str) -> Evaluation:
        """The same with "incorrect" as another label, known or found: some sets tell only two labels apart.

        Args:
            into: "mask" or "no_mask".
        """
        other, worn_wrongly = LABELS.index(into), LABELS.index("incorrect")

        def renamed(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            return np.where(labels == worn_wrongly, other, labels)

        found = [
            replace(
                each, labels=renamed(each.labels), example=replace(each.example, labels=renamed(each.example.labels))
            )
            for each in self.found
        ]
        return replace(self, found=found)

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


def evaluate(detector: Detector, examples: Sequence[Example]) -> Evaluation:
    """Run a detector over labelled pictures; a picture that cannot be read is named and left out.

    Raises DataError if none can be read.
    """
    found: list[Found] = []
    unread: list[str] = []
    for example in examples:
        try:
            image = read_image(example)
        except PictureError as error:
            unread.append(str(error))
            continue
        sides = np.asarray([example.width, example.height] * 2)
        seen = detector.detect(image, LEAST_SCORE)
        found.append(
            Found(
                example,
                np.asarray([each.box for each in seen], np.float32).reshape(-1, 4) * sides,
                np.asarray([LABELS.index(each.label) for each in seen], np.int64),
                np.asarray([each.confidence for each in seen], np.float32),
                _light(image, example.boxes),
            )
        )
    if not found:
        raise DataError("None of the pictures can be read: " + (unread[0] if unread else "the file names none."))
    return Evaluation(detector, found, unread)


def _called(found: Found) -> dict[int, int]:
    """What each known face that was found is called: the face's index to the label's."""
    return {int(face): int(label) for face, label in zip(found.faces, found.labels, strict=True) if face >= 0}


def _light(image: Image, boxes: Floats) -> Floats:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    corners = np.stack([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], 1).astype(int)
    return np.asarray([grey[y1:y2, x1:x2].mean() for (x1, y1), (x2, y2) in corners], np.float32)


def _side_px(boxes: Floats, width: int) -> Floats:
    sides = np.sqrt(np.clip((boxes[:, 2:] - boxes[:, :2]).prod(1), 0, None)) * 640 / width
    return np.asarray(sides, np.float32)


def px_at_640(low: float, high: float) -> SizeTest:
    """Whether the root of a box's area lies between these, in a picture 640 px wide."""

    def test(boxes: Floats, example: Example, slack: float) -> npt.NDArray[np.bool_]:
        sides = _side_px(boxes, example.width)
        return np.asarray((sides >= low / slack) & (sides < high * slack))

    return test


def over_half(boxes: Floats, example: Example, slack: float) -> npt.NDArray[np.bool_]:
    """Whether a box is longer than half of the picture."""
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0)
    return np.asarray(longer > 0.5 / slack * max(example.width, example.height))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
