"""Pictures with boxes, as COCO's JSON describes them: read with every fault named, and split for training.

Worked example::

    {"images": [{"id": 1, "file_name": "hall/1.jpg", "width": 640, "height": 360, "source": "hall"}],
     "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [310, 40, 52, 61]}],
     "categories": [{"id": 1, "name": "no_mask"}, {"id": 2, "name": "mask"}, {"id": 3, "name": "incorrect"}]}

The format is COCO's (Lin et al., 2014; https://cocodataset.org/#format-data); `source` is ours, and optional.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from detection.detector import Image
from detection.errors import DataError, PictureError
from detection.manifest import LABELS
from detection.pictures import read_picture

NEAR_SAME_BITS = 6  # of 64: pictures whose hashes differ in no more are kept on one side of a split


@dataclass(frozen=True)
class Example:
    """One picture and the faces in it.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the picture, inside it.
        labels: (n,) indices into LABELS.
        source: where the picture came from; "" if the file does not say.
        ignored: (k, 4) places where there may be a face (`iscrowd` 1): what is found there is neither right nor wrong.
        ids: of the annotations that `boxes` came from, if read from a file.
    """

    path: Path
    width: int
    height: int
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    source: str = ""
    ignored: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Examples:
    """All pictures of a file, and a sentence for each kind of fault that was fixed while reading."""

    rows: list[Example]
    faults: list[str]

    def __len__(self) -> int:
        return len(self.rows)


def read_examples(data: Path, images: Path) -> Examples:
    """Read a COCO file; boxes that reach outside the picture are cut, empty ones dropped, and both are reported.

    Raises:
        DataError: the file or the folder is missing or empty, is not JSON, or lacks a part; it says which.
    """
    if not images.is_dir():
        raise DataError(f"There is no folder {images}. Name the one that the pictures are in with --images.")
    if next(images.iterdir(), None) is None:
        raise DataError(f"The folder {images} is empty. Put the pictures there that {data.name} names.")
    try:
        content = json.loads(data.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{data} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{data.name} is not JSON: {error}.") from error
    try:
        examples = _parse(content, images)
    except KeyError as error:
        raise DataError(f"{data.name} is not COCO's format: {error} is missing.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{data.name} holds a value that does not fit: {error}.") from error
    if not examples.rows:
        raise DataError(f"{data.name} names no picture.")
    if not any(example.path.is_file() for example in examples.rows[:50]):
        raise DataError(f"None of the pictures that {data.name} names is in {images}.")
    return examples


def _parse(content: dict[str, Any], images: Path) -> Examples:
    names = {int(row["id"]): str(row["name"]) for row in content["categories"]}
    if unknown := sorted(set(names.values()) - set(LABELS)):
        raise ValueError(f"categories hold {', '.join(unknown)}; known are {', '.join(LABELS)}")
    faults: Counter[str] = Counter()
    first: dict[str, int] = {}

    def note(fault: str, annotation: int) -> None:
        faults[fault] += 1
        first.setdefault(fault, annotation)

    pictures = {int(row["id"]): row for row in content["images"]}
    boxes: dict[int, list[list[float]]] = {key: [] for key in pictures}
    labels: dict[int, list[int]] = {key: [] for key in pictures}
    ignored: dict[int, list[list[float]]] = {key: [] for key in pictures}
    ids: dict[int, list[int]] = {key: [] for key in pictures}
    for row in content["annotations"]:
        annotation, key = int(row["id"]), int(row["image_id"])
        if key not in pictures:
            note("belong to no picture and were left out", annotation)
            continue
        width, height = int(pictures[key]["width"]), int(pictures[key]["height"])
        x, y, w, h = (float(value) for value in row["bbox"])
        if not np.isfinite([x, y, w, h]).all() or w <= 0 or h <= 0:
            note("have no area and were left out", annotation)
            continue
        x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
        if x2 <= x1 or y2 <= y1:
            note("lie outside their picture and were left out", annotation)
            continue
        if min(x, y) < -1 or x + w > width + 1 or y + h > height + 1:
            note("reach outside their picture and were cut", annotation)
        if row.get("iscrowd"):
            ignored[key].append([x1, y1, x2, y2])
            continue
        boxes[key].append([x1, y1, x2, y2])
        ids[key].append(annotation)
        labels[key].append(LABELS.index(names[int(row["category_id"])]))
    rows = [
        Example(
            path=images / str(row["file_name"]),
            width=int(row["width"]),
            height=int(row["height"]),
            boxes=np.asarray(boxes[key], np.float32).reshape(-1, 4),
            labels=np.asarray(labels[key], np.int64),
            source=str(row.get("source", "")),
            ignored=np.asarray(ignored[key], np.float32).reshape(-1, 4),
            ids=tuple(ids[key]),
        )
        for key, row in pictures.items()
    ]
    told = [f"{count} boxes {fault} (the first is annotation {first[fault]})." for fault, count in faults.items()]
    return Examples(rows, told)


def read_image(example: Example) -> Image:
    """The example's picture. Raises PictureError if it cannot be read, or is not the one that its boxes are for."""
    image = read_picture(example.path)
    height, width = image.shape[:2]
    if (width, height) != (example.width, example.height):
        raise PictureError(
            f"{example.path.name} is {width}x{height}, its boxes are for {example.width}x{example.height}."
        )
    return image


