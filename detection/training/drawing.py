"""What people wear and hold in front of their faces, drawn on: rare in pictures, but daily for a camera in a lobby.

A face is measured by its landmarks: origin at the tip of the nose, x to the right along the eyes, y down towards the
mouth, in units of the distance from the eyes to the mouth.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from detection.detector import Image
from detection.manifest import LABELS

Floats = npt.NDArray[np.float32]
NO_MASK, MASK, INCORRECT = (LABELS.index(name) for name in ("no_mask", "mask", "incorrect"))
SURGICAL = ((246, 244, 240), (230, 215, 185), (225, 200, 150), (235, 225, 215), (210, 190, 140))  # BGR


class DrawnFace:
    """Where things are in one face; `is_frontal` is False if the head is turned too far to say."""

    def __init__(self, box: Floats, landmarks: Floats) -> None:
        eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
        self.origin = landmarks[2]
        axis = mouth - eyes
        self.unit = max(float(np.hypot(*axis)), 1e-3)
        self.down = axis / self.unit
        self.right = np.asarray([self.down[1], -self.down[0]], np.float32)
        self.left_side = float(np.clip((self.origin[0] - box[0]) / self.unit, 0.25, 1.6))
        self.right_side = float(np.clip((box[2] - self.origin[0]) / self.unit, 0.25, 1.6))
        eye_distance = float(np.hypot(*(landmarks[1] - landmarks[0])))
        self.is_frontal = eye_distance > 0.35 * self.unit and self.unit > 5 and self.down[1] > 0.6

    def pixels(self, points: Floats) -> Floats:
        """Points (n, 2) in the face's units, as pixels of the picture."""
        return np.asarray(
            self.origin + self.unit * (points[:, :1] * self.right + points[:, 1:] * self.down), np.float32
        )


def put_mask(image: Image, box: Floats, landmarks: Floats, rng: np.random.Generator) -> int | None:
    """Draw something over a bare face in place; returns its label afterwards, or None if nothing was drawn."""
    face = DrawnFace(box, landmarks)
    if not face.is_frontal:
        return None
    kind = rng.choice(6, p=(0.46, 0.1, 0.1, 0.12, 0.12, 0.1))
    if kind == 0:
        top, bottom, label = rng.uniform(0.18, 0.42), rng.uniform(0.88, 1.2), MASK
    elif kind == 1:  # a scarf, or a veil: down over the throat
        top, bottom, label = rng.uniform(0.1, 0.4), rng.uniform(1.3, 1.9), MASK
    elif kind == 2:  # the nose is bare
        top, bottom, label = rng.uniform(-0.28, -0.14), rng.uniform(0.9, 1.2), INCORRECT
    else:
        (_put_hand, _put_beard, _put_thing)[kind - 3](image, face, rng)
        return NO_MASK
    outline = _outline(face, top, bottom, rng)
    _fill(image, face, outline, _cloth(rng), rng, float(rng.uniform(0.4, 0.9)))
    return label


def put_accessory(image: Image, box: Floats, landmarks: Floats, rng: np.random.Generator) -> None:
    """Draw dark glasses or a hat on a face in place, masked or not: its label stays."""
    face = DrawnFace(box, landmarks)
    if not face.is_frontal:
        return
    if rng.random() < 0.5:
        cloth = np.full((64, 64, 3), rng.uniform(5, 60), np.uint8)
        for side in (-1, 1):
            lens = _ellipse(np.asarray([side * 0.42, -0.58], np.float32), rng.uniform(0.28, 0.42), 0.26, 0.0)
            _fill(image, face, lens, cloth, rng, 0.2)
        return
    brim, crown = rng.uniform(-1.15, -0.85), rng.uniform(-2.0, -1.5)
    left, right = face.left_side * rng.uniform(0.95, 1.4), face.right_side * rng.uniform(0.95, 1.4)
    corners = [(-left, brim), (-left * 0.8, crown), (right * 0.8, crown), (right, brim), (0, brim - 0.1)]
    _fill(image, face, np.asarray(corners, np.float32), _cloth(rng), rng, 0.6)


