"""How much of a worker's time devices may take for decoding their pictures: each of them, and each site in all.

A decoder cannot be interrupted, so what it took is counted afterwards, in seconds of processor time, against buckets
that drain with time (a leaky bucket): who is over gets nothing decoded until enough has drained.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

DEVICE = (1.0, 4.0)  # seconds of decoding: each second, and at most kept
SITE = (1.5, 8.0)
MOST_A_FRAME_S = 2.0  # one that took longer has filled its device's bucket


class DecodingTime:
    """Shared by all watches of a worker; safe for use from many threads."""

    def __init__(self) -> None:
        self._spent: dict[Hashable, tuple[float, float]] = {}  # what is in the bucket, and when that was so
        self._lock = threading.Lock()

    def may_decode(self, camera_id: int, site_id: int) -> bool:
        now = time.monotonic()
        with self._lock:
            buckets = _buckets(camera_id, site_id)
            return all(self._level(key, each_second, now) < most for key, each_second, most in buckets)

    @contextmanager
    def spent(self, camera_id: int, site_id: int) -> Iterator[None]:
        """What is done within is decoding, on this thread."""
        began = time.thread_time()
        try:
            yield
        finally:
            self.count(camera_id, site_id, time.thread_time() - began)

    def count(self, camera_id: int, site_id: int, seconds: float) -> None:
        now = time.monotonic()
        with self._lock:
            for key, each_second, most in _buckets(camera_id, site_id):
                level = self._level(key, each_second, now) + seconds
                if key == camera_id and seconds > MOST_A_FRAME_S:
                    level = max(level, 2 * most)
                self._spent[key] = (level, now)
            if len(self._spent) > 1000:
                self._spent = {key: kept for key, kept in self._spent.items() if now - kept[1] < 600}

    def _level(self, key: Hashable, each_second: float, now: float) -> float:
        level, at = self._spent.get(key, (0.0, now))
        return max(0.0, level - (now - at) * each_second)


def _buckets(camera_id: int, site_id: int) -> Iterator[tuple[Hashable, float, float]]:
    yield camera_id, *DEVICE
    if site_id:
        yield ("site", site_id), *SITE
