"""Pictures in files: read, or refused with a clear reason, and drawn on for people to look at."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

MAX_PIXELS = 40_000_000
LEAST_SIDE_PX = 2
MOST_SCANS = 100  # of a JPEG: each is decoded over the whole picture, and thousands take minutes
MOST_SCANNED = 500_000_000  # pixels times scans: about a second of decoding
# OpenCV reads this once, at its first picture: a header that declares more is refused before memory is allocated.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2
import numpy as np

from detection.detector import Box, Detection, Image
from detection.errors import PictureError

# SOF0 to SOF15 but for the tables DHT, JPG and DAC; then length, precision, height, width.
FRAME_HEADER = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]...(..)(..)", re.DOTALL)

# Blue, green, red. A mark goes with each colour, so that nobody has to tell the colours apart.
COLOURS = {"mask": (122, 134, 23), "no_mask": (38, 38, 200), "incorrect": (0, 150, 220), "unsure": (150, 150, 150)}
MARKS = {"mask": "+", "no_mask": "!", "incorrect": "~", "unsure": "?"}


def read_picture(path: str | Path) -> Image:
    """Read a picture as BGR. Raises PictureError if it is missing, not a picture, or over 40 megapixels."""
    path = Path(path)
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise PictureError(f"{path.name} cannot be read: {error.strerror}.") from error
    return decode_picture(data.tobytes(), path.name)


def decode_picture(data: bytes, name: str = "The picture") -> Image:
    """Decode a picture's bytes as BGR; `name` appears in the error."""
    check_scans(data, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        if "pixels" in str(error).lower():
            raise PictureError(f"{name} has over {MAX_PIXELS // 1_000_000} megapixels. Make it smaller.") from error
        raise PictureError(f"{name} is not a picture that can be read.") from error
    if image is None and is_cut(data):
        raise PictureError(f"{name} is cut: its end is missing. Copy it again, as a whole.")
    if image is None:
        raise PictureError(f"{name} is not a picture that can be read. JPEG, PNG and WebP are.")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:  # in case OpenCV was imported before its limit was set
        raise PictureError(f"{name} has over {MAX_PIXELS // 1_000_000} megapixels. Make it smaller.")
    if min(image.shape[:2]) < LEAST_SIDE_PX:
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise PictureError(f"{name} has {size} pixels: too few for a face. Use a larger one.")
    return np.asarray(image, np.uint8)


def count_scans(data: bytes) -> int:
    """How many scans a JPEG has, or a few more: in a scan's data the mark cannot occur (ITU-T T.81, B.1.1.5)."""
    return data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 0


def check_scans(data: bytes, name: str = "The picture") -> None:
    """Raise PictureError for a JPEG that would take long to decode; only its bytes are counted, nothing is decoded."""
    scans = count_scans(data)
    if scans > MOST_SCANS or scans > 1 and scans * jpeg_pixels(data) > MOST_SCANNED:
        raise PictureError(f"{name} has {scans} scans: too many for its size. Save it again, as a plain JPEG.")


def jpeg_pixels(data: bytes) -> int:
    """The most pixels that a frame header of this JPEG declares (ITU-T T.81, B.2.2); 0 if there is none."""
    sizes = (int.from_bytes(found[1]) * int.from_bytes(found[2]) for found in FRAME_HEADER.finditer(data))
    return max(sizes, default=0)


def is_cut(data: bytes) -> bool:
    """Whether a JPEG, PNG or WebP begins here and does not end."""
    if data.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" not in data[-64:]
    if data.startswith(b"\x89PNG\r\n"):
        return b"IEND" not in data[-64:]
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)


def scaled_down(image_bgr: Image, longer_side_px: int) -> Image:
    """The picture with a longer side of at most `longer_side_px`; itself if it is no larger."""
    height, width = image_bgr.shape[:2]
    factor = longer_side_px / max(height, width)
    if factor >= 1:
        return image_bgr
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(image_bgr: Image, quality: int = 85) -> bytes:
    """The picture as JPEG; `quality` from 1 to 100."""
    fine, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not fine:
        raise PictureError("The picture could not be written as JPEG.")
    return data.tobytes()


def write_picture(path: Path, image_bgr: Image) -> None:
    """Write a JPEG, creating its folder if that is missing; raises PictureError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(image_bgr))
    except OSError as error:
        raise PictureError(f"{path} cannot be written: {error.strerror}.") from error


def draw(image_bgr: Image, detections: Iterable[Detection]) -> Image:
    """A copy with boxes, labels and confidences drawn in."""
    picture = image_bgr.copy()
    for found in detections:
        draw_box(picture, found.box, found.label, f"{found.label} {found.confidence:.2f}")
    return picture


def draw_box(picture: Image, box: Box, label: str, text: str, below: str = "") -> None:
    """Draw one box into `picture`, with its mark and text above it, and a second text below."""
    height, width = picture.shape[:2]
    unit = max(1, round(max(height, width) / 960))
    x1, y1, x2, y2 = (round(v * s) for v, s in zip(box, (width, height, width, height), strict=True))
    cv2.rectangle(picture, (x1, y1), (x2, y2), COLOURS.get(label, COLOURS["unsure"]), 2 * unit)
    above = y1 - 16 * unit
    draw_caption(picture, f"{MARKS.get(label, '?')} {text}", label, (x1, above if above >= 0 else y2), unit)
    if below:
        draw_caption(picture, below, label, (x1, y2 if above >= 0 else y2 + 16 * unit), unit)


def draw_caption(picture: Image, text: str, label: str, corner: tuple[int, int], unit: int) -> None:
    """White text on the label's colour, `corner` being its upper left one."""
    font, (x, y) = cv2.FONT_HERSHEY_SIMPLEX, corner
    (text_w, text_h), base = cv2.getTextSize(text, font, 0.45 * unit, unit)
    bottom = y + text_h + base + 2 * unit
    cv2.rectangle(picture, (x, y), (x + text_w + 4 * unit, bottom), COLOURS.get(label, COLOURS["unsure"]), -1)
    cv2.putText(picture, text, (x + 2 * unit, y + text_h + unit), font, 0.45 * unit, (255, 255, 255), unit, cv2.LINE_AA)
