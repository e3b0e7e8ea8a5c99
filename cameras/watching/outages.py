"""When a camera counts as out, and when as back.

An outage opens when there has been no picture for OPENS_AFTER_S, and closes after STEADY_S of steady picture: a hiccup
is no outage, and one frame between two faults is no recovery. It begins with the last good picture, whenever its end
was noticed, and ends with the first frame of the steady picture.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from django.utils.translation import gettext as _

OPENS_AFTER_S = 15.0
STEADY_S = 10.0
HICCUP_S = 5.0  # between two analysed frames, or three times their usual gap
GAPS = 3


class OutageClock:
    """One camera's outages, in its watch. A watch begins in the dark: it does not know what came before it.

    Pictures and faults come from the watch's thread, `tick` from another one: a watch that waits for a packet cannot
    notice that none comes.
    """

    def __init__(self, opened: Callable[[float, str], None], recovered: Callable[[float], None]) -> None:
        """`opened` is given when it began, and why; `recovered` when the steady picture began (seconds, UTC)."""
        self._opened = opened
        self._recovered = recovered
        self._lock = threading.Lock()
        self._dark_since: float | None = time.monotonic()
        self._reason = ""
        self._told = False
        self._settled = False
        self._steady_since: float | None = None
        self._last_picture = float("-inf")
        self._gap_s = 0.0

    @property
    def longest_gap_s(self) -> float:
        """How long there may be no picture before something is wrong."""
        return max(HICCUP_S, GAPS * self._gap_s)

    @property
    def silent_s(self) -> float:
        """How long ago the last picture was; infinite before the first."""
        return time.monotonic() - self._last_picture

    def fault(self, reason: str) -> None:
        """No picture is coming, and this is why."""
        with self._lock:
            self._reason = reason
            self._darken()
            self._open_if_due()

    def tick(self) -> None:
        """Time has passed, perhaps without a picture."""
        with self._lock:
            if self._settled and self.silent_s > self.longest_gap_s:
                self._darken()
            self._open_if_due()

    def _darken(self) -> None:
        self._steady_since = None
        self._settled = False
        if self._dark_since is None:
            self._dark_since = self._last_picture

    def _open_if_due(self) -> None:
        if self._told or self._dark_since is None or self._steady_since is not None:
            return
        has_seen = self._last_picture != float("-inf")
        dark_s = time.monotonic() - self._dark_since
        if dark_s >= max(OPENS_AFTER_S, self.longest_gap_s) and (self._reason or has_seen):
            self._told = True
            self._opened(time.time() - dark_s, self._reason or _("No picture came."))

    def picture(self) -> None:
        """A picture came and was analysed."""
        with self._lock:
            now = time.monotonic()
            gap, self._last_picture = now - self._last_picture, now
            if gap != float("inf"):
                self._gap_s = gap if not self._gap_s else self._gap_s + 0.1 * (gap - self._gap_s)
            if self._settled:
                return
            if self._steady_since is None or gap > max(HICCUP_S, GAPS * self._gap_s):
                self._steady_since = now
            elif now - self._steady_since >= STEADY_S:
                self._recovered(time.time() - (now - self._steady_since))
                self._settled, self._told, self._dark_since, self._reason = True, False, None, ""
