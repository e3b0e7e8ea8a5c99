"""The worst errors on one sheet, to look at: they show what no figure says."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from detection.coco import Example
from detection.detector import Image
from detection.pictures import read_picture

TILE_PX, CAPTION_PX, ACROSS = 160, 22, 10
Row = tuple[Example, npt.NDArray[np.float32], float]


def contact_sheet(misses: Sequence[Row], false_alarms: Sequence[Row], most: int = 20) -> Image:
    """The first `most` misses, then false alarms: the face's surroundings, its box, and a caption."""
    parts = [_title(f"Missed: {len(misses)}, the largest first (px at 640 wide)")]
    parts += _rows([_tile(row, f"{row[2]:.0f} px") for row in misses[:most]])
    parts.append(_title(f"False alarms and wrong labels: {len(false_alarms)}, the surest first"))
    parts += _rows([_tile(row, f"{row[2]:.2f}") for row in false_alarms[:most]])
    return np.concatenate(parts)


def _tile(row: Row, caption: str) -> Image:
    example, box, _ = row
    image = read_picture(example.path)
    centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    reach = max(side * 1.2, 12.0)
    scale = TILE_PX / (2 * reach)
    matrix = np.asarray([[scale, 0, TILE_PX / 2 - centre[0] * scale], [0, scale, TILE_PX / 2 - centre[1] * scale]])
    tile = np.full((TILE_PX + CAPTION_PX, TILE_PX, 3), 255, np.uint8)
    tile[:TILE_PX] = cv2.warpAffine(
        image, matrix, (TILE_PX, TILE_PX), flags=cv2.INTER_AREA, borderValue=(220, 220, 220)
    )
    half = (box[2:] - box[:2]) / 2 * scale
    first, last = np.round(TILE_PX / 2 - half).astype(int), np.round(TILE_PX / 2 + half).astype(int)
    cv2.rectangle(tile, (int(first[0]), int(first[1])), (int(last[0]), int(last[1])), (38, 38, 200), 2)
    text = f"{caption}  {example.path.stem[-12:]}"
    cv2.putText(tile, text, (4, TILE_PX + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return tile


def _rows(tiles: list[Image]) -> list[Image]:
    blank = np.full((TILE_PX + CAPTION_PX, TILE_PX, 3), 255, np.uint8)
    tiles = tiles + [blank] * (-len(tiles) % ACROSS)
    return [np.concatenate(tiles[at : at + ACROSS], axis=1) for at in range(0, len(tiles), ACROSS)]


def _title(text: str) -> Image:
    line = np.full((30, TILE_PX * ACROSS, 3), 255, np.uint8)
    cv2.putText(line, text, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (20, 20, 20), 1, cv2.LINE_AA)
    return line
