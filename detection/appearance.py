"""What a face's pixels say besides its label: how sharp they are, whether they change, and whose they may be."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from detection.detector import Box, Image
from detection.features import Features, chest, forehead

PATCH_SIDE_PX = 32
SUBPIXEL = 0.6  # px of shift, or of zoom, that may remain after aligning two patches
BLOCK_SIDE_PX = 8
SHIFT_PX = 4  # how far two patches may be shifted against each other
BY_FEATURES = 0.25  # what they weigh beside colours
Patch = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Signature:
    """Colours of the hair and forehead, and of the chest: the parts that a mask does not change.

    Args:
        embedding: what the network's features say of the same parts (detection/features.py).
    """

    head: Patch
    chest: Patch
    embedding: Patch | None = None


def crop(image_bgr: Image, box: Box) -> Image:
    """The pixels of a box (relative, may extend past the edge); at least 2x2."""
    height, width = image_bgr.shape[:2]
    x1 = int(np.clip(box[0] * width, 0, width - 2))
    y1 = int(np.clip(box[1] * height, 0, height - 2))
    x2 = int(np.clip(np.ceil(box[2] * width), x1 + 2, width))
    y2 = int(np.clip(np.ceil(box[3] * height), y1 + 2, height))
    return image_bgr[y1:y2, x1:x2]


def clarity(image_bgr: Image, box: Box) -> tuple[float, float]:
    """How sharp a face is, and how light: sharpness, and the mean grey value, 0 to 255.

    Variance of the Laplacian over the variance of the crop, at 48x48 px: about 0.02 is blurred, 0.3 or more sharp.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000; divided by the contrast, so that a
    dark lobby is not called blurred.
    """
    grey = cv2.cvtColor(cv2.resize(crop(image_bgr, box), (48, 48), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var() / (float(grey.var()) + 25.0)), float(grey.mean())


def face_patch(image_bgr: Image, box: Box) -> Patch:
    """The place of a face, a little beyond its box, as 40x40 grey values, to be compared with the same place later."""
    x1, y1, x2, y2 = box
    margin_x = (x2 - x1) * SHIFT_PX / PATCH_SIDE_PX
    margin_y = (y2 - y1) * SHIFT_PX / PATCH_SIDE_PX
    grey = cv2.cvtColor(
        crop(image_bgr, (x1 - margin_x, y1 - margin_y, x2 + margin_x, y2 + margin_y)), cv2.COLOR_BGR2GRAY
    )
    whole = PATCH_SIDE_PX + 2 * SHIFT_PX
    return cv2.resize(grey, (whole, whole), interpolation=cv2.INTER_AREA).astype(np.float32)


def largest_change(before: Patch, after: Patch) -> float:
    """The greatest mean difference of an 8x8 block, in grey levels, after both were aligned as well as a shift of a
    few pixels and a change of light allow: a blink is one block, noise is spread thin, and a trembling camera moves
    everything alike.
    """
    inner = before[SHIFT_PX:-SHIFT_PX, SHIFT_PX:-SHIFT_PX]
    _, _, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(after, inner, cv2.TM_SQDIFF))
    found = after[y : y + PATCH_SIDE_PX, x : x + PATCH_SIDE_PX]
    contrast = float(np.clip(inner.std() / (found.std() + 1e-3), 0.8, 1.25))
    slope = np.abs(cv2.Sobel(inner, cv2.CV_32F, 1, 0, scale=1 / 8)) + np.abs(
        cv2.Sobel(inner, cv2.CV_32F, 0, 1, scale=1 / 8)
    )
    difference = np.abs((found - found.mean()) * contrast - (inner - inner.mean()))
    difference = np.clip(difference - SUBPIXEL * slope, 0, None)
    blocks = PATCH_SIDE_PX // BLOCK_SIDE_PX
    return float(difference.reshape(blocks, BLOCK_SIDE_PX, blocks, BLOCK_SIDE_PX).mean(axis=(1, 3)).max())


def signature(image_bgr: Image, box: Box, features: Features | None = None) -> Signature:
    """Of a face in a picture; `features` are the picture's, where its model gives them."""
    return Signature(
        _colours(crop(image_bgr, forehead(box))),
        _colours(crop(image_bgr, chest(box))),
        None if features is None else features.embedding(box),
    )


def blended(before: Signature, now: Signature, share: float) -> Signature:
    """A memory that takes in `share` of what is seen now."""
    embedding = before.embedding
    if embedding is not None and now.embedding is not None:
        embedding = embedding + share * (now.embedding - embedding)
    return Signature(
        before.head + share * (now.head - before.head), before.chest + share * (now.chest - before.chest), embedding
    )


def similarity(a: Signature, b: Signature) -> float:
    """From 0 (entirely different colours) to 1 (the same): the smaller Bhattacharyya coefficient of head and chest."""
    return float(min(np.sqrt(a.head * b.head).sum(), np.sqrt(a.chest * b.chest).sum()))


def unlikeness(a: Signature, b: Signature) -> float:
    """From 0 (the same) to about 1.2: by colours, and a quarter by the network's features, where both have them."""
    by_colour = 1 - similarity(a, b)
    if a.embedding is None or b.embedding is None:
        return by_colour
    lengths = float(np.linalg.norm(a.embedding) * np.linalg.norm(b.embedding))
    return by_colour + BY_FEATURES * (1 - float(a.embedding @ b.embedding) / max(1e-6, lengths)) / 2


def _colours(pixels: Image) -> Patch:
    """A histogram of hue by saturation, and of value, that sums to 1."""
    small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    colour = cv2.calcHist([hsv], [0, 1], None, [12, 4], [0, 180, 0, 256]).ravel()
    light = cv2.calcHist([hsv], [2], None, [8], [0, 256]).ravel()
    both = np.concatenate([colour, light]).astype(np.float32)
    return both / float(both.sum())


def pixelate(picture: Image, box: Box, blocks: int = 6) -> None:
    """Make a face in `picture` unrecognisable, in place: `blocks` squares across, a little beyond the box."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    region = crop(picture, (x1 - 0.1 * w, y1 - 0.15 * h, x2 + 0.1 * w, y2 + 0.1 * h))
    _coarsen(region, (blocks, blocks))


def coarsen(picture: Image, blocks: int = 16) -> None:
    """Make everybody in `picture` unrecognisable, in place: `blocks` squares along its longer side."""
    height, width = picture.shape[:2]
    longer = max(height, width)
    _coarsen(picture, (max(1, round(blocks * width / longer)), max(1, round(blocks * height / longer))))


def _coarsen(region: Image, blocks: tuple[int, int]) -> None:
    tiny = cv2.resize(region, blocks, interpolation=cv2.INTER_AREA)
    region[:] = cv2.resize(tiny, (region.shape[1], region.shape[0]), interpolation=cv2.INTER_NEAREST)
