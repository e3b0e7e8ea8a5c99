"""When each camera's last picture was looked at, in Redis: what "online" is judged by, and where an outage begins.

A worker writes it every second; no other word of the worker counts beside it, as a worker that is gone says nothing any
more. How long a camera may be without a picture is measured by whoever judges, on a clock that nobody can set.

    last-pictures   7 → "1764000000.250 4.8"    looked at then; online for 4.8 s without another
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from cameras.redis import LAST_PICTURES_KEY, connection

ROUND_S = 1.0  # from one note to the next, and from one judgement to the next
MARGIN_S = 1.5  # for both


def note(pictures: Iterable[tuple[int, float, float]]) -> None:
    """Note cameras with a picture: (camera, for how long it is online without another, when it was looked at)."""
    values: dict[Any, Any] = {str(camera_id): f"{at:.3f} {left_s:.1f}" for camera_id, left_s, at in pictures}
    if values:
        connection().hset(LAST_PICTURES_KEY, mapping=values)


def last_at(camera_id: int) -> float | None:
    """When the camera's last picture was looked at, in seconds since the epoch; None if that is not known."""
    value = cast("bytes | None", connection().hget(LAST_PICTURES_KEY, str(camera_id)))
    return None if value is None else float(value.split()[0])


class Judge:
    """Which cameras are online. It knows only what changed since it was made; what it sees first counts as new."""

    def __init__(self) -> None:
        self._changed: dict[int, tuple[bytes, float]] = {}

    def online(self, camera_ids: Sequence[int]) -> set[int]:
        """Those of these cameras of which a picture was looked at lately."""
        if not camera_ids:
            return set()
        now = time.monotonic()
        names = [str(camera_id) for camera_id in camera_ids]
        values = cast("list[bytes | None]", connection().hmget(LAST_PICTURES_KEY, names))
        found = set()
        for camera_id, value in zip(camera_ids, values, strict=True):
            if value is None:
                continue
            if self._changed.get(camera_id, (b"", 0.0))[0] != value:
                self._changed[camera_id] = value, now
            if now - self._changed[camera_id][1] < float(value.split()[1]) - MARGIN_S:
                found.add(camera_id)
        return found
