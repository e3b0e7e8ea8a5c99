"""From FFmpeg's frames to pictures: whole and upright, or a few samples of their light."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter

from detection import Image
from detection.motion import Samples, step_of

if TYPE_CHECKING:
    from typing_extensions import Buffer


def _kind_without_name(cls: type[SideDataType], value: object) -> SideDataType:
    """PyAV 18 knows fewer kinds of side data than its FFmpeg, and refuses all of a frame's for one (EXIF: 31)."""
    kind = object.__new__(cls)
    kind._name_, kind._value_ = f"KIND_{value}", value  # type: ignore[assignment]
    return kind


SideDataType._missing_ = classmethod(_kind_without_name)  # type: ignore[assignment]


class Pictures:
    """Makes the pictures of one stream. Not thread-safe.

    FFmpeg's converter is kept from one picture to the next: to set it up takes as long as to convert one.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def upright(self, frame: av.VideoFrame) -> Image:
        """The picture as it is meant to be seen: phones store it turned or mirrored, with a display matrix beside it.

        The matrix (a, b, u, c, d, v, x, y, w), as FFmpeg's libavutil/display.h has it, moves a point of the stored
        picture to (a·x + c·y, b·x + d·y); an EXIF orientation arrives as one, too.
        """
        # Not frame.side_data: the frame would hold its container and be held by it, and stay until the next full
        # collection of garbage, hours later.
        side_data = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
        converted = self._reformatter.reformat(frame, format="bgr24", threads=1)
        image = np.asarray(converted.to_ndarray(), np.uint8)
        if side_data is None:
            return image
        a, b, _, c, d, *_ = np.frombuffer(bytes(cast("Buffer", side_data)), np.int32)[:9].tolist()
        if abs(a) + abs(d) < abs(b) + abs(c):
            image, a, d = image.transpose(1, 0, 2), c, b
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return np.ascontiguousarray(image)


def luma_samples(frame: av.VideoFrame) -> Samples | None:
    """Some of a frame's luma, as it is stored; None if its format has no plane of bytes for that."""
    if not frame.format.name.startswith(("yuv", "nv", "gray")) or frame.format.components[0].bits != 8:
        return None
    if frame.format.is_planar is False and not frame.format.name.startswith("gray"):
        return None
    plane, step = frame.planes[0], step_of(frame.height, frame.width)
    rows = np.frombuffer(memoryview(cast("Buffer", plane)), np.uint8).reshape(-1, plane.line_size)
    return np.ascontiguousarray(rows[: frame.height : step, : frame.width : step])
