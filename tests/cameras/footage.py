"""The demo's lobby, re-encoded as cameras encode it: with a key frame now and then, in H.264 or H.265."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cameras.replay.clip_writer import ClipWriter
from detection import encode_jpeg
from tests.conftest import DEMO_CLIPS


def lobby(
    path: Path,
    codec: str = "libx264",
    rate: int = 10,
    seconds: float = 6.0,
    key_every_s: float = 1.0,
    start_s: float = 8.0,
    width: int = 640,
    black: bool = False,
) -> Path:
    """Write `seconds` of the lobby of Maple Tower (somebody without a mask walks in at 8 s); returns the path."""
    with av.open(str(DEMO_CLIPS / "maple-tower.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=Fraction(rate))
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuv420p"
        stream.width, stream.height = width, width * 9 // 16 // 2 * 2
        gop = str(max(1, round(key_every_s * rate)))
        keys = f"keyint={gop}:min-keyint={gop}:scenecut=0"
        options: dict[str, object] = {"preset": "ultrafast", "tune": "zerolatency", "g": gop, "crf": "24"}
        if codec == "libx265":
            options["x265-params"] = f"{keys}:log-level=error"
        else:
            options["x264-params"] = f"{keys}:repeat-headers=1"
        stream.options = options
        wanted = 0
        for frame in source.decode(video=0):
            at = float(frame.time or 0) - start_s
            if at < wanted / rate:
                continue
            picture = frame.reformat(stream.width, stream.height, "yuv420p")
            if black:
                picture = av.VideoFrame.from_ndarray(picture.to_ndarray(format="bgr24") * 0, format="bgr24").reformat(
                    format="yuv420p"
                )
            picture.pts, picture.time_base = wanted, Fraction(1, rate)
            target.mux(stream.encode(picture))
            wanted += 1
            if wanted >= seconds * rate:
                break
        target.mux(stream.encode())
    return path


def door_frames(rate: int = 5, start_s: float = 8.0, width: int = 640) -> Iterator[bytes]:
    """The same lobby as JPEG frames, as a phone sends them."""
    with av.open(str(DEMO_CLIPS / "maple-tower.mp4")) as source:
        wanted = 0
        for frame in source.decode(video=0):
            if float(frame.time or 0) - start_s >= wanted / rate:
                wanted += 1
                yield encode_jpeg(np.asarray(frame.reformat(width, width * 9 // 16, "bgr24").to_ndarray(), np.uint8))


def fake_camera(path: Path, start_s: float = 7.0, seconds: float = 14.0) -> Path:
    """The same lobby as Chromium's fake camera plays it in a loop: JPEGs, 30 a second; returns the path."""
    frames = list(door_frames(15, start_s, 640))[: round(seconds * 15)]
    path.write_bytes(b"".join(frame * 2 for frame in frames))
    return path


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """Clips of different sizes one after another in one MPEG-TS, as from a camera that changes its resolution."""
    with av.open(str(path), "w", format="mpegts") as target:
        copy, offset = None, 0.0
        for part in parts:
            with av.open(str(part)) as source:
                stream = source.streams.video[0]
                copy = copy or target.add_stream_from_template(stream)
                end = 0.0
                for packet in source.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = copy
                    target.mux(packet)
                offset += end
    return path


def to_and_fro(first: int, last: int, count: int) -> list[int]:
    """Numbers of pictures played forwards and backwards: whoever is in them stands and waits."""
    once = [*range(first, last), *range(last - 1, first - 1, -1)]
    return [once[step % len(once)] for step in range(count)]


def waiting(path: Path, clip: Path, seconds: int = 60, rate: int = 5, width: int = 320) -> Path:
    """Somebody who stays in view, without a jump where the clip begins anew: a clip played to and fro."""
    with av.open(str(clip)) as source:
        step = round(float(source.streams.video[0].average_rate or 25) / rate)
        frames = list(source.decode(video=0))[::step]
    height = width * frames[0].height // frames[0].width // 2 * 2
    small = [np.asarray(frame.reformat(width, height, "bgr24").to_ndarray(), np.uint8) for frame in frames]
    whole = seconds * rate // (2 * len(small) - 1) * (2 * len(small) - 1)
    with ClipWriter(path, rate) as written:
        for number in to_and_fro(0, len(small), whole):
            written.add(small[number])
    return path


def masking_camera(path: Path, clip: Path) -> Path:
    """A man, bare for five seconds, puts a mask on and keeps it on for nine, as Chromium's fake camera plays it.

    Args:
        clip: man-puts-mask-on.mp4; its first and last moments are played back and forth, as if he stood and waited.
    """
    with av.open(str(clip)) as source:
        frames = list(source.decode(video=0))
    upright = [np.rot90(frame.to_ndarray(format="bgr24"), frame.rotation // 90 % 4)[300:705] for frame in frames]
    small = [
        av.VideoFrame.from_ndarray(np.ascontiguousarray(picture, np.uint8), format="bgr24").reformat(640, 360)
        for picture in upright
    ]
    coded = [encode_jpeg(np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)) for picture in small]

    order = [*to_and_fro(0, 18, 150), *range(18, 165), *to_and_fro(125, 165, 150)]
    path.write_bytes(b"".join(coded[number] for number in order))
    return path


SCREEN = (1060, 12, 160)  # left, top and side of the advertising screen, in pixels of the demo's 1280 x 720


def advertising(path: Path, rate: int = 15) -> Path:
    """Harbour House's lobby for eleven seconds: a bare person walks past for five, then a bare face shows on a screen.

    The face moves inside of the screen, as the one in an advertisement does.
    """
    with av.open(str(DEMO_CLIPS / "harbour-house.mp4")) as source:
        frames = [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in source.decode(video=0)]
    left, top, side = SCREEN
    with ClipWriter(path, rate) as clip:
        for number in range(11 * rate):
            at = number / rate
            walker = frames[round((2 + at) * rate)] if at < 5 else frames[0]
            picture = walker.copy()
            picture[top : top + side, left : left + side] = 40
            if 6 <= at < 10:
                shown = 2.5 + at - 6  # of the walk, their face in the middle
                x = round((0.035 + 0.1885 * (shown - 2) + 0.004 * np.sin(6 * at)) * 1280) - side // 2
                y = round((0.375 + 0.004 * np.cos(5 * at)) * 720) - side // 2
                inside = frames[round(shown * rate)][y : y + side, x : x + side]
                picture[top : top + side, left : left + side] = inside
            clip.add(picture)
    return path
