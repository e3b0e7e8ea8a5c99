"""A live stream decoded by FFmpeg: packets in, frames out, each with the time at which it was taken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import av
from av.error import FFmpegError
from django.utils.translation import gettext as _

from cameras.errors import StreamError
from cameras.sources.base import Frame, StreamFacts
from cameras.sources.carrier import Carrier
from cameras.sources.clock import PictureMoments, StreamClock
from cameras.sources.damage import Damage
from cameras.sources.pictures import Pictures, luma_samples
from detection import MAX_PIXELS
from detection.motion import Motion

log = logging.getLogger(__name__)

PROBING = {"probesize": "65536", "analyzeduration": "0", "fpsprobesize": "1"}
FIRST_PICTURE_S = 30.0
LEAST_PROGRESS_S = 4.0  # between two pictures, while packets come in: the camera may have changed its encoding
PICTURE_GAPS = 3
UNTIMED = {"mpjpeg"}
MOST_SPAN_S = 600.0  # over which a rate is measured
REST_GAP_S = 1.1  # key frames at most so far apart are enough to see that somebody came
KEPT_GAPS = 1.5  # so many gaps' packets are kept: then the next key frame is overdue


class Stream:
    """One connection to a camera. `close` ends FFmpeg first, then the carrier.

    MJPEG carries no times: its frames count as taken when they came in.
    """

    def __init__(self, container: Any, carrier: Carrier) -> None:
        self._is_timed = container.format.name not in UNTIMED
        self.facts = StreamFacts()
        self._container = container
        self._carrier = carrier
        self._video = container.streams.video[0]
        context = self._video.codec_context
        context.thread_count = 1  # frame threads add delay
        self.facts.codec, self.facts.width, self.facts.height = context.name, context.width, context.height
        self._clock = StreamClock()
        self._damage = Damage()
        self._moments = PictureMoments()
        self._decoded_at = time.monotonic()
        self._has_decoded = False
        self._first: tuple[int, float] | None = None  # number and time of the packet from which the rate is measured
        self._key_at: float | None = None
        self._pictures = Pictures()
        self.may_rest = False
        self._motion = Motion()  # from one key frame to the next
        self._kept: list[Any] | None = None  # while resting: the packets since the newest key frame
        self._shown_pts: int | None = None  # of that key frame
        self._suits_rest = True  # not a decoder that holds pictures back, nor pictures without a plane of luma

    @classmethod
    def open(cls, carrier: Carrier, file: Any, name: str, options: Mapping[str, str]) -> Stream:
        """Let FFmpeg open the stream. Raises the carrier's fault, or StreamError, after closing the carrier."""
        try:
            container = av.open(file, format=name, options={**PROBING, **options})
        except (FFmpegError, OSError, ValueError) as error:
            carrier.close()
            if carrier.fault is not None:
                raise carrier.fault from None
            log.info("FFmpeg did not open the stream: %s", type(error).__name__)
            raise StreamError(_("The camera answers, but does not send a video that can be read here.")) from None
        try:
            if not container.streams.video or container.streams.video[0].codec_context is None:
                raise StreamError(
                    _("The camera does not send a video that can be read here. Set it to H.264, H.265 or MJPEG."),
                    permanent=True,
                )
            return cls(container, carrier)
        except StreamError:
            container.close()
            carrier.close()
            raise

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        for packet in self._packets(stop):
            arrival = time.monotonic()
            pts_s = float(packet.pts * packet.time_base) if self._is_timed and packet.pts is not None else None
            taken = None if pts_s is None else self._carrier.taken_at(pts_s)
            if taken is not None:
                self._damage.packet(taken, packet.is_keyframe, self._carrier.holes)
            elif pts_s is not None:
                self._clock.note(pts_s, arrival)
            self._note_packet(packet, arrival if taken is None else taken)
            for frame in self._pictures_of(packet):
                self._note_frame(frame)
                seconds = frame.time if self._is_timed and frame.pts is not None else None
                taken = None if seconds is None else self._carrier.taken_at(seconds)
                is_broken = frame.is_corrupt or self._damage.covers(taken)
                yield Frame(
                    self._taken_at(seconds, taken),
                    partial(self._pictures.upright, frame),
                    is_broken=is_broken,
                    luma=partial(luma_samples, frame),
                )
            self._check_progress()
        if not stop.is_set():
            raise self._carrier.fault or StreamError(_("The camera ended the stream."))

    def _taken_at(self, pts_s: float | None, taken: float | None) -> float:
        """When a decoded picture was taken, on the wall's clock: later than the one before it, not later than now.

        Args:
            taken: what the carrier knows of it, on `time.monotonic()`.
        """
        now = time.monotonic()
        if taken is None and pts_s is not None:
            taken = self._clock.taken_at(pts_s, now)
        return time.time() - (now - self._moments.next(taken, now))

    def close(self) -> None:
        try:
            self._container.close()
        finally:
            self._carrier.close()

    def _packets(self, stop: threading.Event) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._video):
                if stop.is_set():
                    return
                if packet.size:
                    yield packet
        except (FFmpegError, OSError, ValueError) as error:
            if stop.is_set():
                return
            log.info("the stream ended: %s", type(error).__name__)
            raise self._carrier.fault or StreamError(_("The connection to the camera was lost.")) from None

    def _pictures_of(self, packet: Any) -> list[Any]:
        """The frames that this packet leads to: its own, or, while nobody is in view, those of key frames alone.

        Packets in between are kept. If something moved from one key frame to the next, what was kept is decoded after
        all, in order: nothing is missing, and it comes as late as the key frame did.
        """
        if self._kept is None:
            frames = self._decode(packet)
            if self._can_rest and packet.is_keyframe and frames:
                self._rest_from(packet, frames)
            return frames
        if not self._can_rest or len(self._kept) > KEPT_GAPS * REST_GAP_S * self.facts.packets_per_second:
            return self._wake(packet)
        if not packet.is_keyframe:
            self._kept.append(packet)
            return []
        frames = self._decode(packet)
        if not frames:
            self._suits_rest = False
        samples = luma_samples(frames[-1]) if frames else None
        if samples is None or self._motion.is_seen(samples):
            return self._wake(packet)
        self._rest_from(packet, frames)
        return frames

    @property
    def _can_rest(self) -> bool:
        gap_s = self.facts.key_frame_gap_s
        return self.may_rest and self._suits_rest and gap_s is not None and gap_s <= REST_GAP_S

    def _rest_from(self, packet: Any, frames: list[Any]) -> None:
        if self._kept is None:
            self._motion = Motion()
            if (samples := luma_samples(frames[-1])) is None:
                self._suits_rest = False
                return
            self._motion.is_seen(samples)
        self._kept, self._shown_pts = [packet], frames[-1].pts

    def _wake(self, packet: Any) -> list[Any]:
        """Decode what was kept; the first of it was shown already."""
        kept, self._kept = [*(self._kept or []), packet], None
        self._video.codec_context.flush_buffers()
        frames = [frame for each in kept for frame in self._decode(each)]
        return [
            frame for frame in frames if frame.pts is None or self._shown_pts is None or frame.pts > self._shown_pts
        ]

    def _decode(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except FFmpegError:
            return []  # broken packets are left out; _check_progress notices if no pictures come at all

    def _note_packet(self, packet: Any, at_s: float) -> None:
        facts = self.facts
        facts.packets += 1
        if packet.is_keyframe:
            facts.key_frames += 1
            if self._key_at is not None:
                facts.key_frame_gap_s = at_s - self._key_at
            self._key_at = at_s
        if self._first is None or not 0 <= at_s - self._first[1] < MOST_SPAN_S:
            self._first = facts.packets, at_s
        elif (span := at_s - self._first[1]) > 0.5:
            facts.packets_per_second = (facts.packets - self._first[0]) / span
            self._carrier.watchdog.expect(1 / facts.packets_per_second)

    def _note_frame(self, frame: Any) -> None:
        if frame.width * frame.height > MAX_PIXELS:
            raise StreamError(_("Its pictures are too large to be watched. Set a smaller size."), permanent=True)
        self._decoded_at, self._has_decoded = time.monotonic(), True
        self.facts.width, self.facts.height = frame.width, frame.height

    def _check_progress(self) -> None:
        """Packets come in: do pictures come out?"""
        waited, per_second = time.monotonic() - self._decoded_at, self.facts.packets_per_second
        usual_gap_s = 1 / per_second if per_second else 0.0
        most = max(LEAST_PROGRESS_S, PICTURE_GAPS * usual_gap_s) if self._has_decoded else FIRST_PICTURE_S
        if waited > most:
            raise StreamError(
                _("Video comes in, but no whole picture. Set the camera's key-frame interval (I-frame, GOP) to 2 s.")
            )
