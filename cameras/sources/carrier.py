"""What brings a camera's bytes to FFmpeg: watched for silence, ended by `stop`, with its fault in words for people."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol

from django.utils.translation import gettext as _

from cameras.errors import CameraError, StreamError

LEAST_LIMIT_S = 10.0
FIRST_S = 25.0  # some cameras begin with their next key frame, and send one every 10 s
GAPS = 3  # this many times the usual gap between two packets of video


class Watchdog:
    """How old the last video packet may become: max(10 s, 3 times the usual gap).

    A camera that sends one picture a second does not flap, and a frozen one is detected before FFmpeg's own time-out,
    which comes late (after twice what it is set to).
    """

    def __init__(self) -> None:
        self.limit_s = FIRST_S
        self._heard_at = time.monotonic()

    def heard(self) -> None:
        """Video came in just now."""
        self._heard_at = time.monotonic()

    def expect(self, usual_gap_s: float) -> None:
        self.limit_s = max(LEAST_LIMIT_S, GAPS * usual_gap_s)

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._heard_at > self.limit_s

    def fault(self) -> StreamError:
        return StreamError(
            _("The connection is up, but no picture came for %(seconds)d s. Restart the camera if this continues.")
            % {"seconds": self.limit_s}
        )


class Carrier(Protocol):
    """Brings bytes. `fault` says why it ended, if known; FFmpeg's own messages are not for people."""

    watchdog: Watchdog
    stop: threading.Event
    holes: deque[float] = deque(maxlen=0)  # since when packets have been missing; its reader takes them out

    def taken_at(self, pts_s: float) -> float | None:
        """When the picture with this pts was taken, on `time.monotonic()`; None if the carrier does not know."""
        return None

    @property
    def fault(self) -> CameraError | None: ...

    def close(self) -> None: ...


def fault_of_status(status: int) -> StreamError | None:
    """The meaning of a status that HTTP and RTSP have in common; None for the others."""
    if 300 <= status < 400:
        return StreamError(
            _("The camera redirects to another address. Redirects are not followed: enter the final address yourself."),
            permanent=True,
        )
    if status == 403:
        return StreamError(
            _("The camera knows this user, but does not let them watch. Allow this user to view live video.")
        )
    if status == 404:
        return StreamError(_("The camera has no stream under this path. Choose its make, or look in its manual."))
    return None
