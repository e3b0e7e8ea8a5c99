"""What a face detector of today sees in the training pictures: faces that labels lack, and where eyes and mouth are.

The teacher is YuNet's ONNX file (ShiqiYu/libfacedetection.train, Apache-2.0; Wu, Peng, Yu, 2023): of each stride
`cls_s`, `obj_s`, `bbox_s` and `kps_s`, a point a cell. Nothing of it is in the trained model but what it taught.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from detection.coco import Example
from detection.detector import Image, prepare, suppress
from detection.errors import ModelError, PictureError
from detection.manifest import ModelInput
from detection.pictures import read_picture

Floats = npt.NDArray[np.float32]
STRIDES = (8, 16, 32)
LEAST_SCORE = 0.3
INPUT = ModelInput("input", "NCHW", "BGR", (0, 255), "letterbox", longer_side=640, multiple_of=32)


@dataclass(frozen=True)
class Seen:
    """The teacher's faces of one picture: boxes (n, 4) and landmarks (n, 5, 2) in its pixels, scores (n,).

    Landmarks are the eye, the other eye, the tip of the nose, and both corners of the mouth, from left to right.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats


class Teacher:
    """A face detector that is asked once about each training picture. Raises ModelError for another file."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes derive from Exception alone
            raise ModelError(f"The teacher {path} cannot be loaded: {error}.") from error
        self._outputs = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]
        if missing := set(self._outputs) - {output.name for output in self._session.get_outputs()}:
            raise ModelError(f"The teacher {path} gives no {', '.join(sorted(missing))}; it is no YuNet.")

    def look(self, image_bgr: Image) -> Seen:
        """The faces in a picture, at a longer side of 640 px."""
        tensor, (scale, _) = prepare(image_bgr, INPUT)
        results = self._session.run(self._outputs, {self._session.get_inputs()[0].name: tensor})
        classes, objects, offsets, points = (results[first : first + 3] for first in (0, 3, 6, 9))
        cells = []
        for stride in STRIDES:
            y, x = np.mgrid[: tensor.shape[2] // stride, : tensor.shape[3] // stride]
            cells.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, 1)], 1) * stride)
        place = np.concatenate(cells).astype(np.float32)
        score = np.sqrt(_joined(classes)[:, 0] * _joined(objects)[:, 0])
        chosen = score >= LEAST_SCORE
        place, score, offset = place[chosen], score[chosen], _joined(offsets)[chosen]
        stride_px = place[:, 2:]
        centre = place[:, :2] + offset[:, :2] * stride_px
        half = np.exp(np.clip(offset[:, 2:], -8, 8)) * stride_px / 2
        boxes = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
        landmarks: Floats = _joined(points)[chosen].reshape(-1, 5, 2) * stride_px[:, None] + place[:, None, :2]
        kept = suppress(boxes, score, 0.45)
        factor = np.float32(scale)
        return Seen(boxes[kept] / factor, np.asarray(score[kept], np.float32), landmarks[kept] / factor)


def _joined(levels: list[Floats]) -> Floats:
    return np.concatenate([level[0] for level in levels])


def ask(teacher: Teacher, examples: Iterable[Example]) -> list[Seen]:
    """What the teacher sees in each picture; nothing in one that cannot be read."""
    result = []
    for example in examples:
        try:
            result.append(teacher.look(read_picture(example.path)))
        except PictureError:
            result.append(nobody())
    return result


def nobody() -> Seen:
    """A picture without faces."""
    return Seen(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