def _outline(face: DrawnFace, top: float, bottom: float, rng: np.random.Generator) -> Floats:
    """The corners of a mask; `top` and `bottom` are how far it reaches above and below the tip of the nose."""
    left, right = face.left_side * rng.uniform(0.8, 1.0), face.right_side * rng.uniform(0.8, 1.0)
    ear = top * rng.uniform(0.2, 0.7)
    jaw = bottom * rng.uniform(0.72, 0.9)
    points = np.asarray(
        [
            (-left, -ear),
            (-left * 0.45, -top * 0.9),
            (0, -top),
            (right * 0.45, -top * 0.9),
            (right, -ear),
            (right * 0.95, bottom * 0.45),
            (right * 0.55, jaw),
            (0, bottom),
            (-left * 0.55, jaw),
            (-left * 0.95, bottom * 0.45),
        ],
        np.float32,
    )
    return points + rng.normal(0, 0.025, points.shape).astype(np.float32)


def _cloth(rng: np.random.Generator) -> Image:
    """A piece of cloth, 64x64: surgical, black, plain or patterned; occasional transparency comes from alpha."""
    kind = rng.choice(4, p=(0.38, 0.24, 0.18, 0.2))
    if kind == 0:
        colour = np.asarray(SURGICAL[rng.integers(len(SURGICAL))], np.float32) + rng.normal(0, 8, 3)
    elif kind == 1:
        colour = np.full(3, rng.uniform(8, 55)) + rng.normal(0, 6, 3)
    else:
        colour = rng.uniform(20, 240, 3)
    cloth = np.broadcast_to(colour, (64, 64, 3)).astype(np.float32)
    y, x = np.mgrid[:64, :64].astype(np.float32)
    if kind == 3:
        other = rng.uniform(0, 255, 3)
        angle, step = rng.uniform(0, np.pi), rng.uniform(4, 18)
        along = np.cos(angle) * x + np.sin(angle) * y
        across = np.cos(angle) * y - np.sin(angle) * x
        waves = np.sin(along * 2 * np.pi / step)
        if rng.random() < 0.5:
            waves = waves * np.sin(across * 2 * np.pi / step)
        cloth = np.where(waves[..., None] > rng.uniform(-0.3, 0.5), cloth, other).astype(np.float32)
    if rng.random() < 0.4:  # pleats
        cloth = cloth * (1 + 0.07 * np.sin(y * 2 * np.pi / rng.uniform(10, 22)))[..., None]
    return np.clip(cloth, 0, 255).astype(np.uint8)


def _fill(image: Image, face: DrawnFace, outline: Floats, cloth: Image, rng: np.random.Generator, shade: float) -> None:
    """Lay cloth over the outline, lit like what was there before."""
    corners = face.pixels(outline)
    low = np.floor(corners.min(0)).astype(int) - 2
    high = np.ceil(corners.max(0)).astype(int) + 3
    x1, y1 = np.maximum(low, 0)
    x2, y2 = np.minimum(high, (image.shape[1], image.shape[0]))
    if x2 - x1 < 4 or y2 - y1 < 4:
        return
    region = image[y1:y2, x1:x2]
    alpha = np.zeros(region.shape[:2], np.float32)
    shifted = np.round((corners - (x1, y1)) * 16).astype(np.int32)
    cv2.fillPoly(alpha, [shifted], 1.0, lineType=cv2.LINE_AA, shift=4)
    softness = max(0.6, face.unit * 0.03)
    cv2.GaussianBlur(alpha, (0, 0), softness, dst=alpha)
    if rng.random() < 0.06:
        alpha *= rng.uniform(0.45, 0.75)  # transparent
    grey = cv2.cvtColor(region, cv2.COLOR_BGR2GRAY).astype(np.float32)
    glow = cv2.GaussianBlur(grey, (0, 0), max(1.0, face.unit * 0.35))
    light = 1 + shade * (glow / max(float(glow.mean()), 1.0) - 1)
    level = np.clip(float(grey.mean()) / 130, 0.35, 1.25)  # a white mask in a dark hall is grey
    fitted = cv2.resize(cloth, (region.shape[1], region.shape[0]), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    fitted = fitted * (light * (1 + shade * (level - 1)))[..., None]
    fitted += rng.normal(0, 3, region.shape[:2]).astype(np.float32)[..., None]
    mixed = region * (1 - alpha[..., None]) + fitted * alpha[..., None]
    image[y1:y2, x1:x2] = np.clip(mixed, 0, 255).astype(np.uint8)


def _put_hand(image: Image, face: DrawnFace, rng: np.random.Generator) -> None:
    """Skin over the mouth: a palm and fingers in the face's own colour. The face stays bare."""
    skin = _colour_at(image, face, (0, -0.75), max(2, int(face.unit * 0.12)))
    if skin is None:
        return
    cloth = _plain(skin * rng.uniform(0.8, 1.1))
    side = rng.choice((-1.0, 1.0))
    turn = rng.uniform(-0.6, 0.6)
    for finger in range(4):
        length, width = rng.uniform(0.55, 0.9), rng.uniform(0.09, 0.13)
        centre = np.asarray([side * 0.1, 0.15 + finger * 0.2], np.float32)
        _fill(image, face, _ellipse(centre, length, width, turn), cloth, rng, 0.5)
    palm = np.asarray([side * rng.uniform(0.6, 1.0), rng.uniform(0.5, 0.9)], np.float32)
    _fill(image, face, _ellipse(palm, rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.5), turn), cloth, rng, 0.5)


