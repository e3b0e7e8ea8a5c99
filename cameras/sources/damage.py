"""Which pictures are broken: packets of them are missing, or of a picture that they are built on."""

from __future__ import annotations

from collections import deque

HEALS_S = 10.0  # a stream without key frames renews its picture little by little
KEPT = 8


class Damage:
    """From a hole on, pictures are broken, until a key frame comes in whole. Times are when pictures were taken."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._last_hole = float("-inf")
        self._past: deque[tuple[float, float]] = deque(maxlen=KEPT)

    def packet(self, at_s: float, is_key: bool, holes: deque[float]) -> None:
        """Note the next packet in decode order.

        Args:
            holes: since when something has been missing; those up to this packet are taken out.
        """
        is_hurt = False
        while holes and holes[0] <= at_s + 1e-3:
            hole = holes.popleft()
            self._since = hole if self._since is None else self._since
            self._last_hole = max(self._last_hole, hole)
            is_hurt = is_hurt or hole > at_s - 1e-3
        if self._since is not None and ((is_key and not is_hurt) or at_s - self._last_hole > HEALS_S):
            self._past.append((self._since, at_s))
            self._since = None

    def covers(self, at_s: float | None) -> bool:
        """Whether the picture with this time is broken; without a time, whether the newest one is."""
        if self._since is not None and (at_s is None or at_s >= self._since - 1e-3):
            return True
        return at_s is not None and any(since - 1e-3 <= at_s < until - 1e-3 for since, until in self._past)
