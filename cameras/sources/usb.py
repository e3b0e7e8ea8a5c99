"""A USB camera on the worker's machine, through Video4Linux. Untested on hardware: see docs/cameras.md."""

from __future__ import annotations

import threading

from django.utils.translation import gettext as _

from cameras.errors import CameraError, StreamError
from cameras.reach.addresses import device_path
from cameras.reach.local import check_assigned
from cameras.sources.base import Opening, register
from cameras.sources.carrier import Carrier, Watchdog
from cameras.sources.stream import Stream

SIZE = "1280x720"
RATE = "15"


class Device(Carrier):
    """Nothing to carry: FFmpeg reads the device itself."""

    def __init__(self, stop: threading.Event) -> None:
        self.watchdog = Watchdog()
        self.stop = stop

    @property
    def fault(self) -> CameraError | None:
        return None

    def close(self) -> None:
        return


@register("usb")
def open_usb(opening: Opening) -> Stream:
    """The camera's own nearest size and rate are used if it does not have 1280x720 at 15 pictures a second."""
    path = device_path(opening.place.address)
    check_assigned(opening.site_id, path)
    for step in ("name", "connection", "login"):
        opening.reached(step)
    try:
        return Stream.open(Device(opening.stop), path, "v4l2", {"video_size": SIZE, "framerate": RATE})
    except StreamError:
        try:
            return Stream.open(Device(opening.stop), path, "v4l2", {})
        except StreamError:
            raise StreamError(
                _("No camera answers at %(device)s on the worker's machine. Is it plugged in, and not used elsewhere?")
                % {"device": path}
            ) from None
