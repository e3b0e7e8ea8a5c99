from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cameras.settings import CameraSettings
from cameras.watching.counts import WatchCounts
from cameras.watching.watch import Watch
from detection import Analyzer, Detector
from tests.cameras.watching.notes import Notes
from tests.worlds import World, make_world


@pytest.fixture(autouse=True)
def _fast_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def world(db: None, redis: Any) -> World:
    return make_world()


@pytest.fixture
def watches() -> Iterator[Callable[..., Notes]]:
    """Starts watches in threads, and ends them."""
    detector = Detector.load()
    started: list[tuple[threading.Event, threading.Thread]] = []

    def start(settings: CameraSettings, counts: WatchCounts | None = None) -> Notes:
        notes, stop = Notes(), threading.Event()
        thread = threading.Thread(target=Watch(settings, 1, lambda: Analyzer(detector), notes, stop, counts).run)
        thread.start()
        started.append((stop, thread))
        return notes

    yield start
    for stop, _ in started:
        stop.set()
    for _, thread in started:
        thread.join(5)
        assert not thread.is_alive(), "a watch ends when it is asked to"
