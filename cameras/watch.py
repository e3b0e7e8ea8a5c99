"""One camera's loop."""


class AnalysisPace:
    """Which frames are analysed: the first at or after each tick of `per_second`."""

    def __init__(self, per_second: float) -> None:
        self._interval_s = 1 / per_second
        self._next_at: float | None = None

    def due(self, at: float) -> bool:
        """Whether a frame of this time is to be analysed; call it once a frame."""
        if self._next_at is None or at - self._next_at > 10 * self._interval_s:
            self._next_at = at
        if at < self._next_at - 1e-6:
            return False
        self._next_at += self._interval_s
        if self._next_at < at:
            self._next_at = at + self._interval_s
        return True
