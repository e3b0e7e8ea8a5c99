"""Where something moved between two analyses, coarsely and for next to nothing: a hint of where to look closely."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from detection.detector import Box, Image

ACROSS = 80  # samples of the picture's longer side
CHANGED_LEVELS = 14
CELL = 4  # samples
MOVED_SHARE = 0.25  # of a cell's samples
EVERYWHERE = 0.5  # of all cells: then it is the light, or the camera, and says nothing


class Motion:
    """The memory of one camera: the last analysis' samples. Not thread-safe."""

    def __init__(self) -> None:
        self._before: npt.NDArray[np.uint8] | None = None

    def places(self, image_bgr: Image) -> list[Box]:
        """Cells in which something moved since the last call, relative to the picture; none at first."""
        step = max(1, max(image_bgr.shape[:2]) // ACROSS)
        now = cv2.blur(np.ascontiguousarray(image_bgr[::step, ::step, 1]), (2, 2))  # green: most of the luma
        before, self._before = self._before, np.asarray(now, np.uint8)
        if before is None or before.shape != now.shape:
            return []
        rows, columns = now.shape[0] // CELL, now.shape[1] // CELL
        if not rows or not columns:
            return []
        changed = (cv2.absdiff(now, before) > CHANGED_LEVELS)[: rows * CELL, : columns * CELL]
        moved = changed.reshape(rows, CELL, columns, CELL).mean((1, 3)) >= MOVED_SHARE
        if moved.mean() > EVERYWHERE:
            return []
        tall, wide = CELL / now.shape[0], CELL / now.shape[1]
        return [(x * wide, y * tall, (x + 1) * wide, (y + 1) * tall) for y, x in np.argwhere(moved).tolist()]
