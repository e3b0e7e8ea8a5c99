"""Counts that only grow, for monitoring: kept in Redis, so that one scrape covers all processes on all machines.

If Redis is emptied they begin at nothing, which Prometheus takes for a restart. A figure that must not be lost is in
the database (hours.py).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import cast

from django.db import transaction

from cameras.redis import METRICS_KEY, Errors, connection

log = logging.getLogger(__name__)

LATENCY_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def add(name: str, *labels: object, by: float = 1) -> None:
    """Count on commit. Never raises: a count is worth less than what is counted."""
    field = "|".join((name, *(str(label) for label in labels)))
    transaction.on_commit(partial(_add, {field: by}), robust=True)


def observe(name: str, seconds: float) -> None:
    """A time, for a histogram with LATENCY_BUCKETS_S. On commit."""
    fields: dict[str, float] = {f"{name}_count": 1, f"{name}_sum": round(seconds, 3)}
    fields |= {f"{name}_bucket|{bound}": 1 for bound in LATENCY_BUCKETS_S if seconds <= bound}
    transaction.on_commit(partial(_add, fields), robust=True)


def _add(fields: Mapping[str, float]) -> None:
    try:
        pipeline = connection().pipeline(transaction=False)
        for field, by in fields.items():
            pipeline.hincrbyfloat(METRICS_KEY, field, by)
        pipeline.execute()
    except Errors as error:
        log.debug("a count for monitoring was lost: %s", type(error).__name__)


def read() -> dict[tuple[str, ...], float]:
    """All of them, by name and labels. One query to Redis."""
    found = cast("dict[bytes, bytes]", connection().hgetall(METRICS_KEY))
    return {tuple(field.decode().split("|")): float(value) for field, value in found.items()}
