"""A device's frame on its way in: what is checked before anybody opens it. The API and the socket ask here."""

from __future__ import annotations

import io

from django.utils.translation import gettext as _
from PIL import Image, UnidentifiedImageError

from portal.server import throttling

MOST_BYTES = 512 * 1024
MOST_PIXELS = 3840 * 2160
LEAST_SIDE_PX = 16
SPARE = 1.5  # how much faster than asked a device may push, as its timers are none of ours


class FrameError(Exception):
    """The frame is refused. `status` is HTTP's; the text is a sentence for whoever wrote the device's program."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_size(length: int) -> None:
    """Raise FrameError for more bytes than a frame may have; what is announced can be checked before it is read."""
    if length > MOST_BYTES:
        raise FrameError(413, _("A frame has at most 512 KB. Send it smaller, or with a lower quality."))


def check_frame(data: bytes) -> None:
    """Raise FrameError unless this is a JPEG of an allowed size. Its header is read, nothing is decoded."""
    check_size(len(data))
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            width, height = picture.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FrameError(415, _("A frame is a JPEG. This is none, or is broken.")) from error
    if min(width, height) < LEAST_SIDE_PX:
        raise FrameError(415, _("A frame this small shows no face. Send one of at least 16 pixels a side."))
    if width * height > MOST_PIXELS:
        raise FrameError(413, _("A frame has at most 3840x2160 pixels. Send it smaller."))


def check_pace(camera_id: int, rate: float) -> None:
    """Raise FrameError where a device pushes faster than its camera is looked at, `rate` a second; it is counted."""
    if not throttling.allow_a_second("device-frames", str(camera_id), round(rate * SPARE)):
        raise FrameError(429, _("This camera takes %(rate)g frames a second. Send fewer.") % {"rate": rate})
