"""Packets that never arrive, over a real connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cameras.reach.place import Place
from cameras.sources import Opening, open_source
from cameras.states import CameraState
from tests.cameras.rtsp_server import RtspCamera
from tests.cameras.sources.watched import settings_for
from tests.cameras.watching.notes import Notes
from tests.portal_process import wait_for

pytestmark = pytest.mark.stream


@pytest.mark.parametrize(("loss", "least"), [(0.02, 20), (0.10, 15)])
def test_of_lost_packets_only_what_is_broken_is_missing(
    clip: Path, watches: Callable[..., Notes], loss: float, least: int
) -> None:
    """A hole is given up after 0.3 s, so pictures go on: 25 analyses in five seconds where nothing is lost."""
    with RtspCamera(clip, loss=loss) as camera:
        notes = watches(settings_for(camera, transport="udp"))
        wait_for(lambda: len(notes.offers) >= 5, 15, "the first pictures")
        began, before = time.monotonic(), len(notes.offers)
        wait_for(lambda: time.monotonic() - began > 10, 11, "ten seconds")
        assert len(notes.offers) - before >= 2 * least
        assert all(state is not CameraState.OFFLINE for state, _ in notes.states)


def test_a_picture_with_a_hole_in_it_is_broken_and_the_next_key_frame_is_whole(clip: Path) -> None:
    with RtspCamera(clip, loss=0.01) as camera:
        stop = threading.Event()
        source = open_source(Opening(Place("rtsp", camera.address, transport="udp"), stop))
        frames = [frame for frame, _ in zip(source.frames(stop), range(150), strict=False)]
        source.close()
    broken = sum(frame.is_broken for frame in frames)
    assert 10 < broken < 140, f"{broken} of 150 pictures, with a key frame every second"
