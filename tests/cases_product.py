"""The names by which inputs from outside this repository drive the product: keep them when the code they name moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from cameras.errors import CameraError
from cameras.reach.addresses import split_login
from cameras.reach.place import Place
from cameras.replay.replay import replay
from cameras.replay.rtsp_server import CLOCK, RecordedVideo
from cameras.settings import CameraSettings
from cameras.sources import Opening, open_source
from cameras.watching.watch import Watch
from detection import Analyzer, Detector, PictureError, encode_jpeg, read_picture, scaled_down

__all__ = [
    "CLOCK",
    "CameraError",
    "Detector",
    "PictureError",
    "RecordedVideo",
    "encode_jpeg",
    "open_address",
    "read_picture",
    "replay",
    "scaled_down",
    "split_login",
    "watch",
]


def open_address(address: str, user: str, password: str, transport: str, stop: threading.Event) -> Any:
    """A source with `frames(stop)` and `close()`, as a watch opens it."""
    return open_source(Opening(Place(address.split(":")[0], address, user, password, transport), stop))


def watch(address: str, transport: str, outlet: Any, stop: threading.Event) -> Callable[[], None]:
    """A watch of an address, five analyses a second, reporting to `outlet`; call it to run it until `stop` is set."""
    detector = Detector.load()
    settings = CameraSettings(1, "Door", Place(address.split(":")[0], address, transport=transport))
    return Watch(settings, 1, lambda: Analyzer(detector), outlet, stop).run
