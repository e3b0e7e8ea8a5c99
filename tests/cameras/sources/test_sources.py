"""RTSP cameras: real servers that play, freeze, die and come back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cameras.errors import StreamError
from cameras.reach import login_guard
from cameras.reach.place import Place
from cameras.replay.rtsp_server import RecordedVideo
from cameras.sources import Opening, carrier, open_source
from cameras.states import CameraState
from cameras.watching import outages
from detection import Detector
from tests.cameras.footage import lobby
from tests.cameras.http_camera import HttpCamera, file_as, http_camera
from tests.cameras.rtsp_server import RtspCamera
from tests.cameras.sources.watched import PASSWORD, is_online, settings_for
from tests.cameras.watching.notes import Notes
from tests.portal_process import wait_for

DETECTOR = Detector.load()

pytestmark = pytest.mark.stream


@pytest.mark.parametrize(
    ("codec", "transport", "scheme"),
    [("h264", "tcp", "digest"), ("h264", "udp", "basic"), ("h265", "tcp", "basic"), ("h265", "udp", "digest")],
)
def test_rtsp_plays(clip: Path, clip_h265: Path, codec: str, transport: str, scheme: str) -> None:
    footage = clip if codec == "h264" else clip_h265
    with RtspCamera(footage, login=("admin", PASSWORD), scheme=scheme) as camera:
        stop = threading.Event()
        reached: list[str] = []
        opening = Opening(Place("rtsp", camera.address, "admin", PASSWORD, transport), stop, reached.append)
        source = open_source(opening)
        times = []
        for frame in source.frames(stop):
            times.append((frame.captured_at, time.time()))
            if len(times) == 40:
                break
        assert frame.image_bgr().shape == (360, 640, 3)
        source.close()
        assert reached == ["name", "connection", "login"] and camera.refused == 0
        assert camera.transports_used == [transport]
        wait_for(lambda: camera.requests[-1].startswith("TEARDOWN"), 3, "the goodbye")
        facts = source.facts
        assert facts.codec == {"h264": "h264", "h265": "hevc"}[codec]
        assert 9 < facts.packets_per_second < 11 and facts.key_frame_gap_s == pytest.approx(1, abs=0.3)
    late = [now - at for at, now in times[25:]]
    assert all(-0.001 <= seconds < 0.4 for seconds in late), "a frame's time is when it was taken"
    assert all(later >= earlier for (earlier, _), (later, _) in pairwise(times))


@pytest.mark.parametrize(("wanted", "used"), [("auto", ["udp"]), ("udp", ["udp"]), ("tcp", [])])
def test_a_camera_that_refuses_one_transport_is_asked_for_the_other(clip: Path, wanted: str, used: list[str]) -> None:
    """461 (RFC 2326, section 11.3.9): where the choice is ours, it is made again."""
    with RtspCamera(clip, transports=("udp",)) as camera:
        opening = Opening(Place("rtsp", camera.address, transport=wanted))
        if not used:
            with pytest.raises(StreamError, match="Automatic"):
                open_source(opening)
            return
        source = open_source(opening)
        assert next(source.frames(threading.Event())).image_bgr().shape == (360, 640, 3)
        source.close()
        assert camera.transports_used == used


def test_a_killed_camera_comes_back(clip: Path, watches: Callable[..., Notes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Comes up, plays, is killed, comes back: online again within 10 s of its first key frame."""
    monkeypatch.setattr(outages, "OPENS_AFTER_S", 2.0)
    monkeypatch.setattr(outages, "STEADY_S", 1.5)
    with RtspCamera(clip) as camera:
        notes = watches(settings_for(camera))
        wait_for(lambda: is_online(notes), 15, "the first picture")
        wait_for(lambda: notes.recoveries, 10, "the note that all is well")
        camera.kill()
        wait_for(lambda: notes.outages, 15, "the outage")
        wait_for(lambda: "nothing listens" in notes.states[-1][1], 10, "the plain reason")
        assert notes.states[-1][0] is CameraState.OFFLINE
        assert abs(notes.outages[0][0] - time.time()) < 20 and notes.outages[0][1]
        seen = len(notes.states)
        camera.revive()
        wait_for(lambda: is_online(notes, seen), 10, "the camera, online again")
        wait_for(lambda: len(notes.recoveries) == 2, 10, "the outage's end")
        assert len(notes.outages) == 1


