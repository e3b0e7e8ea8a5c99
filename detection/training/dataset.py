"""Batches of training scenes, from labelled pictures and what a teacher saw in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detection.coco import Example, read_image
from detection.detector import Image, intersection_over_union
from detection.errors import DataError, PictureError
from detection.training.augment import UNKNOWN, Faces, Recipe, Scene, compose
from detection.training.teacher import Seen, Taught, Teacher, nobody

# width, height: the product's own shape most often, and those of pictures in hand and of phones
SIZES = ((320, 192), (320, 192), (320, 256), (256, 320), (320, 320), (192, 320), (384, 256))
SURE = 0.7  # from this score on, what only the teacher saw is a face; below, a place where one may be
SURE_OF_BOX = 0.5  # from this score on, its box of a labelled face is the better one
SAME = 0.3  # intersection over union from which a labelled face and a teacher's are one
APART = 0.1  # below this, what the teacher saw is a separate face
# How often a picture of this source is taken, relative to 1: synthetic ones and the same few people teach less.
SOURCE_WEIGHTS = {"maskedfacenet": 0.25, "calfaces_yn": 0.35, "rfmask": 1.5}
CACHE_BYTES = 4 << 30


@dataclass(frozen=True)
class Batch:
    """Scenes of one size: images (n, 3, h, w) uint8, and for each its boxes, labels and ignored places.

    `taught` is what a teacher says about them, if there is one.
    """

    images: npt.NDArray[np.uint8]
    boxes: list[npt.NDArray[np.float32]]
    labels: list[npt.NDArray[np.int64]]
    ignored: list[npt.NDArray[np.float32]]
    taught: Taught | None = None


class Scenes:
    """An endless supply of batches. Pictures that cannot be read are left out, and reported once in `faults`.

    Args:
        seen: what a teacher saw in each picture.
        teacher: the teacher's file, if it is to be asked about each scene too.

    Raises DataError when no picture at all can be read.
    """

    def __init__(
        self,
        examples: list[Example],
        seen: list[Seen] | None,
        seed: int,
        recipe: Recipe | None = None,
        teacher: Path | None = None,
    ) -> None:
        if not examples:
            raise DataError("There is no picture to train with.")
        self.faults: list[str] = []
        self._examples = examples
        self._faces = [
            faces_of(each, other) for each, other in zip(examples, seen or [nobody()] * len(examples), strict=True)
        ]
        self._rng = np.random.default_rng(seed)
        self._recipe = recipe or Recipe()
        self._teacher = Teacher(teacher, threads=1) if teacher else None
        weights = np.asarray([SOURCE_WEIGHTS.get(example.source, 1.0) for example in examples])
        self._readable = weights / weights.sum()
        self._cache: dict[int, Image] = {}
        self._cached_bytes = 0

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches of `size` scenes, for ever; the scenes' size changes from batch to batch."""
        while True:
            width, height = SIZES[self._rng.integers(len(SIZES))]
            scenes = [compose(self._take, width, height, self._rng, self._recipe) for _ in range(size)]
            batch = collate(scenes)
            yield replace(batch, taught=self._teacher.points(batch.images)) if self._teacher else batch

    def _take(self) -> tuple[Image, Faces]:
        while True:
            index = int(self._rng.choice(len(self._examples), p=self._readable))
            try:
                return self._picture(index), self._faces[index]
            except PictureError as error:
                self.faults.append(f"{error} Training goes on without it.")
                self._readable[index] = 0
                if not self._readable.any():
                    raise DataError("None of the training pictures can be read.") from error
                self._readable /= self._readable.sum()

    def _picture(self, index: int) -> Image:
        if (image := self._cache.get(index)) is None:
            image = read_image(self._examples[index])
            if self._cached_bytes + image.nbytes <= CACHE_BYTES:
                self._cached_bytes += image.nbytes
                self._cache[index] = image
        return image


def faces_of(example: Example, seen: Seen) -> Faces:
    """The labelled faces with the landmarks that the teacher gave them, and the faces that only the teacher saw.

    Where the teacher is sure of a labelled face, its box is taken: people draw a face from brow to chin or with all of
    the hair, and a network that is taught both puts its boxes in between.
    """
    overlaps = intersection_over_union(seen.boxes, example.boxes)
    landmarks = np.full((len(example.boxes), 5, 2), np.nan, np.float32)
    for face, found in _same(overlaps):
        landmarks[face] = seen.landmarks[found]
    nearest = overlaps.max(1, initial=0)
    alone = nearest < SAME
    sure = (nearest < APART) & (seen.scores >= SURE)
    return Faces(
        boxes=np.concatenate([_harmonised(example, seen, overlaps), seen.boxes[sure]]),
        labels=np.concatenate([example.labels, np.full(int(sure.sum()), UNKNOWN)]),
        landmarks=np.concatenate([landmarks, seen.landmarks[sure]]),
        ignored=np.concatenate([example.ignored, seen.boxes[alone & ~sure]]),
    )


def forgiving(example: Example, seen: Seen) -> Example:
    """The example for a test: its boxes as `faces_of` has them; what only the teacher saw is ignored."""
    overlaps = intersection_over_union(seen.boxes, example.boxes)
    alone = overlaps.max(1, initial=0) < SAME
    boxes = _harmonised(example, seen, overlaps)
    return replace(example, boxes=boxes, ignored=np.concatenate([example.ignored, seen.boxes[alone]]))


def _same(overlaps: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs of (labelled face, the teacher's) that are the same face: each is the other's best, overlapping by SAME."""
    if not overlaps.size:
        return []
    best = overlaps.argmax(0)
    return [
        (face, int(found))
        for face, found in enumerate(best)
        if overlaps[found, face] >= SAME and overlaps[found].argmax() == face
    ]


def _harmonised(example: Example, seen: Seen, overlaps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    boxes = example.boxes.copy()
    limits = np.asarray([example.width, example.height] * 2, np.float32)
    for face, found in _same(overlaps):
        if seen.scores[found] >= SURE_OF_BOX:
            boxes[face] = np.clip(seen.boxes[found], 0, limits)
    return boxes


def collate(scenes: list[Scene]) -> Batch:
    """Scenes of one size as a batch."""
    images = np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2)
    return Batch(
        images,
        [scene.boxes for scene in scenes],
        [scene.labels for scene in scenes],
        [scene.ignored for scene in scenes],
    )