def _put_beard(image: Image, face: DrawnFace, rng: np.random.Generator) -> None:
    """Hair on chin and cheeks, with lips in it."""
    lips = _colour_at(image, face, (0, 0.45), max(1, int(face.unit * 0.08)))
    if lips is None:
        return
    lip = _plain(lips * rng.uniform(0.75, 1.0))
    shade = rng.uniform(15, 90) if rng.random() < 0.8 else rng.uniform(130, 220)
    hair = rng.normal(shade, rng.uniform(8, 30), (64, 64))[..., None] * (0.85, 0.95, 1.05)
    grown = np.clip(cv2.GaussianBlur(hair, (1, 5), 0), 0, 255).astype(np.uint8)
    outline = _outline(face, float(rng.uniform(-0.3, -0.15)), float(rng.uniform(0.95, 1.35)), rng)
    _fill(image, face, outline, grown, rng, 0.3)
    mouth = _ellipse(np.asarray([0, 0.45], np.float32), rng.uniform(0.28, 0.42), rng.uniform(0.07, 0.15), 0.0)
    _fill(image, face, mouth, lip, rng, 0.3)


def _colour_at(image: Image, face: DrawnFace, place: tuple[float, float], reach: int) -> npt.NDArray[np.float64] | None:
    """The median colour (3,) within `reach` px of a place in the face; None outside the picture."""
    x, y = face.pixels(np.asarray([place], np.float32))[0].astype(int)
    patch = image[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
    return np.asarray(np.median(patch.reshape(-1, 3), 0)) if patch.size else None


def _plain(colour: npt.NDArray[np.float64]) -> Image:
    """Cloth of one colour (3,), 64x64."""
    return np.broadcast_to(np.clip(colour, 0, 255).astype(np.uint8), (64, 64, 3)).copy()


def _put_thing(image: Image, face: DrawnFace, rng: np.random.Generator) -> None:
    """A microphone, a cup or a phone in front of the mouth, held from below."""
    x, y = rng.uniform(-0.35, 0.35), rng.uniform(0.35, 0.85)
    width = rng.uniform(0.2, 0.5)
    cloth = _cloth(rng)
    if rng.random() < 0.5:  # a microphone: a ball on a stick
        lean = rng.uniform(-0.6, 0.6)
        stick = [(x - 0.1, y), (x + 0.1, y), (x + 0.1 + lean, y + 1.5), (x - 0.1 + lean, y + 1.5)]
        _fill(image, face, np.asarray(stick, np.float32), cloth, rng, 0.5)
        _fill(image, face, _ellipse(np.asarray([x, y], np.float32), width * 0.8, width * 0.7, 0.0), cloth, rng, 0.5)
        return
    low = y + rng.uniform(0.7, 1.5)
    sides = [(x - width, y - 0.1), (x + width, y - 0.1), (x + width * 0.8, low), (x - width * 0.8, low)]
    _fill(image, face, np.asarray(sides, np.float32), cloth, rng, 0.5)


def _ellipse(centre: Floats, length: float, width: float, turn: float) -> Floats:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    points = np.stack([np.cos(angles) * length, np.sin(angles) * width], 1)
    rotation = np.asarray([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(points @ rotation.T + centre, np.float32)
