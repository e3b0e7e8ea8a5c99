"""When each camera's last picture was looked at, in Redis: what "online" is judged by, and where an outage begins.

A worker writes it every second. A key that lives as long as the camera may be without a picture says that it is online;
no word of the worker counts beside it, as a worker that is gone says nothing any more. A hash keeps the moments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from cameras.redis import LAST_PICTURES_KEY, connection, seen_key

ROUND_S = 1.0  # from one note to the next; the keys end as much earlier, so that nobody counts as online for too long


def note(pictures: Iterable[tuple[int, float, float]]) -> None:
    """Note cameras with a picture: (camera, for how long it is online without another, when it was looked at)."""
    pipeline = connection().pipeline(transaction=False)
    for camera_id, left_s, at in pictures:
        pipeline.set(seen_key(camera_id), "1", px=max(100, round(1000 * (left_s - ROUND_S))))
        pipeline.hset(LAST_PICTURES_KEY, str(camera_id), f"{at:.3f}")
    pipeline.execute()


def seen_lately(camera_ids: Sequence[int]) -> set[int]:
    """Those of these cameras that are online."""
    if not camera_ids:
        return set()
    values = cast("list[bytes | None]", connection().mget([seen_key(camera_id) for camera_id in camera_ids]))
    return {camera_id for camera_id, value in zip(camera_ids, values, strict=True) if value is not None}


def last_at(camera_id: int) -> float | None:
    """When the camera's last picture was looked at, in seconds since the epoch; None if that is not known."""
    value = cast("bytes | None", connection().hget(LAST_PICTURES_KEY, str(camera_id)))
    return None if value is None else float(value)
