"""From labelled pictures to training scenes: cut, scaled, combined, and degraded the way cameras do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from detection.detector import Image, halved
from detection.manifest import LABELS
from detection.training.drawing import put_accessory, put_mask

Floats = npt.NDArray[np.float32]
UNKNOWN = -1  # the label of a face that was seen, but whose wear is unknown
GRIDS = ((1, 1), (2, 1), (2, 2), (3, 2), (4, 3))  # columns and rows of pictures in a wide scene
SMALLEST_PX = 7.0  # smaller faces are ignored: neither to be found nor penalised
TURNS, TURN_SHARES = (7.0, 30.0), (0.8, 0.2)  # standard deviations of a head's turn in degrees: standing, and lying
SEEN_WHOLE, SEEN_PARTLY = 0.6, 0.2  # of a face cut by an edge: from the first up, a face; between the two, ignored


@dataclass(frozen=True)
class Faces:
    """The faces of a picture, all in its pixels.

    Args:
        boxes: (n, 4) x1, y1, x2, y2.
        labels: (n,) indices into LABELS, or UNKNOWN.
        landmarks: (n, 5, 2); NaN where unknown.
        ignored: (k, 4) places where there may be a face: what is found there is neither right nor wrong.
    """

    boxes: Floats
    labels: npt.NDArray[np.int64]
    landmarks: Floats
    ignored: Floats


@dataclass(frozen=True)
class Scene:
    """A training input (h, w, 3) with its faces; like `Faces`, without landmarks."""

    image: Image
    boxes: Floats
    labels: npt.NDArray[np.int64]
    ignored: Floats


@dataclass(frozen=True)
class Recipe:
    """How often each thing is done; each value is a share from 0 to 1 unless noted otherwise.

    Args:
        smallest_px, largest: a scene's chosen face is from this many px to this share of the scene's shorter side.
        whole: pictures that are shown whole, as the product does it, rather than cut around a face.
        drawn: pictures whose faces get masks, scarves, hands, beards, things, glasses and hats drawn on.
        degraded: pictures that go through a bad camera.
    """

    smallest_px: float = 9.0
    largest: float = 1.0
    whole: float = 0.5
    drawn: float = 0.25
    degraded: float = 0.35


Take = Callable[[], tuple[Image, Faces]]


def compose(take: Take, width: int, height: int, rng: np.random.Generator, recipe: Recipe) -> Scene:
    """A scene of one to twelve pictures, each in its own part of it: many small faces come from many small pictures."""
    columns, rows = GRIDS[rng.choice(len(GRIDS), p=(0.45, 0.15, 0.2, 0.12, 0.08))]
    if height > width:
        columns, rows = rows, columns
    lefts, tops = _cuts(width, columns, rng), _cuts(height, rows, rng)
    cells = [
        (x1, y1, x2, y2)
        for y1, y2 in zip(tops[:-1], tops[1:], strict=True)
        for x1, x2 in zip(lefts[:-1], lefts[1:], strict=True)
    ]
    canvas = np.zeros((height, width, 3), np.uint8)
    found: list[Scene] = []
    for x1, y1, x2, y2 in cells:
        image, faces = take()
        if rng.random() < recipe.drawn:
            image, faces = draw_masks(image, faces, rng)
        part = place(image, faces, x2 - x1, y2 - y1, rng, recipe)
        canvas[y1:y2, x1:x2] = colour(part.image, rng)
        shift = np.asarray([x1, y1, x1, y1], np.float32)
        found.append(Scene(part.image, part.boxes + shift, part.labels, part.ignored + shift))
    if rng.random() < recipe.degraded:
        canvas = degrade(canvas, rng)
    return Scene(
        canvas,
        np.concatenate([part.boxes for part in found]),
        np.concatenate([part.labels for part in found]),
        np.concatenate([part.ignored for part in found]),
    )


def _cuts(length: int, parts: int, rng: np.random.Generator) -> list[int]:
    """Where a side is cut into `parts` roughly equal parts, the ends included."""
    even = np.arange(1, parts) + rng.uniform(-0.3, 0.3, parts - 1)
    return [0, *(round(length * float(each) / parts) for each in even), length]


def draw_masks(image: Image, faces: Faces, rng: np.random.Generator) -> tuple[Image, Faces]:
    """Put masks, scarves, beards, hands and things on most bare faces of a copy of the picture, and hats on any."""
    drawn, labels = image.copy(), faces.labels.copy()
    has_landmarks = np.asarray(np.isfinite(faces.landmarks).all((1, 2)))
    for index in np.flatnonzero(has_landmarks):
        if rng.random() < 0.15:
            put_accessory(drawn, faces.boxes[index], faces.landmarks[index], rng)
    for index in np.flatnonzero(faces.labels == LABELS.index("no_mask")):
        if rng.random() < 0.75 and has_landmarks[index]:
            label = put_mask(drawn, faces.boxes[index], faces.landmarks[index], rng)
            if label is not None:
                labels[index] = label
    return drawn, Faces(faces.boxes, labels, faces.landmarks, faces.ignored)


def place(image: Image, faces: Faces, width: int, height: int, rng: np.random.Generator, recipe: Recipe) -> Scene:
    """Cut, scale, flip and turn a picture into a part of a scene of width x height."""
    source_h, source_w = image.shape[:2]
    fitting = min(width / source_w, height / source_h)
    focus = np.asarray([source_w / 2, source_h / 2], np.float32)
    if rng.random() < recipe.whole or not len(faces.boxes):
        scale = fitting * rng.uniform(0.85, 1.1)
        around = np.asarray([width / 2, height / 2]) + rng.normal(0, 0.05, 2) * (width, height)
    else:
        box = faces.boxes[rng.integers(len(faces.boxes))]
        side = float(np.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1.0)))
        largest = max(recipe.smallest_px * 1.5, recipe.largest * min(width, height) * 0.9)
        wanted = float(np.exp(rng.uniform(np.log(recipe.smallest_px), np.log(largest))))
        scale = float(np.clip(wanted / side, 0.7 * fitting, 3.0))
        focus = (box[:2] + box[2:]) / 2
        reach = np.minimum(wanted * 0.6, np.asarray([width, height]) / 2)
        around = rng.uniform(reach, np.maximum(np.asarray([width, height]) - reach, reach + 1))
    turn = rng.normal(0, rng.choice(TURNS, p=TURN_SHARES)) if rng.random() < 0.4 else 0.0
    stretch = float(np.exp(rng.normal(0, 0.06)))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    image = halved(image, max(1, source_w * scale), max(1, source_h * scale))  # as the product does it
    shrink = np.asarray(image.shape[1::-1]) / (source_w, source_h)
    angle = np.deg2rad(turn)
    linear = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    linear = linear @ np.diag([flip * stretch, 1 / stretch])
    offset = around - linear @ focus
    # Boxes count from a pixel's edge, OpenCV from its centre: without the half, a flipped face is 1 px off its box.
    remaining = linear / shrink
    matrix = np.concatenate([remaining, (offset + remaining.sum(1) / 2 - 0.5)[:, None]], 1)
    fill = int(rng.integers(0, 256)) if rng.random() < 0.3 else 0
    moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(fill, fill, fill))
    boxes, shares = _moved(faces.boxes, linear, offset, width, height)
    ignored, ignored_shares = _moved(faces.ignored, linear, offset, width, height)
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    kept = (shares >= SEEN_WHOLE) & (sides >= SMALLEST_PX)
    unsure = ~kept & (shares >= SEEN_PARTLY)
    return Scene(
        np.asarray(moved, np.uint8),
        boxes[kept],
        faces.labels[kept],
        np.concatenate([boxes[unsure], ignored[ignored_shares > SEEN_PARTLY]]),
    )


def _moved(boxes: Floats, linear: Floats, offset: Floats, width: int, height: int) -> tuple[Floats, Floats]:
    """Boxes after an affine map, cut at the edges, and the share of each that is left.

    A face is an ellipse rather than its box, so a turned box is the one around the turned ellipse.
    """
    if not len(boxes):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + offset
    halves = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) / 2) ** 2 @ (linear.T**2))
    whole = np.concatenate([centres - halves, centres + halves], 1)
    limits = np.asarray([width, height, width, height])
    cut = np.clip(whole, 0, limits)
    area = np.prod(whole[:, 2:] - whole[:, :2], 1)
    share = np.prod(cut[:, 2:] - cut[:, :2], 1) / np.maximum(area, 1e-6)
    return cut.astype(np.float32), share.astype(np.float32)


def colour(image: Image, rng: np.random.Generator) -> Image:
    """A different light: brightness, contrast, gamma, tint, and now and then no colour at all."""
    if rng.random() < 0.1:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        image = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    levels = np.arange(256, dtype=np.float32) / 255
    contrast, brightness = np.exp(rng.normal(0, 0.2)), rng.normal(0, 0.08)
    gamma = float(np.exp(rng.normal(0, 0.25)))
    tints = np.exp(rng.normal(0, 0.05, 3)) if rng.random() < 0.6 else np.ones(3)
    table = ((levels[:, None] ** gamma - 0.5) * contrast + 0.5 + brightness) * tints
    return np.asarray(cv2.LUT(image, np.clip(table * 255, 0, 255).astype(np.uint8).reshape(256, 1, 3)), np.uint8)


def degrade(image: Image, rng: np.random.Generator) -> Image:
    """One or two faults of real cameras: dark, noisy, moving, soft, blocky, foggy, or against the light."""
    for fault in rng.choice(len(FAULTS), size=rng.integers(1, 3), replace=False):
        image = FAULTS[fault](image, rng)
    return image


def _dark(image: Image, rng: np.random.Generator) -> Image:
    gain = rng.uniform(0.15, 0.55)
    noise = rng.normal(0, rng.uniform(2, 9), image.shape[:2]).astype(np.float32)
    lifted = image.astype(np.float32) * gain + noise[..., None]
    return _bytes(lifted * rng.uniform(1.0, 1.6))


def _noise(image: Image, rng: np.random.Generator) -> Image:
    noise = rng.normal(0, rng.uniform(3, 16), image.shape).astype(np.float32)
    return _bytes(image + noise)


def _motion(image: Image, rng: np.random.Generator) -> Image:
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    angle = rng.uniform(0, np.pi)
    for step in np.linspace(-middle, middle, length * 2):
        kernel[round(middle + np.sin(angle) * step), round(middle + np.cos(angle) * step)] = 1
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _soft(image: Image, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 2.0))), np.uint8)


def _blocks(image: Image, rng: np.random.Generator) -> Image:
    quality = int(rng.integers(12, 60))
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _fog(image: Image, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.addWeighted(image, 1 - (share := rng.uniform(0.2, 0.55)), image, 0, share * 220), np.uint8)


def _against_the_light(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    down, across = np.mgrid[:height, :width].astype(np.float32)
    glow = np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * (rng.uniform(0.15, 0.5) * width) ** 2))
    lit = image * rng.uniform(0.4, 0.8) + (glow * rng.uniform(80, 220))[..., None]
    return _bytes(lit)


def _coarse(image: Image, rng: np.random.Generator) -> Image:
    """A picture that was once small."""
    height, width = image.shape[:2]
    factor = rng.uniform(0.35, 0.8)
    small = cv2.resize(image, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _bytes(values: npt.NDArray[Any]) -> Image:
    return np.asarray(np.clip(values, 0, 255), np.uint8)


FAULTS = (_dark, _noise, _motion, _soft, _blocks, _fog, _against_the_light, _coarse)
