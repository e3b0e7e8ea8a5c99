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


Samples = npt.NDArray[np.uint8]


def step_of(height: int, width: int) -> int:
    """Every how many pixels a picture of this size is sampled."""
    return max(1, max(height, width) // ACROSS)


class Motion:
    """The memory of one camera: the last samples. Not thread-safe."""

    def __init__(self) -> None:
        self._before: Samples | None = None

    def places(self, image_bgr: Image) -> list[Box]:
        """Cells in which something moved since the last call, relative to the picture; none at first.

        None either if it is nearly everywhere: that is the light, or the camera, and says nothing about places.
        """
        step = step_of(*image_bgr.shape[:2])
        moved = self._moved(image_bgr[::step, ::step, 1])  # green: most of the luma
        if moved is None or moved.mean() > EVERYWHERE:
            return []
        tall, wide = CELL / (image_bgr.shape[0] / step), CELL / (image_bgr.shape[1] / step)
        return [(x * wide, y * tall, (x + 1) * wide, (y + 1) * tall) for y, x in np.argwhere(moved).tolist()]

    def is_seen(self, samples: Samples) -> bool:
        """Whether anything moved since the last call, or there was none.

        Args:
            samples: of the luma, each `step_of` pixels of both sides.
        """
        moved = self._moved(samples)
        return moved is None or bool(moved.any())

    def _moved(self, samples: Samples) -> npt.NDArray[np.bool_] | None:
        now = np.asarray(cv2.blur(np.ascontiguousarray(samples), (2, 2)), np.uint8)
        before, self._before = self._before, now
        rows, columns = now.shape[0] // CELL, now.shape[1] // CELL
        if before is None or before.shape != now.shape or not rows or not columns:
            return None
        changed = (cv2.absdiff(now, before) > CHANGED_LEVELS)[: rows * CELL, : columns * CELL]
        return np.asarray(changed.reshape(rows, CELL, columns, CELL).mean((1, 3)) >= MOVED_SHARE)
