"""Pictures in, an H.264 clip out: for replay's drawings and for the demo's clips.

Encoding needs libx264, which PyAV's wheel includes; watching a camera never needs it.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.error import FFmpegError
from django.utils.translation import gettext as _

from cameras.errors import StreamError
from detection import Image


class ClipWriter:
    """Writes one .mp4; the first picture sets its size (an odd last row or column is cut off)."""

    def __init__(self, path: Path, rate: float, *, crf: int = 23, preset: str = "veryfast") -> None:
        """`rate` is in pictures a second; `crf` is x264's, 18 to 35: less is a better picture and a larger file.

        Raises StreamError if the file cannot be created.
        """
        try:
            path.open("wb").close()  # PyAV would report it only at the first picture, or the last
            self._container = av.open(str(path), "w", options={"movflags": "faststart"})
        except (FFmpegError, OSError, ValueError) as error:
            raise StreamError(
                _("%(path)s cannot be written. Name a .mp4 in a folder that exists.") % {"path": path}
            ) from error
        self._stream = self._container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(crf), "preset": preset}

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, image_bgr: Image) -> None:
        height, width = (side - side % 2 for side in image_bgr.shape[:2])
        if not self._stream.codec_context.is_open:
            self._stream.width, self._stream.height = width, height
        frame = av.VideoFrame.from_ndarray(image_bgr[:height, :width].copy(), format="bgr24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._stream.codec_context.is_open:
            self._container.mux(self._stream.encode())
        self._container.close()
