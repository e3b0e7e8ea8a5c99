"""Pictures of people close to a webcam, made from labelled ones: a face fills 40 to 95 % of each, and is blurred.

What the detector is asked at a door's phone is rare in public sets; so faces that are large enough are cut out with
what is around them, enlarged, blurred, darkened or lightened, and compressed as a webcam does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from detection.coco import Example, read_image
from detection.detector import Image
from detection.errors import DataError, PictureError
from detection.pictures import encode_jpeg

Floats = npt.NDArray[np.float32]
WIDTH, HEIGHT = 640, 480
SHARES = (0.40, 0.95)  # of the picture's height, by the face's longer side
LEAST_SIDE_PX = 96.0  # of a face in its picture: smaller ones would be mush
BLUR_PX = (0.6, 2.2)  # standard deviation, in pixels of the result
GAIN = (0.7, 1.25)
QUALITY = (45, 80)  # JPEG
LEAST_SEEN = 0.6  # of another face that reaches into the picture: with less it is neither right nor wrong


def make_near(examples: Sequence[Example], folder: Path, seed: int) -> list[Example]:
    """One picture for each large face of these, written into `folder`. Raises DataError if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    made: list[Example] = []
    for example in examples:
        sides = (example.boxes[:, 2:] - example.boxes[:, :2]).max(1, initial=0)
        if not (sides >= LEAST_SIDE_PX).any():
            continue
        try:
            image = read_image(example)
        except PictureError:
            continue
        for index in np.flatnonzero(sides >= LEAST_SIDE_PX):
            made.append(_close_up(example, image, int(index), folder / f"{len(made):05}.jpg", chance))
    if not made:
        raise DataError(f"No face is {LEAST_SIDE_PX:.0f} px or larger, so none can be shown close up.")
    return made


def _close_up(example: Example, image: Image, index: int, path: Path, chance: np.random.Generator) -> Example:
    x1, y1, x2, y2 = (float(value) for value in example.boxes[index])
    longer = max(x2 - x1, y2 - y1)
    tall = longer / chance.uniform(*SHARES)
    wide = tall * WIDTH / HEIGHT
    left = (x1 + x2 - wide) / 2 + chance.uniform(-0.5, 0.5) * max(0.0, wide - (x2 - x1)) * 0.6
    top = (y1 + y2 - tall) / 2 + chance.uniform(-0.5, 0.5) * max(0.0, tall - (y2 - y1)) * 0.6
    factor = HEIGHT / tall
    affine = np.asarray([[factor, 0, -left * factor], [0, factor, -top * factor]], np.float64)
    picture = cv2.warpAffine(image, affine, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    picture = cv2.GaussianBlur(picture, (0, 0), float(chance.uniform(*BLUR_PX)))
    picture = cv2.convertScaleAbs(picture, alpha=float(chance.uniform(*GAIN)))
    path.write_bytes(encode_jpeg(np.asarray(picture, np.uint8), int(chance.integers(*QUALITY))))
    moved = (example.boxes - np.asarray([left, top, left, top])) * factor
    boxes = np.clip(moved, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32)
    seen = (boxes[:, 2:] - boxes[:, :2]).prod(1) / np.maximum(1e-6, (moved[:, 2:] - moved[:, :2]).prod(1))
    known = seen >= LEAST_SEEN
    ignored = np.concatenate([boxes[(seen > 0) & ~known], _moved(example.ignored, left, top, factor)])
    return Example(path, WIDTH, HEIGHT, boxes[known], example.labels[known], example.source, ignored)


def _moved(boxes: Floats, left: float, top: float, factor: float) -> Floats:
    moved = (boxes - np.asarray([left, top, left, top])) * factor
    inside = np.clip(moved, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32)
    return np.asarray(inside[(inside[:, 2:] - inside[:, :2]).prod(1) > 0], np.float32)
