"""A process's one connection pool to Redis, and the names of all keys that cameras use."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.exceptions import RedisError
from redis.retry import Retry

TIMEOUT_S = 2.0
MOST_CONNECTIONS = 1024  # a device's watch holds one, and a worker may have 200
METRICS_KEY = "metrics"  # a hash of counts that only grow: "name|label|label" to a number
LAST_PICTURES_KEY = "last-pictures"  # a hash, by camera (cameras/watching/seen.py)
Errors = (RedisError, OSError)  # what a call may raise while Redis is away


@cache
def connection() -> Redis:
    """Redis with short time-outs: every caller can do without it, and must not hang on it."""
    return Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
        max_connections=MOST_CONNECTIONS,
    )


def subscription(channel: str) -> PubSub:
    """What is published on a channel from now on; the caller closes it."""
    pubsub: PubSub = connection().pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    pubsub.subscribe(channel)
    return pubsub


DRAINED_KEY = "workers-drained"  # a set: those that an operator wants empty


def ask_back_key(worker: str) -> str:
    """A set of cameras that this worker is asked to give back."""
    return f"ask-back:{worker}"


def lease_key(camera_id: int) -> str:
    """Holds "worker token" while that worker lives; time-to-live TIME_TO_LIVE_S (cameras/watching/leases.py)."""
    return f"lease:{camera_id}"


def ended_key(spool: str) -> str:
    """Says that the worker of this spool has ended, for a while after its findings were recorded."""
    return f"ended:{spool}"


def in_view_key(camera_id: int) -> str:
    """Who is in view of a camera, for the worker that watches it next (cameras/watching/handover.py)."""
    return f"in-view:{camera_id}"


def site_calls_key(worker: str) -> str:
    """What a worker at a site is asked to do (cameras/watching/site_calls.py)."""
    return f"site-calls:{worker}"


def worker_key(name: str) -> str:
    """Holds what a stream worker reports about itself, as JSON."""
    return f"worker:{name}"


def stages_key(name: str) -> str:
    """How long a stream worker's stages take (format: cameras/watching/counts.py)."""
    return f"stages:{name}"


def health_key(hour: int) -> str:
    """How cameras were watched in one hour since the epoch (format: cameras/watching/health.py)."""
    return f"health:{hour}"


def preview_key(camera_id: int, pixelated: bool = False) -> str:
    """The newest preview (format: cameras/watching/preview.py); its number is published on a channel of this name."""
    return f"preview-pixelated:{camera_id}" if pixelated else f"preview:{camera_id}"


def device_frame_key(camera_id: int) -> str:
    """The newest frame that a device pushed; its number is published on a channel of this name (device_frames.py)."""
    return f"device-frame:{camera_id}"


def device_answer_key(camera_id: int) -> str:
    """What was found in a device's newest analysed frame; also the name of a channel."""
    return f"device-answer:{camera_id}"


def device_shut_key(camera_id: int) -> str:
    """Exists for a while after a camera was deleted: what its device still sends is not looked at."""
    return f"device-shut:{camera_id}"


def device_number_key(camera_id: int) -> str:
    """The number of the newest frame; it only grows."""
    return f"device-number:{camera_id}"


def device_word_key(camera_id: int) -> str:
    """Why a device sends no frames, as reported by the device itself."""
    return f"device-word:{camera_id}"


def door_channel(camera_id: int, output: str) -> str:
    """What is to be said at a camera's door, on its own page ("device") or the one beside it ("loudspeaker")."""
    return f"door:{output}:{camera_id}"


def looked_at_key(camera_id: int, pixelated: bool = False) -> str:
    """Exists while somebody is looking at the camera: who may see faces, or who sees them pixelated."""
    return f"looked-at-pixelated:{camera_id}" if pixelated else f"looked-at:{camera_id}"


ENCODED_KEY = "preview-encoded"  # a hash: number of previews encoded, by camera
WORKERS_KEY = "workers"  # a set of the names of stream workers seen
ERA_KEY = "era"  # set once in Redis's life: its absence means that every time-to-live was lost
LEADER_KEY = "reconcile-leader"
