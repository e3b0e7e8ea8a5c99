"""An incoming frame from a device: what is checked before it is decoded. Used by the API and the socket."""

from __future__ import annotations

import io

from django.utils.translation import gettext as _
from PIL import Image, UnidentifiedImageError

from detection import PictureError
from detection.pictures import check_scans
from portal.server import throttling

MOST_BYTES = 512 * 1024
MOST_PIXELS = 3840 * 2160
LEAST_SIDE_PX = 16
SPARE = 1.5  # how much faster than asked a device may push, since we do not control its timers


class FrameError(Exception):
    """The frame is refused. `status` is the HTTP status; the text is for the author of the device's program."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_size(length: int) -> None:
    """Raise FrameError if a frame has too many bytes; an announced length can be checked before the body is read."""
    if length > MOST_BYTES:
        raise FrameError(413, _("A frame may have at most 512 KB. Send a smaller one, or one of lower quality."))


def check_frame(data: bytes) -> None:
    """Raise FrameError unless this is a JPEG of an allowed size. Only its header is read; nothing is decoded."""
    check_size(len(data))
    check_picture(data)


def check_picture(data: bytes) -> None:
    """The same, however many bytes it has."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            width, height = picture.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FrameError(415, _("A frame must be a JPEG. This is not one, or it is broken.")) from error
    try:
        check_scans(data, _("The frame"))
    except PictureError as error:
        raise FrameError(415, str(error)) from error
    if min(width, height) < LEAST_SIDE_PX:
        raise FrameError(415, _("A frame this small shows no face. Send one of at least 16 pixels a side."))
    if width * height > MOST_PIXELS:
        raise FrameError(413, _("A frame may have at most 3840x2160 pixels. Send a smaller one."))


def check_pace(camera_id: int, rate: float) -> None:
    """Raise FrameError if a device pushes faster than its camera is analysed, `rate` a second; each call is counted."""
    if not throttling.allow_a_second("device-frames", str(camera_id), round(rate * SPARE)):
        raise FrameError(429, _("This camera accepts %(rate)g frames a second. Send fewer.") % {"rate": rate})
