"""Passwords are hashed by as many threads as the machine can bear, so that many sign-ins at once slow no page down.

Argon2 takes a core and 100 MB for each password, on purpose. So a few are hashed at a time, some wait, and the rest
are told to come back in a moment (portal/pages/errors.py answers 503).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.hashers import Argon2PasswordHasher

AT_ONCE = max(1, (os.cpu_count() or 2) // 2)
MOST_WAITING = 20
WAITS_S = 8.0


class BusyError(Exception):
    """Too many passwords are being checked at this moment."""


class Bench:
    """At most `at_once` at work, and `most_waiting` who wait for it, for WAITS_S each."""

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self._free = threading.Semaphore(at_once)
        self._places = threading.Semaphore(at_once + most_waiting)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises BusyError where no place is free, or none becomes free in time."""
        if not self._places.acquire(blocking=False):
            raise BusyError
        try:
            if not self._free.acquire(timeout=WAITS_S):
                raise BusyError
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._places.release()


bench = Bench(AT_ONCE, MOST_WAITING)


class BoundedArgon2(Argon2PasswordHasher):
    """Django's own hasher, a few at a time. One thread each: the machine's other cores are for pages."""

    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with bench.turn():
            return str(super().encode(password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        with bench.turn():
            return bool(super().verify(password, encoded))