def write_examples(examples: list[Example], path: Path, images: Path) -> None:
    """Write examples as a COCO file whose names are relative to `images`; ignored places have `iscrowd` 1."""
    annotations: list[dict[str, Any]] = []
    for key, example in enumerate(examples, 1):
        for crowd, boxes in ((0, example.boxes), (1, example.ignored)):
            for index, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": key,
                        "category_id": 1 if crowd else int(example.labels[index]) + 1,
                        "bbox": [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)],
                        "iscrowd": crowd,
                    }
                )
    content = {
        "images": [
            {
                "id": key,
                "file_name": example.path.relative_to(images).as_posix(),
                "width": example.width,
                "height": example.height,
                "source": example.source,
            }
            for key, example in enumerate(examples, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": index, "name": name} for index, name in enumerate(LABELS, 1)],
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def difference_hash(image_bgr: npt.NDArray[np.uint8]) -> int:
    """64 bits, each saying whether a cell of a 9x8 thumbnail is brighter than its left neighbour (Krawetz, 2013)."""
    grey = cv2.resize(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def near_same(hashes: npt.NDArray[np.uint64], bits: int = NEAR_SAME_BITS) -> npt.NDArray[np.int64]:
    """The group of each picture (n,): those whose hashes differ in at most `bits`, and theirs in turn, share one."""
    group = np.arange(len(hashes))
    for index in range(len(hashes)):
        differing = np.bitwise_count(hashes[index + 1 :] ^ hashes[index])
        for other in np.flatnonzero(differing <= bits) + index + 1:
            old, new = group[other], group[index]
            if old != new:
                group[group == old] = new
    return group


def hold_out(rows: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Split into training and held-out pictures; near-same ones stay together. Unreadable ones go to neither.

    Args:
        share: the part to hold out, 0 to 1, from each source alike.
        seed: the same one gives the same split.
    """
    readable: list[Example] = []
    hashes: list[int] = []
    for example in rows:
        try:
            hashes.append(difference_hash(read_picture(example.path)))
        except PictureError:
            continue
        readable.append(example)
    groups = near_same(np.asarray(hashes, np.uint64))
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    sources = np.asarray([example.source for example in readable])
    held = np.zeros(len(readable), bool)
    wanted = {source: share * int((sources == source).sum()) for source in np.unique(sources)}
    for group in order:
        members = groups == group
        source = sources[members][0]
        if held[sources == source].sum() + members.sum() <= wanted[source]:
            held |= members
    return (
        [example for example, out in zip(readable, held, strict=True) if not out],
        [example for example, out in zip(readable, held, strict=True) if out],
    )
