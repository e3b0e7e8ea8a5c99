"""A clip: read as fast as possible (replay), or in a loop at its own pace, as if it were live."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideDataType
from django.utils.translation import gettext as _

from cameras.errors import StreamError
from cameras.reach.addresses import clip_path
from cameras.reach.local import check_assigned
from cameras.sources.base import Frame, Opening, StreamFacts, register
from detection import MAX_PIXELS, Image

if TYPE_CHECKING:
    from typing_extensions import Buffer

LEAST_GAP_S = 1 / 120


def _kind_without_name(cls: type[SideDataType], value: object) -> SideDataType:
    """PyAV 18 knows fewer kinds of side data than its FFmpeg, and refuses all of a frame's for one (EXIF: 31)."""
    kind = object.__new__(cls)
    kind._name_, kind._value_ = f"KIND_{value}", value  # type: ignore[assignment]
    return kind


SideDataType._missing_ = classmethod(_kind_without_name)  # type: ignore[assignment]
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


def upright(frame: av.VideoFrame) -> Image:
    """The picture as it is meant to be seen: phones store it turned or mirrored, with a display matrix beside it.

    The matrix (a, b, u, c, d, v, x, y, w), as FFmpeg's libavutil/display.h has it, moves a point of the stored picture
    to (a·x + c·y, b·x + d·y); an EXIF orientation arrives as one, too.
    """
    image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return image
    a, b, _, c, d, *_ = np.frombuffer(bytes(cast("Buffer", side_data)), np.int32)[:9].tolist()
    if abs(a) + abs(d) < abs(b) + abs(c):
        image, a, d = image.transpose(1, 0, 2), c, b
    image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


class LoopedClip:
    """A clip as a live camera: in real time, for ever, `captured_at` counted from the wall clock at its first frame."""

    def __init__(self, path: Path) -> None:
        self.clip = Clip(path)
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
                yield Frame(wall + offset + seconds, partial(upright, frame))
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
