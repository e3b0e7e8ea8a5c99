"""While nobody is in view and nothing moves, one analysis a second is enough; nobody who comes is missed."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cameras.reach.place import Place
from cameras.replay.stream_load import encode_as_camera, write_clips
from cameras.settings import CameraSettings
from cameras.sources import Frame, Opening, open_source
from cameras.sources.pictures import luma_samples
from cameras.sources.stream import Stream
from cameras.watching.counts import WatchCounts
from cameras.watching.rest import AWAKE_S, Rest
from detection import ViolationFinding
from detection.motion import Motion, Samples
from tests.cameras.footage import lobby
from tests.cameras.rtsp_server import RtspCamera
from tests.conftest import DEMO_CLIPS
from tests.portal_process import wait_for


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.CAMERA_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture(scope="module")
def still_then_somebody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine seconds of an empty lobby with noise, then somebody walks in; a key frame each second."""
    folder = tmp_path_factory.mktemp("still")
    people, nobody = folder / "people.mp4", folder / "nobody.mp4"
    write_clips(DEMO_CLIPS / "harbour-house.mp4", (640, 360), people, nobody)
    pictures = []
    for path in (nobody, people):
        with av.open(str(path)) as clip:
            pictures += [frame.to_ndarray(format="bgr24") for frame in clip.decode(video=0)]
    encode_as_camera(folder / "both.mp4", pictures, (640, 360))
    return folder / "both.mp4"


def frame_of(samples: Samples, at: float) -> Frame:
    return Frame(at, lambda: np.zeros((2, 2, 3), np.uint8), luma=lambda: samples)


class TestRest:
    still = np.full((45, 80), 90, np.uint8)

    def analysed(self, rest: Rest, samples: list[Samples], start: float, is_busy: bool = False) -> int:
        """Of frames that come five times a second."""
        return sum(
            rest.needs(frame_of(each, start + number / 5), start + number / 5, is_busy)
            for number, each in enumerate(samples)
        )

    def test_a_still_scene_is_looked_at_once_a_second(self) -> None:
        rest = Rest()
        self.analysed(rest, [self.still] * 20, 0)  # it was just begun
        assert 10 <= self.analysed(rest, [self.still] * 50, 4) <= 11
        assert rest.is_resting(14)

    def test_what_moves_is_looked_at_at_full_pace_and_for_a_while_after(self) -> None:
        rest = Rest()
        self.analysed(rest, [self.still] * 30, 0)
        moved = self.still.copy()
        moved[10:24, 30:40] = 200
        assert self.analysed(rest, [moved, *[moved] * 14], 6) == 15
        assert not rest.is_resting(6 + AWAKE_S - 0.1) and rest.is_resting(6 + AWAKE_S + 0.1)

    def test_somebody_who_stands_still_holds_the_pace_up(self) -> None:
        rest = Rest()
        assert self.analysed(rest, [self.still] * 100, 0, is_busy=True) == 100

    def test_noise_is_no_movement_and_a_light_is(self) -> None:
        rng, motion = np.random.default_rng(3), Motion()
        seen = [
            motion.is_seen(np.clip(self.still + rng.normal(0, 4, self.still.shape), 0, 255).astype(np.uint8))
            for _ in range(50)
        ]
        assert seen == [True] + [False] * 49, "the first has nothing to be compared with"
        assert motion.is_seen(np.full((45, 80), 140, np.uint8))


def test_samples_are_those_of_the_picture_in_each_format() -> None:
    grey = np.random.default_rng(4).integers(0, 255, (360, 640), np.uint8)
    for name in ("yuv420p", "yuvj422p", "nv12", "gray"):
        frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format=name)
        samples = luma_samples(frame)
        assert samples is not None and samples.shape == (45, 80), name
        if name == "gray":
            assert (samples == grey[::8, ::8]).all()
    for name in ("rgb24", "yuyv422", "yuv420p10le"):
        assert luma_samples(av.VideoFrame.from_ndarray(grey, format="gray").reformat(format=name)) is None, name


def counted(stream: Any, decoded: list[int]) -> None:
    """Note how often the stream decodes a packet."""
    decode = stream._decode

    def count(packet: Any) -> Any:
        decoded.append(1)
        return decode(packet)

    stream._decode = count


@pytest.mark.stream
def test_a_stream_at_rest_decodes_key_frames_alone_and_nothing_is_missing_when_somebody_comes(
    still_then_somebody: Path,
) -> None:
    with RtspCamera(still_then_somebody) as camera, closing(open_source(opening_of(camera))) as source:
        assert isinstance(source, Stream)
        decoded: list[int] = []
        counted(source, decoded)
        source.may_rest = True
        taken: list[float] = []
        for frame in source.frames(threading.Event()):
            taken.append(frame.captured_at)
            if taken[-1] - taken[0] > 19:  # a whole round of the clip
                break
        packets = source.facts.packets
    gaps = np.diff(taken)
    at_rest = gaps[gaps > 0.5]
    assert 5 <= len(at_rest) <= 9 and at_rest == pytest.approx(1.0, abs=0.1), "key frames of a still scene"
    assert gaps.min() > 0 and gaps[gaps < 0.5].max() < 0.2, "each other picture is there, in order"
    assert len(decoded) < packets - 14 * 5, "what came between them at rest was not decoded"


def opening_of(camera: RtspCamera) -> Opening:
    return Opening(Place("rtsp", camera.address, transport="tcp"))


@pytest.mark.stream
def test_a_stream_whose_key_frames_are_rare_is_decoded_as_a_whole(tmp_path: Path) -> None:
    clip = lobby(tmp_path / "rare.mp4", key_every_s=2.0, seconds=8.0)
    with RtspCamera(clip) as camera, closing(open_source(opening_of(camera))) as source:
        source.may_rest = True
        taken = [frame.captured_at for frame, _ in zip(source.frames(threading.Event()), range(60), strict=False)]
    assert max(np.diff(taken)) < 0.5


@pytest.mark.stream
def test_a_camera_at_rest_alerts_within_a_second_and_a_half_of_a_clear_view(
    still_then_somebody: Path, watches: Any
) -> None:
    with RtspCamera(still_then_somebody) as camera:
        counts = WatchCounts()
        notes = watches(CameraSettings(1, "Lobby", Place("rtsp", camera.address, transport="tcp")), counts)
        wait_for(lambda: counts.so_far(1, "skipped") > 10, 30, "rest")

        def opened() -> list[ViolationFinding]:
            return [one for one in notes.findings if isinstance(one, ViolationFinding) and one.seq == 1]

        before = len(opened())
        wait_for(lambda: len(opened()) > before, 30, "a violation")
        first = opened()[before]
        assert time.time() - first.started_at < 1.5 + 0.5, "half a second is this test's own"
        assert first.opened_at - first.started_at < 1.5
