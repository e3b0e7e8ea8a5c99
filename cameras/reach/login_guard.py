"""Cameras lock an account after a few wrong logins: who may sign in where, and when.

After a refusal, one try every ten minutes until the camera is edited, whichever worker watches it. And a test and a
watch never sign in at the same camera at once. Both are remembered in Redis; without it a watch still remembers its
own refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cameras.reach.addresses import authority_of
from cameras.redis import connection

if TYPE_CHECKING:
    from cameras.watching.watch import CameraSettings

REFUSED_S = 600  # an edit of the camera begins anew
SIGNING_IN_S = 4  # at most, where the signing in comes to nothing


def refused_key(settings: CameraSettings) -> str:
    return f"login-refused:{settings.camera_id}:{settings.version}"


def wait_s(settings: CameraSettings) -> float:
    """For how long this watch must not sign in: 0 where it may."""
    if not settings.user:
        return 0.0
    left = connection().ttl(refused_key(settings))
    if left > 0:
        return float(left)
    return 0.0 if take_turn(settings.address, watcher(settings)) else 1.0


def watcher(settings: CameraSettings) -> str:
    return f"watch {settings.camera_id}"


def note_refused(settings: CameraSettings) -> None:
    connection().set(refused_key(settings), "1", ex=REFUSED_S)


def give_turn_back(address: str, who: str) -> None:
    """Signed in: the next one may. One recorder has many cameras at one address."""
    key = turn_key(address)
    if connection().get(key) == who.encode():
        connection().delete(key)


def turn_key(address: str) -> str:
    return f"signing-in:{authority_of(address)}"


def take_turn(address: str, who: str) -> bool:
    """Whether it is this one's turn to sign in at this address; its own turn it keeps."""
    key = turn_key(address)
    if connection().set(key, who, nx=True, ex=SIGNING_IN_S):
        return True
    return connection().get(key) == who.encode()
