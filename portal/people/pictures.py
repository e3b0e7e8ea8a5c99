"""The only way out for a stored picture: `render` for a violation and an audience, `render_glimpse` for its strip."""

from __future__ import annotations

import io
from enum import Enum

from django.core.files.storage import default_storage
from PIL import Image, UnidentifiedImageError

from portal.models import Violation, ViolationGlimpse
from portal.people.access import Audience

MAX_PIXELS = 40_000_000
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

THUMBNAIL_PX = 320
FACE_PX = 360
PIXELATED_BLOCKS = 6
COARSE_BLOCKS = 12  # across a whole picture


class PictureView(Enum):
    """Which part of a stored picture is shown, and how large."""

    FULL = "full"
    THUMBNAIL = "thumbnail"
    FACE = "face"


class PictureGoneError(Exception):
    """The violation has no picture (any more)."""


def render(violation: Violation, audience: Audience, view: PictureView = PictureView.FULL) -> bytes:
    """The picture as JPEG, as this audience may see it. Ask portal/people/access.py for the audience.

    Raises PictureGoneError. Costs no query; the file is read whole, and decoded unless it is returned unchanged.
    """
    stored = _stored(violation.snapshot.name)
    if view is PictureView.FULL and audience is Audience.FACES:
        return stored
    picture = _decoded(stored)
    if audience is Audience.PIXELATED:
        pixelate(picture, violation.box)
    if view is PictureView.FACE:
        picture = picture.crop(around_face(picture.size, violation.box))
        picture.thumbnail((FACE_PX, FACE_PX))
    elif view is PictureView.THUMBNAIL:
        picture = picture.crop(around_person(picture.size, violation.box))
        picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return _encoded(picture)


def render_glimpse(glimpse: ViolationGlimpse, audience: Audience) -> bytes:
    """A picture of a violation's filmstrip as JPEG, likewise."""
    stored = _stored(glimpse.picture.name)
    if audience is Audience.FACES:
        return stored
    picture = _decoded(stored)
    pixelate(picture, glimpse.box)
    return _encoded(picture)


def _stored(name: str | None) -> bytes:
    if not name:
        raise PictureGoneError
    try:
        with default_storage.open(name, "rb") as file:
            return bytes(file.read())
    except OSError as error:
        raise PictureGoneError from error


def _decoded(stored: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(stored)).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise PictureGoneError from error


def _encoded(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=84)
    return out.getvalue()


def pixelate(picture: Image.Image, box: list[float]) -> None:
    """Make the face unrecognisable, in place: a few squares across, extending slightly beyond the box.

    The other faces were pixelated before the picture was stored. If no box is known, everything is made coarse.
    """
    if len(box) != 4:
        small = picture.resize((COARSE_BLOCKS, COARSE_BLOCKS), Image.Resampling.BOX)
        picture.paste(small.resize(picture.size, Image.Resampling.NEAREST))
        return
    area = enlarged(picture.size, box, 0.12)
    face = picture.crop(area)
    small = face.resize((PIXELATED_BLOCKS, PIXELATED_BLOCKS), Image.Resampling.BOX)
    picture.paste(small.resize(face.size, Image.Resampling.NEAREST), area)


def around_face(size: tuple[int, int], box: list[float]) -> tuple[int, int, int, int]:
    """The face with some of its surroundings, in pixels; the whole picture if there is no box."""
    return enlarged(size, box, 0.45) if len(box) == 4 else (0, 0, *size)


def around_person(size: tuple[int, int], box: list[float]) -> tuple[int, int, int, int]:
    """A part of the picture, 16:9 if possible, in which the person is large; all of it if there is no box."""
    if len(box) != 4:
        return (0, 0, *size)
    width, height = size
    x1, y1, x2, y2 = box
    tall = min(height, round((y2 - y1) * height * 3.2))
    wide = min(width, round(tall * 16 / 9))
    left = min(width - wide, max(0, round((x1 + x2) / 2 * width - wide / 2)))
    top = min(height - tall, max(0, round((y1 + y2) / 2 * height - tall * 0.42)))
    return left, top, left + max(2, wide), top + max(2, tall)


def enlarged(size: tuple[int, int], box: list[float], share: float) -> tuple[int, int, int, int]:
    """A relative box enlarged by a share of its sides, in pixels within the picture, at least 2x2."""
    width, height = size
    x1, y1, x2, y2 = box
    grow_x, grow_y = (x2 - x1) * share, (y2 - y1) * share
    left = min(width - 2, max(0, round((x1 - grow_x) * width)))
    top = min(height - 2, max(0, round((y1 - grow_y) * height)))
    right = max(left + 2, min(width, round((x2 + grow_x) * width)))
    bottom = max(top + 2, min(height, round((y2 + grow_y) * height)))
    return left, top, right, bottom
