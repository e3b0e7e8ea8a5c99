"""The same picture again and again: an encoder that hangs goes on sending the last thing that it saw.

A real picture is never the same for long, not even of an empty room at night: the sensor's noise changes it everywhere.
A clock that a camera writes into its picture changes a small part only, and so does not count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detection import Image

LOOK_EVERY_S = 4.0
SAME_FOR_S = 120.0
STEP_PX = 12  # only some of the pixels are compared
CHANGED = 0.05  # of them, before it is another picture


class Stillness:
    """One stream's newest picture, compared with those before it."""

    def __init__(self) -> None:
        self._reference: NDArray[np.uint8] | None = None
        self._changed: NDArray[np.bool_] | None = None
        self._since = 0.0
        self._looked_at = float("-inf")

    def has_lasted(self, image_bgr: Image, at_s: float) -> bool:
        """Whether the picture has been the same for SAME_FOR_S. Call it for each analysed picture.

        Args:
            at_s: on a clock that only moves forward.
        """
        if at_s - self._looked_at < LOOK_EVERY_S:
            return self._changed is not None and at_s - self._since >= SAME_FOR_S
        self._looked_at = at_s
        sample = image_bgr[STEP_PX // 2 :: STEP_PX, STEP_PX // 2 :: STEP_PX]
        if self._reference is None or self._changed is None or self._reference.shape != sample.shape:
            self._begin(sample, at_s)
            return False
        self._changed |= (sample != self._reference).any(axis=2)
        if self._changed.mean() > CHANGED:
            self._begin(sample, at_s)
        return at_s - self._since >= SAME_FOR_S

    def _begin(self, sample: NDArray[np.uint8], at_s: float) -> None:
        self._reference, self._since = sample.copy(), at_s
        self._changed = np.zeros(sample.shape[:2], np.bool_)
