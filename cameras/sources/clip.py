"""A clip: read as fast as possible (replay), or in a loop at its own pace, as if it were live."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
from av.error import FFmpegError
from django.utils.translation import gettext as _

from cameras.errors import StreamError
from cameras.reach.addresses import clip_path
from cameras.reach.local import check_assigned
from cameras.sources.base import Frame, Opening, StreamFacts, register
from cameras.sources.pictures import Pictures, luma_samples
from detection import MAX_PIXELS

LEAST_GAP_S = 1 / 120
CLOCK_STEP_S = 2.0  # the clock was set, or the machine slept: time is anchored again


class Clip:
    """An open video file; raises StreamError if it is not a video, is empty, or is too large."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.container = av.open(str(path), options={"protocol_whitelist": "file"})
        except (FFmpegError, OSError, ValueError) as error:
            raise StreamError(_("This file is not a video that can be read."), permanent=True) from error
        if not self.container.streams.video:
            self.container.close()
            raise StreamError(_("This file has no picture in it."), permanent=True)
        self.stream = self.container.streams.video[0]
        context = self.stream.codec_context
        if context is None:
            self.container.close()
            raise StreamError(_("This file's pictures are in an encoding that is not supported."), permanent=True)
        if context.width * context.height > MAX_PIXELS:
            self.container.close()
            raise StreamError(
                _("Its pictures have %(here)d megapixels; at most %(most)d can be watched.")
                % {"here": context.width * context.height // 1_000_000, "most": MAX_PIXELS // 1_000_000},
                permanent=True,
            )
        context.thread_count = 1  # frame threads add delay

    @property
    def rate(self) -> float:
        """Frames a second."""
        return float(self.stream.average_rate or 25)

    def decode(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Frames with their seconds from the clip's start; raises StreamError if there are none or one is broken."""
        seconds, count, base = 0.0, 0, None
        try:
            for frame in self.container.decode(self.stream):
                if frame.width * frame.height > MAX_PIXELS:
                    raise StreamError(_("A picture in this clip is too large to be watched."), permanent=True)
                if frame.pts is not None and frame.time is not None:
                    base = frame.time if base is None else base
                    seconds = max(frame.time - base, seconds + LEAST_GAP_S if count else 0.0)
                elif count:
                    seconds += 1 / self.rate
                count += 1
                yield seconds, frame
        except FFmpegError as error:
            raise StreamError(_("This clip is cut or broken after %(seconds).0f s.") % {"seconds": seconds}) from error
        if not count:
            raise StreamError(_("This clip is empty."), permanent=True)

    def rewind(self) -> None:
        self.container.seek(0)

    def close(self) -> None:
        self.container.close()


class LoopedClip:
    """A clip as a live camera: in real time, for ever, `captured_at` counted from the wall clock at its first frame."""

    may_rest = False  # decoding is all the same: the clip is on this machine's disk

    def __init__(self, path: Path) -> None:
        self.clip = Clip(path)
        self._pictures = Pictures()
        context = self.clip.stream.codec_context
        self.facts = StreamFacts(context.name, context.width, context.height, packets_per_second=self.clip.rate)

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        wall, mono = time.time(), time.monotonic()
        offset = 0.0
        while not stop.is_set():
            seconds = 0.0
            for seconds, frame in self.clip.decode():
                if stop.wait(max(0.0, mono + offset + seconds - time.monotonic())):
                    return
                if abs(time.time() - wall - offset - seconds) > CLOCK_STEP_S:
                    wall, mono = time.time() - offset - seconds, time.monotonic() - offset - seconds
                self.facts.packets += 1
                self.facts.key_frames += frame.key_frame
                yield Frame(
                    wall + offset + seconds, partial(self._pictures.upright, frame), luma=partial(luma_samples, frame)
                )
            offset += seconds + 1 / self.clip.rate
            self.clip.rewind()

    def close(self) -> None:
        self.clip.close()


@register("clip")
def open_clip(opening: Opening) -> LoopedClip:
    check_assigned(opening.site_id, opening.place.address)
    path = clip_path(opening.place.address)
    for step in ("name", "connection", "login"):
        opening.reached(step)
    return LoopedClip(path)
