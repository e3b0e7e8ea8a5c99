"""What a worker's watches do, counted for monitoring: frames, new connections, and how long each stage takes.

    counts.frame(7, "received")
    counts.stage("detect", 0.003)
    counts.push("north")              # every few seconds

A camera's counts are added to one hash for all workers, so that they go on growing when it moves to another worker. A
worker's stages are in a hash of its own, which expires soon after the worker has gone.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

from cameras.redis import METRICS_KEY, connection, stages_key
from cameras.watching.health import FRAMES, HealthCounts
from cameras.watching.unsent import Unsent

PUSH_EVERY_S = 5.0
GONE_AFTER_S = 60  # a worker that has not pushed for this long has no stages any more
COUNTED = ("frames", "reconnects")
STAGES = ("decode", "detect", "follow")
STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class WatchCounts:
    """Shared by the threads of one worker; counting costs about a microsecond."""

    def __init__(self) -> None:
        self.health = HealthCounts()
        self._guard = threading.Lock()
        self._unsent = Unsent()
        self._stages = {stage: [0] * (len(STAGE_BUCKETS_S) + 1) for stage in STAGES}
        self._sums = dict.fromkeys(STAGES, 0.0)

    def frame(self, camera_id: int, what: str) -> None:
        """A frame was "received", "analysed", "skipped" as nothing moved, too "late", or "refused" by the analyzer."""
        self._unsent.add({f"frames|{camera_id}|{what}": 1})
        self.health.add(camera_id, {what: 1})

    def reconnect(self, camera_id: int) -> None:
        self._unsent.add({f"reconnects|{camera_id}": 1})
        self.health.add(camera_id, {"reconnects": 1})

    def stage(self, stage: str, seconds: float) -> None:
        with self._guard:
            self._stages[stage][bisect_left(STAGE_BUCKETS_S, seconds)] += 1
            self._sums[stage] += seconds

    def so_far(self, camera_id: int, what: str) -> int:
        """How many frames of a camera were counted as this since the last `push`."""
        return self._unsent.count(f"frames|{camera_id}|{what}")

    def stage_sums(self) -> dict[str, tuple[float, int]]:
        """Seconds spent in each stage so far, and how often."""
        with self._guard:
            return {stage: (self._sums[stage], sum(self._stages[stage])) for stage in STAGES}

    def push(self, worker: str) -> None:
        """Write to Redis. What is not taken is kept for the next time."""
        self.health.push()
        with self._guard:
            times: dict[Any, Any] = {f"{stage}|sum": round(seconds, 6) for stage, seconds in self._sums.items()}
            for stage, counts in self._stages.items():
                times |= {f"{stage}|{number}": count for number, count in enumerate(counts)}
        with self._unsent.taken() as new:
            pipeline = connection().pipeline(transaction=True)
            for field, by in new.items():
                pipeline.hincrby(METRICS_KEY, field, by)
            pipeline.hset(stages_key(worker), mapping=times)
            pipeline.expire(stages_key(worker), GONE_AFTER_S)
            pipeline.execute()


def read_counts() -> dict[str, int]:
    """All counts of cameras so far, by field: "frames|7|analysed", "reconnects|7"."""
    found = cast("dict[bytes, bytes]", connection().hgetall(METRICS_KEY))
    named = {field.decode(): value for field, value in found.items()}
    return {field: int(value) for field, value in named.items() if field.split("|")[0] in COUNTED}


def add_counts(new: Mapping[str, int], camera_ids: Collection[int]) -> None:
    """Add what was counted elsewhere of these cameras; what is no such count is left out."""
    pipeline = connection().pipeline(transaction=False)
    for field, by in new.items():
        kind, _bar, rest = field.partition("|")
        camera, _bar, what = rest.partition("|")
        is_known = (what in FRAMES) if kind == "frames" else (kind == "reconnects" and not what)
        if is_known and camera.isdecimal() and int(camera) in camera_ids:
            pipeline.hincrby(METRICS_KEY, f"{kind}|{int(camera)}" + (f"|{what}" if what else ""), by)
    pipeline.execute()


@dataclass(frozen=True)
class StageTimes:
    """A Prometheus histogram: cumulative counts by upper bound in seconds, and the sum."""

    name: str
    buckets: list[tuple[str, float]]
    sum_s: float


def read_stages(workers: Sequence[str]) -> list[list[StageTimes]]:
    """The stages of each of these workers; none of one that has not pushed lately. One query to Redis."""
    pipeline = connection().pipeline(transaction=False)
    for worker in workers:
        pipeline.hgetall(stages_key(worker))
    return [_decode({name.decode(): float(value) for name, value in found.items()}) for found in pipeline.execute()]


def _decode(found: dict[str, float]) -> list[StageTimes]:
    bounds = [f"{bound:g}" for bound in STAGE_BUCKETS_S] + ["+Inf"]
    stages = []
    for stage in STAGES if found else ():
        upto = accumulate(found.get(f"{stage}|{number}", 0) for number in range(len(bounds)))
        stages.append(StageTimes(stage, list(zip(bounds, upto, strict=True)), found.get(f"{stage}|sum", 0)))
    return stages
