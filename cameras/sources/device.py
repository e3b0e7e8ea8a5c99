"""A phone, a computer or any program that pushes JPEG frames to the portal (cameras/sources/device_frames.py)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from redis.client import PubSub

from cameras.errors import StreamError
from cameras.redis import Errors, device_frame_key, subscription
from cameras.sources import device_frames
from cameras.sources.base import Frame, Opening, StreamFacts, register
from cameras.sources.decoding import DecodingTime
from detection import Image, PictureError, Sighting, decode_picture

TICK_S = 0.5
TIMES = DecodingTime()
TOO_LONG = gettext_lazy("Your pictures take too long to decode. Send smaller ones, or fewer.")
PATIENCE_S = 10.0  # without a frame; some devices push one only every few seconds


class PushedFrames:
    """The frames of one device, as they come; those that come while one is being analysed are skipped."""

    may_rest = False  # its pictures come singly, and their sender waits for each

    def __init__(self, camera_id: int, site_id: int = 0) -> None:
        self._camera_id = camera_id
        self._site_id = site_id
        self.facts = StreamFacts("jpeg")

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        try:
            with closing(subscription(device_frame_key(self._camera_id))) as pubsub:
                yield from self._follow(pubsub, stop)
        except Errors as error:
            raise StreamError(_("The portal's Redis does not answer; the device's pictures wait for it.")) from error

    def _follow(self, pubsub: PubSub, stop: threading.Event) -> Iterator[Frame]:
        lying = device_frames.newest_frame(self._camera_id)  # perhaps from a while ago
        last, heard_at, captured_at = lying.number if lying else 0, time.monotonic(), 0.0
        while not stop.is_set():
            newest = device_frames.newest_frame(self._camera_id)
            if newest is not None and newest.number > last:
                last, heard_at = newest.number, time.monotonic()
                self.facts.packets += 1
                image = self._decode(newest)
                if image is None:
                    continue
                self.facts.height, self.facts.width = image.shape[:2]
                # By this machine's clock, as for any other camera: the web server's may differ.
                captured_at = max(time.time(), captured_at + 0.001)
                answer, refuse = partial(self._answer, newest.number), partial(self._refuse, newest.number)
                yield Frame(captured_at, partial(_itself, image), answer, refuse)
                continue  # look again: another may have come meanwhile
            if time.monotonic() - heard_at > PATIENCE_S:
                raise StreamError(self._why())
            pubsub.get_message(timeout=TICK_S)

    def _decode(self, frame: device_frames.DeviceFrame) -> Image | None:
        """The frame's picture, or None if it is refused; what takes too long to decode ends the device's socket."""
        if not TIMES.may_decode(self._camera_id, self._site_id):
            self._refuse(frame.number, str(TOO_LONG), ends=True)
            return None
        try:
            with TIMES.spent(self._camera_id, self._site_id):
                return decode_picture(frame.jpeg, _("The frame"))
        except PictureError as error:
            self._refuse(frame.number, str(error))
            return None

    def _answer(self, number: int, sightings: Sequence[Sighting]) -> None:
        with contextlib.suppress(*Errors):  # the sender learns of it through the time-out
            device_frames.answer(self._camera_id, number, sightings)

    def _refuse(self, number: int, fault: str, *, ends: bool = False) -> None:
        with contextlib.suppress(*Errors):
            device_frames.refuse(self._camera_id, number, fault, ends=ends)

    def _why(self) -> str:
        word = device_frames.last_word(self._camera_id)
        if word is not None:
            return f"{word.meaning} {word.remedy}"
        return _("The device sends no pictures. Is it switched on, and its page open?")

    def close(self) -> None:
        """Nothing to do: something is held only while frames are read."""


def _itself(image: Image) -> Image:
    return image


@register("device")
def open_device(opening: Opening) -> PushedFrames:
    for step in ("name", "connection", "login"):
        opening.reached(step)
    return PushedFrames(opening.camera_id, opening.site_id)
