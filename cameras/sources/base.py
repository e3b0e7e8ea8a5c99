"""What every kind of camera gives: frames with the time at which they were taken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from detection import Image

ImageMaker = Callable[[], Image]


@dataclass(frozen=True)
class Frame:
    """One picture of a stream.

    Args:
        captured_at: seconds since the epoch, UTC.
        image_bgr: makes the full picture, upright, blue first; only called for frames that are looked at.
    """

    captured_at: float
    image_bgr: ImageMaker


class Source(Protocol):
    """A stream that was opened. `frames` ends by raising StreamError, or quietly once `stop` is set."""

    def frames(self, stop: threading.Event) -> Iterator[Frame]: ...

    def close(self) -> None: ...


_OPENERS: dict[str, Callable[[str], Source]] = {}


def register(kind: str) -> Callable[[Callable[[str], Source]], Callable[[str], Source]]:
    """Mark a function as what opens cameras of a kind, given their address."""

    def note(opener: Callable[[str], Source]) -> Callable[[str], Source]:
        _OPENERS[kind] = opener
        return opener

    return note


def open_source(kind: str, address: str) -> Source:
    """Open a camera's stream; raises CameraError with a sentence for people."""
    return _OPENERS[kind](address)
