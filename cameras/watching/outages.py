"""When a camera counts as out, and when as back.

An outage opens when there is no picture for OPENS_AFTER_S, and closes after STEADY_S of steady picture: a hiccup is no
outage, and one frame between two faults is no recovery. It begins with the first fault, and ends with the first frame
of the steady picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable

OPENS_AFTER_S = 15.0
STEADY_S = 10.0
HICCUP_S = 5.0  # between two analysed frames, or three times their usual gap


class OutageClock:
    """One camera's outages, in its watch. A watch begins in the dark: it does not know what came before it."""

    def __init__(self, opened: Callable[[float, str], None], recovered: Callable[[float], None]) -> None:
        """`opened` is given when it began, and why; `recovered` when the steady picture began (seconds, UTC)."""
        self._opened = opened
        self._recovered = recovered
        self._dark_since: float | None = time.monotonic()
        self._reason = ""
        self._told = False
        self._settled = False
        self._steady_since: float | None = None
        self._last_picture = float("-inf")
        self._gap_s = 0.0

    def fault(self, reason: str) -> None:
        """No picture is coming, and this is why."""
        self._reason = reason
        self._steady_since = None
        if self._dark_since is None:
            self._dark_since = time.monotonic()
        self._settled = False
        self.tick()

    def tick(self) -> None:
        """Time has passed without a picture."""
        if self._told or self._dark_since is None or not self._reason:
            return
        dark_s = time.monotonic() - self._dark_since
        if dark_s >= OPENS_AFTER_S:
            self._told = True
            self._opened(time.time() - dark_s, self._reason)

    def picture(self) -> None:
        """A picture came and was analysed."""
        now = time.monotonic()
        gap, self._last_picture = now - self._last_picture, now
        if self._settled:
            self._gap_s += 0.1 * (gap - self._gap_s)
            return
        if self._steady_since is None or gap > max(HICCUP_S, 3 * self._gap_s):
            self._steady_since = now
        elif now - self._steady_since >= STEADY_S:
            self._recovered(time.time() - (now - self._steady_since))
            self._settled, self._told, self._dark_since, self._reason = True, False, None, ""
