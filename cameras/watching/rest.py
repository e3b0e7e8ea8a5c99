"""When a camera's pictures need not all be analysed: while nobody is in view and nothing moves, one a second is enough.

Somebody who stands still is in view, whatever moves: their track holds the pace up. A face on a wall does not.
"""

from __future__ import annotations

from cameras.sources import Frame
from detection.motion import Motion

FLOOR_S = 1.0  # an analysis at least so often
AWAKE_S = 3.0  # after the last movement, or the last person


class Rest:
    """Of one connection. Not thread-safe."""

    def __init__(self) -> None:
        self._motion = Motion()
        self._awake_until = float("-inf")
        self._analysed_at = float("-inf")

    def needs(self, frame: Frame, at: float, is_busy: bool) -> bool:
        """Whether a frame that is due should be analysed.

        Args:
            at: when it was taken. is_busy: somebody is in view, or was a moment ago.
        """
        if is_busy or frame.answer is not None or self._has_moved(frame):
            self._awake_until = at + AWAKE_S
        if at >= self._awake_until and at - self._analysed_at < FLOOR_S - 0.05:
            return False
        self._analysed_at = at
        return True

    def _has_moved(self, frame: Frame) -> bool:
        samples = frame.luma()
        return samples is None or self._motion.is_seen(samples)

    def is_resting(self, at: float) -> bool:
        return at >= self._awake_until
