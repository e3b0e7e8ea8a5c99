"""How a camera's watch has been in the last day, hour by hour: for its page, and to say how to place it better.

    health.add(7, {"received": 1})
    health.push()                     # every few seconds
    read_health(7)                    # of the last 24 hours

Each hour is one hash for all cameras and workers, and expires a day later, so nothing grows.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from cameras.redis import connection, health_key
from cameras.watching.unsent import Unsent
from detection import FaceQuality
from detection.votes import LEAST_SHARPNESS

HOUR_S = 3600
KEPT_H = 24
SMALL_PX = 14.0  # of the model's input: half of what lets a vote count fully
BLURRED = 2.5 * LEAST_SHARPNESS
DARK = 60.0  # of 255
FRAMES = ("received", "analysed", "skipped", "late", "refused", "reconnects")
TIMES_US = ("decode", "detect", "follow", "cpu", "wall")
FACES = ("faces", "side", "small", "blurred", "dark")


@dataclass(frozen=True)
class Health:
    """Sums over the last 24 hours.

    Args:
        frames: how many frames, by FRAMES. stage_ms: the mean of each stage of an analysis.
        cpu_share: of one core, while it was watched; None before there is anything to say.
        faces: how many were measured; side_px: their mean size in the model's input; shares of them, 0 to 1.
    """

    frames: Mapping[str, int]
    stage_ms: Mapping[str, float]
    cpu_share: float | None
    faces: int
    side_px: float
    small_share: float
    blurred_share: float
    dark_share: float


class HealthCounts:
    """Shared by the threads of one worker."""

    def __init__(self) -> None:
        self._unsent = Unsent()

    def add(self, camera_id: int, values: Mapping[str, int | float]) -> None:
        self._unsent.add({f"{camera_id}|{name}": round(value) for name, value in values.items()})

    def add_faces(self, camera_id: int, faces: Iterable[FaceQuality]) -> None:
        for face in faces:
            self.add(camera_id, {
                "faces": 1, "side": face.side_px, "small": face.side_px < SMALL_PX,
                "blurred": face.sharpness < BLURRED, "dark": face.light < DARK,
            })  # fmt: skip

    def push(self) -> None:
        """Write to Redis. What is not taken is kept for the next time."""
        key = health_key(hour_of(time.time()))
        with self._unsent.taken() as new:
            pipeline = connection().pipeline(transaction=True)
            for field, by in new.items():
                if by:
                    pipeline.hincrby(key, field, by)
            pipeline.expire(key, (KEPT_H + 2) * HOUR_S)
            pipeline.execute()


def read_sums() -> dict[str, int]:
    """What was counted in this hour and the one before, by hour, camera and name: "447392|7|analysed"."""
    newest = hour_of(time.time())
    found: dict[str, int] = {}
    for hour in (newest - 1, newest):
        sums = cast("dict[bytes, bytes]", connection().hgetall(health_key(hour)))
        found |= {f"{hour}|{field.decode()}": int(value) for field, value in sums.items()}
    return found


def add_sums(new: Mapping[str, int], camera_ids: Collection[int]) -> None:
    """Add what was counted elsewhere of these cameras, lately; what is no such count is left out."""
    newest = hour_of(time.time())
    pipeline = connection().pipeline(transaction=False)
    for field, by in new.items():
        hour, _bar, rest = field.partition("|")
        camera, _bar, name = rest.partition("|")
        if not (hour.isdecimal() and camera.isdecimal() and name in {*FRAMES, *TIMES_US, *FACES}):
            continue
        if int(camera) in camera_ids and newest - KEPT_H <= int(hour) <= newest:
            pipeline.hincrby(health_key(int(hour)), f"{int(camera)}|{name}", by)
            pipeline.expire(health_key(int(hour)), (KEPT_H + 2) * HOUR_S)
    pipeline.execute()


def hour_of(at: float) -> int:
    return int(at // HOUR_S)


def read_health(camera_id: int) -> Health:
    """One round trip to Redis, which may raise one of cameras.redis.Errors."""
    names = (*FRAMES, *TIMES_US, *FACES)
    pipeline = connection().pipeline(transaction=False)
    newest = hour_of(time.time())
    for hour in range(newest - KEPT_H, newest + 1):
        pipeline.hmget(health_key(hour), [f"{camera_id}|{name}" for name in names])
    sums = dict.fromkeys(names, 0)
    for row in pipeline.execute():
        for name, value in zip(names, row, strict=True):
            sums[name] += int(value or 0)
    analysed, faces = max(1, sums["analysed"]), max(1, sums["faces"])
    return Health(
        frames={name: sums[name] for name in FRAMES},
        stage_ms={name: round(sums[name] / analysed / 1000, 1) for name in TIMES_US[:3]},
        cpu_share=sums["cpu"] / sums["wall"] if sums["wall"] else None,
        faces=sums["faces"],
        side_px=sums["side"] / faces,
        small_share=sums["small"] / faces,
        blurred_share=sums["blurred"] / faces,
        dark_share=sums["dark"] / faces,
    )