def test_a_frozen_camera_is_found_out_by_the_age_of_its_last_packet(
    clip: Path, watches: Callable[..., Notes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "LEAST_LIMIT_S", 2.0)
    with RtspCamera(clip) as camera:
        notes = watches(settings_for(camera))
        wait_for(lambda: is_online(notes), 15, "the first picture")
        wait_for(lambda: len(notes.offers) > 10, 10, "some pictures")
        camera.frozen = True
        wait_for(lambda: notes.states[-1][0] is CameraState.OFFLINE, 6, "the fault")
        assert "no picture came" in notes.states[-1][1]
        camera.frozen, seen = False, len(notes.states)
        wait_for(lambda: is_online(notes, seen), 15, "the camera, online again")


def test_a_camera_that_changes_its_encoding_is_opened_again(
    clip: Path, clip_h265: Path, watches: Callable[..., Notes]
) -> None:
    """H.264 becomes H.265 in the middle of the stream, as when somebody changes it in the camera's settings."""
    with RtspCamera(clip) as camera:
        notes = watches(settings_for(camera))
        wait_for(lambda: is_online(notes), 15, "the first picture")
        seen, asked = len(notes.offers), len(camera.requests)
        camera.video = RecordedVideo(clip_h265)
        wait_for(lambda: any("DESCRIBE" in request for request in camera.requests[asked:]), 10, "the new opening")
        wait_for(lambda: len(notes.offers) > seen + 10, 10, "pictures of the new encoding")


@pytest.mark.parametrize(
    "kind",
    [{"rate": 1, "seconds": 12.0}, {"rate": 60, "seconds": 4.0}, {"rate": 10, "seconds": 12.0, "key_every_s": 10.0}],
    ids=["1 a second", "60 a second", "a key frame in ten seconds"],
)
def test_no_pace_of_a_camera_is_an_outage(kind: dict[str, Any], tmp_path: Path, watches: Callable[..., Notes]) -> None:
    """Nor is it called frozen while it waits for its key frame."""
    with RtspCamera(lobby(tmp_path / "odd.mp4", **kind)) as camera:
        notes = watches(settings_for(camera))
        wait_for(lambda: is_online(notes), 25, "the first picture")
        wait_for(lambda: len(notes.offers) > 8, 20, "more pictures")
        assert [state for state, _ in notes.states] == [CameraState.CONNECTING, CameraState.ONLINE]
        assert notes.outages == []


def test_the_watchdog_gives_a_slow_camera_three_gaps() -> None:
    watchdog = carrier.Watchdog()
    watchdog.expect(0.1)
    assert watchdog.limit_s == 10
    watchdog.expect(5.0)
    assert watchdog.limit_s == 15


def test_a_wrong_password_is_tried_once(clip: Path, watches: Callable[..., Notes]) -> None:
    with RtspCamera(clip, login=("admin", PASSWORD)) as camera:
        notes = watches(settings_for(camera, "admin", "wrong"))
        wait_for(lambda: notes.refusals, 10, "the refusal")
        state, detail = notes.states[-1]
        assert state is CameraState.OFFLINE and "does not accept" in detail and "10 minutes" in detail
        asked = len(camera.requests)
        with pytest.raises(AssertionError):
            wait_for(lambda: len(camera.requests) > asked, 7, "a second try")  # longer than any backoff
        assert camera.refused == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"status": 404}, "no stream under this path"),
        ({"status": 403}, "does not let them watch"),
        ({"status": 453}, "no room for another"),
        ({"status": 500}, "error 500"),
        ({"login": ("admin", "x")}, "asks for a user"),
    ],
)
def test_each_answer_of_a_camera_has_its_plain_words(clip: Path, fault: dict[str, Any], says: str) -> None:
    with RtspCamera(clip, **fault) as camera, pytest.raises(StreamError, match=says):
        open_source(Opening(Place("rtsp", camera.address)))


def test_who_hangs_up_without_a_word_is_said_so() -> None:
    """As a camera does that has no room for another viewer, and a port at which something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    client, _peer = server.accept()
                except OSError:
                    return
                client.recv(100)
                client.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(StreamError, match="ended the connection without an answer"):
            open_source(Opening(Place("rtsp", f"rtsp://127.0.0.1:{server.getsockname()[1]}/live")))
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_a_camera_that_changes_its_nonce_in_the_middle_is_answered_again(clip: Path) -> None:
    with RtspCamera(clip, login=("admin", PASSWORD), changes_nonce=True) as camera:
        stop = threading.Event()
        source = open_source(Opening(Place("rtsp", camera.address, "admin", PASSWORD), stop))
        assert next(source.frames(stop)).image_bgr().shape == (360, 640, 3)
        source.close()
        assert camera.refused == 1, "the old nonce, once"


def test_what_is_no_rtsp_server_says_so(clip: Path) -> None:
    with http_camera(HttpCamera(file_as(b"x", "text/html"))) as camera:
        address = camera.address.replace("http://", "rtsp://")
        with pytest.raises(StreamError, match="is not RTSP"):
            open_source(Opening(Place("rtsp", address)))


def test_opening_ends_when_it_is_asked_to(clip: Path) -> None:
    """A camera that accepts the connection and says nothing does not hold up a worker."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stop = threading.Event()
        opening = Opening(Place("rtsp", f"rtsp://127.0.0.1:{silent.getsockname()[1]}/"), stop)
        threading.Timer(0.5, stop.set).start()
        began = time.monotonic()
        with pytest.raises(StreamError):
            open_source(opening)
        assert time.monotonic() - began < 3


def test_states_are_told_in_words_without_the_password(
    clip: Path, watches: Callable[..., Notes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with RtspCamera(clip, login=("admin", "right")) as camera:
        notes = watches(settings_for(camera, "admin", PASSWORD))
        wait_for(lambda: notes.refusals, 10, "the refusal")
    assert PASSWORD not in caplog.text + repr(notes.states)
    assert login_guard.REFUSED_S == 600
