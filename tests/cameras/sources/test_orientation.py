"""A picture that is stored turned or mirrored is seen as it is meant to be, in all eight ways."""

from __future__ import annotations

import gc
import io
import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cameras.sources.clip import Clip
from cameras.sources.pictures import Pictures
from detection import Image
from detection.pictures import decode_picture
from tests.conftest import DEMO_CLIPS

# How a point (x, y) of the stored picture is moved, as (a, b, c, d): to (a·x + c·y, b·x + d·y).
WAYS = [
    (1, 0, 0, 1),
    (-1, 0, 0, 1),
    (-1, 0, 0, -1),
    (1, 0, 0, -1),
    (0, 1, 1, 0),
    (0, 1, -1, 0),
    (0, -1, -1, 0),
    (0, -1, 1, 0),
]  # in the order of EXIF's orientations 1 to 8


@pytest.fixture(scope="module")
def seen() -> Image:
    """64 x 48, another colour in each corner."""
    corners = np.array([[[250, 30, 30], [30, 250, 30]], [[30, 30, 250], [250, 250, 250]]], np.uint8)
    return np.asarray(cv2.resize(corners, (64, 48), interpolation=cv2.INTER_LINEAR), np.uint8)


def stored(seen: Image, way: tuple[int, int, int, int]) -> Image:
    """The picture that becomes `seen` when its points are moved that way: point by point, as the definition says."""
    a, b, c, d = way
    height, width = seen.shape[:2]
    y, x = np.mgrid[0:height, 0:width] if a or d else np.mgrid[0:width, 0:height]
    to_x, to_y = a * x + c * y, b * x + d * y
    return np.ascontiguousarray(seen[to_y - to_y.min(), to_x - to_x.min()])


def clip_of(image: Image, way: tuple[int, int, int, int], path: Path) -> Path:
    """A clip of this picture whose track header (ISO/IEC 14496-12, 8.3.2) has this matrix."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv444p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in way)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 4 + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def jpeg_of(image: Image, orientation: int) -> bytes:
    data = bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1])
    tags = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 0x0112, 3, 1, orientation, 0, 0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(tags) + 2) + tags + data[2:]


def assert_same(one: Image, other: Image) -> None:
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other.astype(int)).mean() < 8


@pytest.mark.parametrize("way", WAYS)
def test_each_display_matrix_of_a_clip_gives_the_same_picture(
    seen: Image, way: tuple[int, int, int, int], tmp_path: Path
) -> None:
    clip = Clip(clip_of(stored(seen, way), way, tmp_path / "clip.mp4"))
    frames = [Pictures().upright(frame) for _, frame in clip.decode()]
    clip.close()
    assert len(frames) == 3
    for frame in frames:
        assert_same(frame, seen)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_gives_the_same_picture(seen: Image, orientation: int) -> None:
    """As a device sends it, and as a web camera streams it."""
    data = jpeg_of(stored(seen, WAYS[orientation - 1]), orientation)
    assert_same(decode_picture(data), seen)
    with av.open(io.BytesIO(data), "r", format="mjpeg") as container:
        assert_same(Pictures().upright(next(container.decode(video=0))), seen)


def test_a_frame_goes_as_soon_as_nobody_needs_it() -> None:
    """Not at the next full collection of garbage: by then, hundreds of megabytes may wait."""
    pictures = Pictures()

    def frames() -> int:
        return sum(type(each) is av.VideoFrame for each in gc.get_objects())

    gc.collect()
    before = frames()
    gc.disable()
    try:
        with av.open(str(DEMO_CLIPS / "harbour-house.mp4")) as container:
            for _number, frame in zip(range(5), container.decode(video=0), strict=False):
                assert pictures.upright(frame).size
                del frame
        assert frames() == before
    finally:
        gc.enable()
