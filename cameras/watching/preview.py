"""JPEGs for live viewers, through Redis: the newest wins, nothing queues, nothing is encoded that nobody is looking at.

A preview is one value in Redis with a time-to-live, and its number is published on a channel of the same name:

    length   4 bytes, big-endian: of the header
    header   JSON: camera, token, number, captured_at (s since the epoch), faces [{box, label, key}]
    picture  JPEG, longer side at most 960 px

The browser gets exactly these bytes as one binary message. For viewers who may not see faces there is a second one,
under a key of its own, in which every possible face is pixelated before it leaves the worker.
"""

from __future__ import annotations

import json
import logging
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cameras.redis import ENCODED_KEY, Errors, connection, looked_at_key, preview_key
from detection import Box, Image, Sighting, encode_jpeg, scaled_down
from detection.appearance import coarsen, pixelate

log = logging.getLogger(__name__)

LEAST_GAP_S = 0.19  # five a second
LOOK_EVERY_S = 0.4
TIME_TO_LIVE_S = 10
SIDE_PX = 960
QUALITY = 72
_LENGTH = struct.Struct(">I")


class View(NamedTuple):
    """One camera, as some people see it: with faces, or pixelated."""

    camera_id: int
    pixelated: bool = False


@dataclass(frozen=True)
class Offer:
    """One analysed frame that may become a preview.

    Args:
        faces: all places where a face may be; None if that is not known, and then nothing is shown sharply to those
            who may not see faces.
    """

    camera_id: int
    token: int
    captured_at: float
    image_bgr: Image
    sightings: Sequence[Sighting]
    faces: Sequence[Box] | None = None


def encode_preview(offer: Offer, number: int, pixelated: bool = False) -> bytes:
    """The bytes described above."""
    image = scaled_down(offer.image_bgr, SIDE_PX)
    if pixelated:
        image = without_faces(image, offer.faces)
    header = json.dumps(
        {
            "camera": offer.camera_id,
            "token": offer.token,
            "number": number,
            "captured_at": round(offer.captured_at, 3),
            "faces": [
                {"box": [round(value, 4) for value in seen.box], "label": seen.label, "key": seen.key.hex[-6:]}
                for seen in offer.sightings
            ],
        }
    ).encode()
    return _LENGTH.pack(len(header)) + header + encode_jpeg(image, QUALITY)


def without_faces(image_bgr: Image, faces: Sequence[Box] | None) -> Image:
    """A copy in which nobody can be recognised."""
    image = image_bgr.copy()
    if faces is None:
        coarsen(image)
    for box in faces or ():
        pixelate(image, box)
    return image


def read_header(preview: bytes) -> dict[str, Any]:
    (length,) = _LENGTH.unpack_from(preview)
    header: dict[str, Any] = json.loads(preview[_LENGTH.size : _LENGTH.size + length])
    return header


def read_picture(preview: bytes) -> bytes:
    """Its JPEG."""
    (length,) = _LENGTH.unpack_from(preview)
    return preview[_LENGTH.size + length :]


class PreviewWriter:
    """A worker's one thread that encodes and publishes; camera threads only hand it their newest frame."""

    def __init__(self) -> None:
        self._newest: dict[int, Offer] = {}
        self._numbers: dict[int, int] = {}
        self._published: dict[int, float] = {}
        self._looked_at: frozenset[View] = frozenset()
        self._asked_at = float("-inf")
        self._watched: set[int] = set()
        self._wake = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="previews", daemon=True)
        self._thread.start()

    def wanted(self, camera_id: int) -> bool:
        """Whether somebody is looking at this camera, as known half a second ago."""
        return bool(self._wanted_views(camera_id))

    def _wanted_views(self, camera_id: int) -> list[View]:
        both = (View(camera_id), View(camera_id, pixelated=True))
        return [view for view in both if view in self._looked_at]

    def offer(self, offer: Offer) -> None:
        with self._wake:
            self._newest[offer.camera_id] = offer
            self._wake.notify()

    def begin(self, camera_id: int) -> None:
        with self._wake:
            self._watched.add(camera_id)
            self._published.pop(camera_id, None)
            self._wake.notify()

    def end(self, camera_id: int) -> None:
        with self._wake:
            self._watched.discard(camera_id)
            self._newest.pop(camera_id, None)

    def close(self) -> None:
        with self._wake:
            self._ending = True
            self._wake.notify()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._ending:
            try:
                self.step()
            except Errors:
                with self._wake:
                    self._newest.clear()
                    self._wake.wait(1.0)
            except Exception:
                log.exception("a preview could not be made")

    def step(self) -> bool:
        """Ask which cameras are looked at, if not done lately; publish what waits. True if something was published."""
        with self._wake:
            if not self._newest:
                self._wake.wait(LOOK_EVERY_S if self._watched else None)
            offers, self._newest = list(self._newest.values()), {}
            watched = sorted(self._watched)
        if time.monotonic() - self._asked_at >= LOOK_EVERY_S:
            self._looked_at = who_is_looked_at(watched)
            self._asked_at = time.monotonic()
        published = False
        for offer in offers:
            if self.wanted(offer.camera_id) and self._is_due(offer):
                self._publish(offer)
                published = True
        return published

    def _is_due(self, offer: Offer) -> bool:
        gap = offer.captured_at - self._published.get(offer.camera_id, float("-inf"))
        return gap >= LEAST_GAP_S or gap < -1  # the clock was set back

    def _publish(self, offer: Offer) -> None:
        camera_id = offer.camera_id
        number = self._numbers[camera_id] = max(self._numbers.get(camera_id, 0) + 1, int(time.time() * 1000))
        self._published[camera_id] = offer.captured_at
        pipeline = connection().pipeline(transaction=False)
        for view in self._wanted_views(camera_id):
            pipeline.set(preview_key(*view), encode_preview(offer, number, view.pixelated), ex=TIME_TO_LIVE_S)
            pipeline.publish(preview_key(*view), str(number))
        pipeline.hincrby(ENCODED_KEY, str(camera_id), 1)
        pipeline.execute()


def who_is_looked_at(camera_ids: Sequence[int]) -> frozenset[View]:
    """Those views of these cameras that a web process marked within the last few seconds."""
    if not camera_ids:
        return frozenset()
    views = [View(camera_id, pixelated) for camera_id in camera_ids for pixelated in (False, True)]
    marks = connection().mget([looked_at_key(*view) for view in views])
    return frozenset(view for view, mark in zip(views, marks, strict=True) if mark)


def encoded_counts(camera_ids: Iterable[int]) -> dict[int, int]:
    """How many previews have ever been encoded, by camera; for the tests and for the bench."""
    counts = connection().hgetall(ENCODED_KEY)
    return {camera_id: int(counts.get(str(camera_id).encode(), 0)) for camera_id in camera_ids}
