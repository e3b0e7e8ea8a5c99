"""When was a picture taken? A camera's timestamps say how far pictures are apart, if they can be trusted.

A packet may arrive late, but not early, so `arrival − timestamp` is least for the packets that were delayed least: that
least offset is the anchor, and anchor + timestamp is when a picture was taken. This evens out a network's jitter: ten
frames that arrive in one burst get ten times.

That holds only for clocks that run like ours. Many cameras' do not: they count too slowly or too fast, stand still, use
another unit, jump, or are set while they run. So the anchor is corrected as soon as a whole second of packets disagrees
with it, and after a correction the moment of arrival counts, until the clock has run well for a while. Either way the
result is within MOST_DELAY_S of the arrival:

    timestamp  arrival   offset    taken
      10.0      100.1      90.1     100.1   the first: nothing is known yet
      10.2      100.3      90.1     100.3
      10.4      100.9      90.5     100.5   late by 0.4 s, once the clock is trusted
      20.6      101.1      80.5     101.1   the clock was set: arrivals count for TRUST_AFTER_S
"""

from __future__ import annotations

WINDOW_S = 1.0  # of packets that decide together
STEP_S = 0.25  # further than this from the anchor, the clock has been set, or runs differently from ours
TRUST_AFTER_S = 5.0
BACK_S = 0.25  # B-frames are sent after a later picture, but not after one that is later by more than this
MOST_DELAY_S = 0.9  # a timestamp explains no longer delay than this
BELIEVED_S = 60.0  # a picture may have waited for us this long
LEAST_GAP_S = 0.001


class StreamClock:
    """Turns one stream's timestamps into moments of our monotonic clock. Both are in seconds."""

    def __init__(self) -> None:
        self._anchor: float | None = None
        self._corrected_at = float("-inf")
        self._window_least = float("inf")
        self._window_began = float("-inf")
        self._last_media_s = float("-inf")

    def note(self, media_s: float, arrival_s: float) -> None:
        """A packet with this timestamp came in at this moment, which is never before the last one's."""
        offset, anchor = arrival_s - media_s, self._anchor
        if anchor is None or offset < anchor - STEP_S or media_s < self._last_media_s - BACK_S:
            self._corrected_at = arrival_s
        anchor = offset if anchor is None else min(anchor, offset)
        if arrival_s - self._window_began >= WINDOW_S:
            if anchor + STEP_S < self._window_least < float("inf"):
                anchor, self._corrected_at = min(self._window_least, offset), arrival_s
            self._window_began, self._window_least = arrival_s, float("inf")
        self._window_least = min(self._window_least, offset)
        self._anchor, self._last_media_s = anchor, media_s

    def taken_at(self, media_s: float, now_s: float) -> float:
        """When the picture with this timestamp was taken: now, or up to MOST_DELAY_S before.

        Args:
            now_s: when its packet came in; later, if it took a decoder a moment.
        """
        if self._anchor is None or now_s - self._corrected_at < TRUST_AFTER_S:
            return now_s
        return min(now_s, max(self._anchor + media_s, now_s - MOST_DELAY_S))


class PictureMoments:
    """The moments of one stream's pictures, in the order in which they are shown: each is later than the one before."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def next(self, taken_s: float | None, now_s: float) -> float:
        """The moment of the next picture; now, if it is unknown when it was taken, or cannot have been then."""
        if taken_s is None or not now_s - BELIEVED_S < taken_s <= now_s:
            taken_s = now_s
        self._last = min(now_s, max(taken_s, self._last + LEAST_GAP_S))
        return self._last
