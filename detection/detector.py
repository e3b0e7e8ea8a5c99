"""A picture in, detections out: by a plan of looks, each prepare → run → decode; then one suppression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from detection.decoders import DECODERS, Floats, count_anchors
from detection.errors import ModelError, PictureError
from detection.features import FeatureOutput, Features
from detection.looks import WORTH, PartPx, PlannedLook, counts, far_parts, lie_in, shapes, small
from detection.looks import Box as Box
from detection.manifest import MODELS, OUTPUTS, Manifest, ModelInput, model_names, read_manifest

Image = npt.NDArray[np.uint8]
AGAIN = 0.5  # what a place is worth that was looked at last time
HINT = 0.5  # what a hint is worth beside what may be a face
# To be found again: crops of so many times the face's side, shifted by so much of it, at a longer side in px.
CROPS = ((3.0, (0.25, 0.12), 128), (4.2, (-0.2, -0.2), 160))
SURVIVES = 0.2  # the least confidence there
SAME_FACE = 0.35  # intersection over union
LEAST_CROP_PX = 8
CANDIDATES = 512  # suppression looks at this many of the best; a lobby has fewer faces than that


@dataclass(frozen=True)
class Detection:
    """One face in one picture.

    Args:
        box: x1, y1, x2, y2, relative to the picture, from 0 to 1.
        label: "mask", "no_mask" or "incorrect".
        confidence: the label's score, from 0 to 1.
        scores: the score of each label that the model knows.
        detail: pixels that its look had of it, for each pixel of the whole look: over 1 in a far look.
    """

    box: Box
    label: str
    confidence: float
    scores: Mapping[str, float]
    detail: float = 1.0


@dataclass(frozen=True)
class LookResult:
    """What was found in a picture, which parts got a far look, and how many places were worth one and got none.

    Args:
        features: of the whole look, if the model gives them.
    """

    detections: list[Detection]
    parts: list[PartPx]
    waiting: int
    features: Features | None = None


@dataclass(frozen=True)
class Candidates:
    """Boxes before suppression.

    Args:
        boxes_px: (n, 4) in pixels of the picture. confidences: (n, labels). details: (n,) as `Detection.detail`.
    """

    boxes_px: Floats
    confidences: Floats
    details: Floats

    @classmethod
    def none(cls, labels: int) -> Candidates:
        return cls(np.zeros((0, 4), np.float32), np.zeros((0, labels), np.float32), np.zeros(0, np.float32))

    def joined(self, *others: Candidates) -> Candidates:
        every = (self, *others)
        return Candidates(
            np.concatenate([each.boxes_px for each in every]),
            np.concatenate([each.confidences for each in every]),
            np.concatenate([each.details for each in every]),
        )

    def above(self, threshold: float) -> Candidates:
        """Those whose best label reaches the threshold."""
        chosen = self.confidences.max(axis=1, initial=0) >= threshold
        return Candidates(self.boxes_px[chosen], self.confidences[chosen], self.details[chosen])


class Detector:
    """A model, loaded and checked. One is shared by all threads of a process: `detect` keeps no state."""

    def __init__(self, manifest: Manifest, session: ort.InferenceSession, confidence_threshold: float) -> None:
        self.manifest = manifest
        self.confidence_threshold = confidence_threshold
        self._session = session
        self._outputs = [manifest.outputs[role] for role in _roles(manifest)]
        self._all_outputs = self._outputs + ([manifest.features.name] if manifest.features else [])

    @classmethod
    def load(cls, model: str | Path | None = None, confidence_threshold: float | None = None) -> Detector:
        """Load a model by its .json or .onnx path; None is models/default.json.

        Raises ModelError if file, inputs or outputs do not match the manifest, and ValueError for a threshold
        outside (0, 1). A threshold of None means the manifest's.
        """
        manifest = read_manifest(model)
        threshold = manifest.confidence_threshold if confidence_threshold is None else confidence_threshold
        if not 0 < threshold < 1:
            raise ValueError(f"confidence_threshold is {threshold}; it lies between 0 and 1.")
        cv2.setNumThreads(1)  # cameras share the cores; one frame must not take them all
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(manifest.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes derive from Exception alone
            raise ModelError(f"The model file {manifest.path.name} cannot be loaded: {_first_line(error)}") from error
        detector = cls(manifest, session, threshold)
        detector._check_names()
        detector._check_outputs()
        return detector

    @classmethod
    def named(cls, name: str) -> Detector:
        """Load one of the models in models/; raises ModelError."""
        if name not in model_names():
            raise ModelError(f"There is no model “{name}” in models/. Choose another one.")
        return cls.load(MODELS / f"{name}.json")

    def at(self, longer_side: int) -> Detector:
        """The same model with another longer side of its input in px; itself if it has only one size.

        The loaded session is shared: this costs nothing.
        """
        wanted = self.manifest.input
        if wanted.resize != "letterbox" or longer_side in {0, wanted.longer_side}:
            return self
        manifest = replace(self.manifest, input=replace(wanted, longer_side=longer_side))
        return Detector(manifest, self._session, self.confidence_threshold)

    def input_scale(self, image_bgr: Image) -> float:
        """Pixels of the model's input per pixel of this picture, along its height."""
        height, width = image_bgr.shape[:2]
        wanted = self.manifest.input
        return float(
            wanted.longer_side / max(height, width) if wanted.resize == "letterbox" else wanted.height / height
        )

    def with_looks(self, **changes: Any) -> Detector:
        """The same model with other looks (fields of `Looks`); the loaded session is shared."""
        manifest = replace(self.manifest, looks=replace(self.manifest.looks, **changes))
        return Detector(manifest, self._session, self.confidence_threshold)

    def with_features(self, features: FeatureOutput) -> Detector:
        """The same model, whose features are read like this; the loaded session is shared."""
        return Detector(replace(self.manifest, features=features), self._session, self.confidence_threshold)

    def detect(
        self, image_bgr: Image, confidence_threshold: float | None = None, hints: Sequence[Box] = ()
    ) -> list[Detection]:
        """The faces in a picture, most confident first, by all looks that the manifest wants.

        Args:
            image_bgr: (height, width, 3), uint8, blue first.
            confidence_threshold: the lowest score; None means the detector's own.
            hints: where small faces may be, beside what is seen: boxes relative to the picture. They cost nothing
                unless they get one of the far looks.
        """
        return self.look(image_bgr, confidence_threshold, hints).detections

    def look(
        self,
        image_bgr: Image,
        confidence_threshold: float | None = None,
        hints: Sequence[Box] = (),
        before: Sequence[PartPx] = (),
    ) -> LookResult:
        """As `detect`, and says where it looked closely.

        Args:
            before: parts that were looked at last time: what lies elsewhere comes first.
        """
        check_image(image_bgr)
        height, width = image_bgr.shape[:2]
        wanted, looks = self.manifest.input, self.manifest.looks
        threshold = self.confidence_threshold if confidence_threshold is None else confidence_threshold
        everything = (0, 0, width, height)
        plan = [PlannedLook("whole", everything, wanted.longer_side)]
        if looks.near_side and looks.near_side < wanted.longer_side:
            plan.append(PlannedLook("near", everything, looks.near_side))
        source = shared_source(image_bgr, wanted.longer_side) if len(plan) > 1 else None
        least = min(threshold, WORTH) if looks.far_most else threshold
        seen, features = self._carry_out(plan, image_bgr, source, least)
        parts: list[PartPx] = []
        left = 0
        if looks.far_most and looks.far_part * max(width, height) >= wanted.multiple_of:
            parts, left = self._where_to_look(seen, hints, before, width, height)
            far = [PlannedLook("far", part, looks.far_side or wanted.longer_side) for part in parts]
            seen = seen.joined(self._carry_out(far, image_bgr, None, threshold)[0]) if far else seen
        seen = seen.above(threshold)
        kept = suppress(seen.boxes_px, seen.confidences.max(axis=1, initial=0), self.manifest.iou_threshold)
        sides = np.asarray([width, height, width, height], np.float32)
        boxes = np.clip(seen.boxes_px[kept] / sides, 0, 1)
        rows = zip(boxes, seen.confidences[kept], seen.details[kept], strict=True)
        return LookResult([self._detection(*row) for row in rows if _has_area(row[0])], parts, left, features)

    def survives(self, image_bgr: Image, box: Box) -> bool:
        """Whether a detection is found again in two crops around it, shifted and of other scales: things often are not.

        Args:
            box: of the face, relative to the picture.
        """
        height, width = image_bgr.shape[:2]
        sides = np.asarray([width, height] * 2, np.float32)
        face = np.asarray(box, np.float32) * sides
        return all(self._found_again(image_bgr, face, *crop) for crop in CROPS)

    def _found_again(
        self, image_bgr: Image, face_px: Floats, size: float, shift: tuple[float, float], longer_side: int
    ) -> bool:
        """One crop, `size` times as large as the face, shifted by a share of the face's side."""
        height, width = image_bgr.shape[:2]
        longer = float((face_px[2:] - face_px[:2]).max())
        middle = (face_px[:2] + face_px[2:]) / 2 + np.asarray(shift, np.float32) * longer
        low = np.clip(np.round(middle - longer * size / 2), 0, (width, height)).astype(int)
        high = np.clip(np.round(middle + longer * size / 2), 0, (width, height)).astype(int)
        if (high - low).min() < LEAST_CROP_PX:
            return True  # too small to be asked
        wanted = self.manifest.input
        multiple = -(-longer_side // wanted.multiple_of) * wanted.multiple_of
        once = self.at(multiple).with_looks(near_side=0, far_most=0)
        offset = np.concatenate([low, low]).astype(np.float32)
        sides = np.concatenate([high - low, high - low]).astype(np.float32)
        found = once.detect(image_bgr[low[1] : high[1], low[0] : high[0]], SURVIVES)
        boxes = np.asarray([each.box for each in found], np.float32).reshape(-1, 4) * sides + offset
        return bool(intersection_over_union(boxes, face_px[None]).max(initial=0) >= SAME_FACE)

    def _carry_out(
        self, plan: Sequence[PlannedLook], image_bgr: Image, source: Image | None, threshold: float
    ) -> tuple[Candidates, Features | None]:
        """What these looks find, before suppression, and the features of a whole look; those of one size are a batch.

        Args:
            source: for looks at the whole picture, from `shared_source`.
        """
        height, width = image_bgr.shape[:2]
        found = [Candidates.none(len(self.manifest.labels))]
        features: Features | None = None
        for places in shapes(plan).values():
            parts = [plan[place].part for place in places]
            wanted = replace(self.manifest.input, longer_side=plan[places[0]].longer_side)
            prepared = [prepare(image_bgr[y1:y2, x1:x2], wanted, source) for x1, y1, x2, y2 in parts]
            tensors = [tensor for tensor, _scale in prepared]
            is_whole = plan[places[0]].kind == "whole"
            batch = np.concatenate(tensors) if len(tensors) > 1 else tensors[0]
            outputs = self.run(batch, is_whole)
            if is_whole and self.manifest.features is not None:
                scale_x, scale_y = prepared[0][1]
                rows, columns = batch.shape[2:] if wanted.layout == "NCHW" else batch.shape[1:3]
                inner = (scale_x * width / columns, scale_y * height / rows)
                features = Features.of(self.manifest.features, outputs[-1][0], inner)
            for number, place in enumerate(places):
                look, scale = plan[place], np.asarray(prepared[number][1] * 2, np.float32)
                one = tuple(output[number : number + 1] for output in outputs)
                boxes, confidences = decode(self.manifest, one, threshold)
                boxes = boxes / scale + np.asarray(look.part[:2] * 2, np.float32)
                own = counts(look, boxes, width, height, self.manifest.looks.near_least)
                detail = float(scale[0]) / self.input_scale(image_bgr)
                found.append(Candidates(boxes[own], confidences[own], np.full(int(own.sum()), detail, np.float32)))
        return found[0].joined(*found[1:]), features

    def _where_to_look(
        self, seen: Candidates, hints: Sequence[Box], before: Sequence[PartPx], width: int, height: int
    ) -> tuple[list[PartPx], int]:
        """Parts for far looks: around what may be small faces, and around hints."""
        best = seen.confidences.max(axis=1, initial=0)
        scale = self.manifest.input.longer_side / max(width, height)
        chosen = np.flatnonzero(small(seen.boxes_px, best, scale))
        if not len(chosen) and not hints:
            return [], 0
        chosen = chosen[suppress(seen.boxes_px[chosen], best[chosen], self.manifest.iou_threshold)]
        hinted = np.asarray(hints, np.float32).reshape(-1, 4) * np.asarray([width, height] * 2, np.float32)
        places = np.concatenate([seen.boxes_px[chosen], hinted])
        weights = np.concatenate([np.ones(len(chosen), np.float32), np.full(len(hinted), HINT, np.float32)])
        weights[lie_in(places, before)] *= AGAIN
        looks = self.manifest.looks
        return far_parts(places, weights, width, height, looks.far_most, looks.far_part)

    def run(self, tensor: Floats, with_features: bool = False) -> tuple[Floats, ...]:
        """The model's outputs for an input that `prepare` made, in the order of its kind's roles, then its features."""
        names = self._all_outputs if with_features else self._outputs
        return tuple(self._session.run(names, {self.manifest.input.name: tensor}))

    def _detection(self, box: Floats, scores: Floats, detail: float) -> Detection:
        best = int(scores.argmax())
        x1, y1, x2, y2 = (float(value) for value in box)
        named = dict(zip(self.manifest.labels, (float(score) for score in scores), strict=True))
        return Detection((x1, y1, x2, y2), self.manifest.labels[best], float(scores[best]), named, float(detail))

    def _check_names(self) -> None:
        inputs = [entry.name for entry in self._session.get_inputs()]
        if inputs != [self.manifest.input.name]:
            raise ModelError(
                f"The model {self.manifest.name} takes {', '.join(inputs)}, "
                f"not {self.manifest.input.name} as its manifest says."
            )
        outputs = {entry.name for entry in self._session.get_outputs()}
        if missing := set(self._all_outputs) - outputs:
            raise ModelError(
                f"The model {self.manifest.name} gives no {', '.join(sorted(missing))}; its manifest lies."
            )

    def _check_outputs(self) -> None:
        """Run a grey picture through the model, and check the shapes of its outputs."""
        grey = np.full((180, 320, 3), 127, np.uint8)
        tensor, _ = prepare(grey, self.manifest.input)
        try:
            boxes, scores, *features = self.run(tensor, True)
        except Exception as error:
            raise ModelError(
                f"The model {self.manifest.name} does not take what its manifest describes: {_first_line(error)}"
            ) from error
        labels = len(self.manifest.labels)
        points = boxes.shape[1] if boxes.ndim == 3 else -1
        if boxes.shape != (1, points, 4) or scores.shape != (1, points, labels):
            raise ModelError(
                f"The model {self.manifest.name} gives {boxes.shape} and {scores.shape}; "
                f"its manifest promises (1, points, 4) and (1, points, {labels})."
            )
        if self.manifest.features and features[0].shape[:2] != (1, len(self.manifest.features.mean)):
            raise ModelError(f"The model {self.manifest.name} gives other features than its manifest promises.")
        if self.manifest.anchors and count_anchors(self.manifest.anchors) != points:
            raise ModelError(
                f"The model {self.manifest.name} gives {points} points, "
                f"its manifest has {count_anchors(self.manifest.anchors)} anchors."
            )


def check_image(image_bgr: Image) -> None:
    """Raise PictureError unless this is a picture as OpenCV gives it."""
    if not isinstance(image_bgr, np.ndarray) or image_bgr.ndim != 3 or image_bgr.shape[2] != 3:
        raise PictureError("A picture is an array of height x width x 3 (blue, green, red).")
    if image_bgr.dtype != np.uint8:
        raise PictureError(f"A picture holds uint8 values, not {image_bgr.dtype}.")
    if min(image_bgr.shape[:2]) < 2:
        raise PictureError("The picture is empty.")


def prepare(image_bgr: Image, wanted: ModelInput, source: Image | None = None) -> tuple[Floats, tuple[float, float]]:
    """The model's input, and the factors (x, y) from pixels of the picture to pixels of the input.

    Args:
        source: the same picture, halved already, from `shared_source`: the result is the same, for less.
    """
    height, width = image_bgr.shape[:2]
    if wanted.resize == "letterbox":
        inner_w, inner_h = inner_size(width, height, wanted.longer_side)
        outer_w, outer_h = (-(-side // wanted.multiple_of) * wanted.multiple_of for side in (inner_w, inner_h))
        canvas = np.full((outer_h, outer_w, 3), wanted.pad, np.uint8)
    else:
        inner_w, inner_h = wanted.width, wanted.height
        canvas = np.empty((inner_h, inner_w, 3), np.uint8)
    _shrink(image_bgr if source is None else source, canvas[:inner_h, :inner_w])
    planes = cv2.split(canvas)  # three copies of bytes, then to float: a fifth of the time of a transposed float copy
    if wanted.channels == "RGB":
        planes = planes[::-1]
    axis = 0 if wanted.layout == "NCHW" else 2
    tensor = np.stack(planes, axis, dtype=np.float32, casting="safe")
    low, high = wanted.range
    if (low, high) != (0, 255):
        tensor *= np.float32((high - low) / 255)
        tensor += np.float32(low)
    return tensor[None], (inner_w / width, inner_h / height)


def inner_size(width: int, height: int, longer_side: int) -> tuple[int, int]:
    """What a picture measures in a letterbox, px."""
    factor = longer_side / max(height, width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def shared_source(image_bgr: Image, longer_side: int) -> Image:
    """The picture, halved as far as every letterbox up to this longer side would halve it anyway."""
    width, height = inner_size(image_bgr.shape[1], image_bgr.shape[0], longer_side)
    return halved(image_bgr, 2 * width, 2 * height)


def _shrink(image: Image, target: Image) -> None:
    """Resize into `target`: halve by area, which is exact and vectorised, then do the rest linearly or by area.

    Area alone takes eight times as long, with no gain that any figure shows.
    """
    height, width = target.shape[:2]
    image = halved(image, 2 * width, 2 * height)
    if image.shape[:2] != (2 * height, 2 * width):  # if it is, the last halving goes straight into `target`
        image = halved(image, width, height)
    if image.shape[1] == width and image.shape[0] == height:
        target[:] = image
        return
    much = image.shape[1] >= 2 * width or image.shape[0] >= 2 * height
    cv2.resize(image, (width, height), dst=target, interpolation=cv2.INTER_AREA if much else cv2.INTER_LINEAR)


def halved(image: Image, width: float, height: float) -> Image:
    """The picture, halved by area for as long as both of its sides are at least twice those wanted."""
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        half = (-(-image.shape[1] // 2), -(-image.shape[0] // 2))
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    return image


def find(manifest: Manifest, outputs: tuple[Floats, ...], threshold: float) -> tuple[Floats, Floats]:
    """What is left of a model's outputs: boxes (n, 4) in pixels of the input, and confidences (n, labels).

    Args:
        threshold: the lowest confidence, in (0, 1).
    """
    boxes_px, confidences = decode(manifest, outputs, threshold)
    kept = suppress(boxes_px, confidences.max(axis=1, initial=0), manifest.iou_threshold)
    return boxes_px[kept], confidences[kept]


def decode(manifest: Manifest, outputs: tuple[Floats, ...], threshold: float) -> tuple[Floats, Floats]:
    """The same before suppression: in it, one face may have several boxes."""
    boxes_px, raw = DECODERS[manifest.kind](manifest, outputs, manifest.calibration.score(threshold))
    return boxes_px, manifest.calibration.confidence(raw)


def suppress(boxes_xyxy: Floats, confidences: Floats, iou_threshold: float) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression over all labels; indices of what is kept, most confident first.

    One face is one detection whatever the label, so a box is dropped when it overlaps a more confident one by more
    than `iou_threshold` intersection over union.
    """
    order = np.argsort(-confidences, kind="stable")[:CANDIDATES]
    if len(order) < 2:
        return order
    overlaps = intersection_over_union(boxes_xyxy[order], boxes_xyxy[order]) > iou_threshold
    alive = np.ones(len(order), bool)
    for rank in range(len(order)):
        if alive[rank]:
            alive[rank + 1 :] &= ~overlaps[rank, rank + 1 :]
    return order[alive]


def intersection_over_union(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """Intersection over union of each box in a (n, 4) with each in b (m, 4): (n, m), from 0 to 1."""
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    common = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    area_a = np.clip(a_xyxy[:, 2:] - a_xyxy[:, :2], 0, None).prod(axis=1)
    area_b = np.clip(b_xyxy[:, 2:] - b_xyxy[:, :2], 0, None).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - common
    result: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return result


def _roles(manifest: Manifest) -> tuple[str, ...]:
    return OUTPUTS[manifest.kind]


def _has_area(box: Floats) -> bool:
    return bool(box[2] > box[0] and box[3] > box[1])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
