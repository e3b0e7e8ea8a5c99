"""Who may sign in where, and when: cameras lock an account after a few wrong logins.

After a refusal, one try every ten minutes until the camera is edited, whichever worker watches it. A test and a
watch never sign in at the same camera at once. Both are remembered in Redis; without it a watch still remembers its
own refusal.
"""

from __future__ import annotations

from cameras.reach.addresses import authority_of
from cameras.reach.place import Place
from cameras.redis import connection

REFUSED_S = 600  # an edit of the camera resets it
SIGNING_IN_S = 4  # at most, if the login never completes


def refused_key(camera_id: int, version: int) -> str:
    return f"login-refused:{camera_id}:{version}"


def wait_s(place: Place, camera_id: int, version: int) -> float:
    """For how long the watch of this camera, in this version, must not sign in; 0 if it may."""
    if not place.user:
        return 0.0
    left = connection().ttl(refused_key(camera_id, version))
    if left > 0:
        return float(left)
    return 0.0 if take_turn(place, watcher(camera_id)) else 1.0


def watcher(camera_id: int) -> str:
    return f"watch {camera_id}"


def note_refused(camera_id: int, version: int) -> None:
    connection().set(refused_key(camera_id, version), "1", ex=REFUSED_S)


def give_turn_back(place: Place, who: str) -> None:
    """Let the next one sign in, once `who` has: one recorder has many cameras at one address."""
    key = turn_key(place)
    if connection().get(key) == who.encode():
        connection().delete(key)


def turn_key(place: Place) -> str:
    return f"signing-in:{authority_of(place.address)}"


def take_turn(place: Place, who: str) -> bool:
    """Whether it is `who`'s turn to sign in at this address; a turn already taken is kept."""
    key = turn_key(place)
    if connection().set(key, who, nx=True, ex=SIGNING_IN_S):
        return True
    return connection().get(key) == who.encode()
