"""What a modern face detector sees in the training pictures: faces that labels lack, and where eyes and mouth are.

The teacher is YuNet's ONNX file (ShiqiYu/libfacedetection.train, Apache-2.0; Wu, Peng, Yu, 2023): for each stride
`cls_s`, `obj_s`, `bbox_s` and `kps_s`, one point per cell. Nothing of it is in the trained model except what it taught.
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
    """The teacher's faces in one picture: boxes (n, 4) and landmarks (n, 5, 2) in its pixels, scores (n,).

    Landmarks are the eye, the other eye, the tip of the nose, and both corners of the mouth, from left to right.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats


@dataclass(frozen=True)
class Taught:
    """What the teacher says at each anchor point of scenes: a face's score there (n, p), 0 to 1, and its box (n, p, 4).

    Points are those of strides 8, 16 and 32, in that order; boxes are x1, y1, x2, y2 in pixels of the scene.
    """

    faces: Floats
    boxes: Floats


class Teacher:
    """A face detector that is asked about each training picture, and each scene. Raises ModelError for another file.

    Args:
        path: a YuNet file.
        threads: 0 means as many as there are cores.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
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
        faces, all_boxes, points = self._ask(tensor)
        score = np.sqrt(faces[0])
        chosen = score >= LEAST_SCORE
        score, boxes, landmarks = score[chosen], all_boxes[0, chosen], points[0, chosen]
        kept = suppress(boxes, score, 0.45)
        factor = np.float32(scale)
        return Seen(boxes[kept] / factor, np.asarray(score[kept], np.float32), landmarks[kept] / factor)

    def points(self, images: npt.NDArray[np.uint8]) -> Taught:
        """What it says about scenes (n, 3, h, w) at their own size, point by point."""
        faces, boxes, _ = self._ask(images.astype(np.float32))
        return Taught(faces, boxes)

    def _ask(self, tensor: Floats) -> tuple[Floats, Floats, Floats]:
        """For each point, its face score (n, p), box (n, p, 4) and landmarks (n, p, 5, 2), in pixels of the input."""
        results = self._session.run(self._outputs, {self._session.get_inputs()[0].name: tensor})
        classes, objects, offsets, marks = (np.concatenate(results[first : first + 3], 1) for first in (0, 3, 6, 9))
        cells = []
        for stride in STRIDES:
            y, x = np.mgrid[: tensor.shape[2] // stride, : tensor.shape[3] // stride]
            cells.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, 1)], 1) * stride)
        place = np.concatenate(cells).astype(np.float32)
        stride_px = place[:, 2:]
        centre = place[:, :2] + offsets[..., :2] * stride_px
        half = np.exp(np.clip(offsets[..., 2:], -8, 8)) * stride_px / 2
        landmarks = marks.reshape(*marks.shape[:2], 5, 2) * stride_px[:, None] + place[:, None, :2]
        boxes = np.concatenate([centre - half, centre + half], 2).astype(np.float32)
        return classes[..., 0] * objects[..., 0], boxes, landmarks


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
