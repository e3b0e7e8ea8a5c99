"""What every kind of camera provides: frames with the time at which they were taken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cameras.reach.place import Place
from detection import Image, Sighting
from detection.motion import Samples

ImageMaker = Callable[[], Image]


def no_samples() -> Samples | None:
    return None


@dataclass(frozen=True)
class Frame:
    """One picture of a stream.

    Args:
        captured_at: seconds since the epoch, UTC.
        image_bgr: makes the full picture, upright, blue first; called only for frames that are analysed.
        answer: called with who is in the frame, if its sender waits for that; such a frame is always analysed.
        refuse: likewise, called with why the frame could not be analysed.
        is_broken: packets are missing, of this picture or of one that it is built on.
        luma: makes samples of its light, for next to nothing, to see whether anything moves; or gives None.
    """

    captured_at: float
    image_bgr: ImageMaker
    answer: Callable[[Sequence[Sighting]], None] | None = None
    refuse: Callable[[str], None] | None = None
    is_broken: bool = False
    luma: Callable[[], Samples | None] = no_samples


@dataclass
class StreamFacts:
    """What is known about a stream's video so far; it grows while frames are read.

    Args:
        packets_per_second: measured, or as the stream declares; 0 while unknown.
        key_frame_gap_s: between the last two key frames; None before the second.
    """

    codec: str = ""
    width: int = 0
    height: int = 0
    packets: int = 0
    key_frames: int = 0
    packets_per_second: float = 0.0
    key_frame_gap_s: float | None = None


@dataclass(frozen=True)
class Opening:
    """How to open a camera.

    Args:
        stop: once set, opening and reading end within a second.
        reached: called with the name of each step that was passed: "name", "connection", "login".
        camera_id: of a device, which has no address; 0 for one that is not a camera of the portal yet.
        site_id: of the camera's site; 0 likewise.
    """

    place: Place
    stop: threading.Event = field(default_factory=threading.Event)
    reached: Callable[[str], None] = lambda step: None
    camera_id: int = 0
    site_id: int = 0


class Source(Protocol):
    """An open stream. `frames` ends by raising StreamError, or quietly once `stop` is set.

    While `may_rest` is set nobody is in view: a stream may then decode key frames only, as long as nothing moves.
    """

    facts: StreamFacts
    may_rest: bool

    def frames(self, stop: threading.Event) -> Iterator[Frame]: ...

    def close(self) -> None: ...


Opener = Callable[[Opening], Source]
_OPENERS: dict[str, Opener] = {}


def register(kind: str) -> Callable[[Opener], Opener]:
    """Register a function that opens cameras of this kind."""

    def note(opener: Opener) -> Opener:
        _OPENERS[kind] = opener
        return opener

    return note


def open_source(opening: Opening) -> Source:
    """Open a camera's stream; raises CameraError with a sentence for people."""
    return _OPENERS[opening.place.kind](opening)
