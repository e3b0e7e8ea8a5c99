"""The one connection pool to Redis a process, and the names of all keys that cameras use."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

TIMEOUT_S = 2.0
Errors = (RedisError, OSError)  # what a call may raise while Redis is away


@cache
def connection() -> Redis:
    """Redis with short time-outs: whoever asks has a plan for its absence, and must not hang on it."""
    return Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )


def lease_key(camera_id: int) -> str:
    """Holds "worker token" while that worker lives; time-to-live LEASE_TTL_S."""
    return f"lease:{camera_id}"


def worker_key(name: str) -> str:
    """Holds what a stream worker says of itself, as JSON."""
    return f"worker:{name}"


def preview_key(camera_id: int) -> str:
    """The newest preview: see cameras/preview.py for its form. Its number is published on a channel of this name."""
    return f"preview:{camera_id}"


def looked_at_key(camera_id: int) -> str:
    """Exists while somebody looks at the camera."""
    return f"looked-at:{camera_id}"


ENCODED_KEY = "preview-encoded"  # a hash: previews encoded, by camera
WORKERS_KEY = "workers"  # a set of the names of stream workers seen
ERA_KEY = "era"  # set once in Redis' life: its absence means that all times-to-live were lost
LEADER_KEY = "reconcile-leader"
