"""Cameras over the network: real RTSP and web servers that play, freeze, die and come back."""

from __future__ import annotations

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
from cameras.settings import CameraSettings
from cameras.sources import Opening, carrier, open_source
from cameras.states import CameraState
from cameras.watching import outages
from cameras.watching.outages import OutageClock
from detection import Analyzer, Detector
from tests.cameras.footage import joined, lobby
from tests.cameras.http_camera import HttpCamera, endless_headers, file_as, http_camera, jpegs_of, mjpeg, mpegts_of
from tests.cameras.rtsp_server import RecordedVideo, RtspCamera
from tests.cameras.watching.notes import Notes
from tests.portal_process import wait_for

DETECTOR = Detector.load()
PASSWORD = "p@ss/w%rd:#ü"


pytestmark = pytest.mark.stream


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.CAMERA_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lobby(tmp_path_factory.mktemp("footage") / "lobby.mp4")


@pytest.fixture(scope="module")
def clip_h265(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lobby(tmp_path_factory.mktemp("footage") / "lobby.mp4", "libx265")


def settings_for(camera: RtspCamera | HttpCamera, user: str = "", password: str = "", **more: str) -> CameraSettings:
    kind = camera.address.partition(":")[0]
    return CameraSettings(1, "Door", Place(kind, camera.address, user, password, **more))


def is_online(notes: Notes, after: int = 0) -> bool:
    return any(state is CameraState.ONLINE for state, _ in notes.states[after:])


# -- RTSP -----------------------------------------------------------------------------------------------------------


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


def test_one_picture_a_second_is_no_frozen_camera(tmp_path: Path, watches: Callable[..., Notes]) -> None:
    with RtspCamera(lobby(tmp_path / "slow.mp4", rate=1, seconds=12)) as camera:
        notes = watches(settings_for(camera))
        wait_for(lambda: is_online(notes), 25, "the first picture")
        wait_for(lambda: len(notes.offers) > 8, 20, "more pictures")
        assert [state for state, _ in notes.states] == [CameraState.CONNECTING, CameraState.ONLINE]


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
        ({"status": 403}, "does not let it watch"),
        ({"status": 453}, "no room for another"),
        ({"status": 500}, "error 500"),
        ({"login": ("admin", "x")}, "asks for a user"),
    ],
)
def test_each_answer_of_a_camera_has_its_plain_words(clip: Path, fault: dict[str, Any], says: str) -> None:
    with RtspCamera(clip, **fault) as camera, pytest.raises(StreamError, match=says):
        open_source(Opening(Place("rtsp", camera.address)))


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
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        stop = threading.Event()
        opening = Opening(Place("rtsp", f"rtsp://127.0.0.1:{silent.getsockname()[1]}/"), stop)
        threading.Timer(0.5, stop.set).start()
        began = time.monotonic()
        with pytest.raises(StreamError):
            open_source(opening)
        assert time.monotonic() - began < 3


# -- HTTP -----------------------------------------------------------------------------------------------------------


def test_mjpeg_plays_is_killed_and_comes_back(clip: Path, watches: Callable[..., Notes]) -> None:
    camera = HttpCamera(mjpeg(jpegs_of(clip), 5), login=("admin", PASSWORD))
    with http_camera(camera):
        notes = watches(settings_for(camera, "admin", PASSWORD))
        wait_for(lambda: is_online(notes), 10, "the first picture")
        wait_for(lambda: notes.findings, 15, "somebody in the picture")
        assert abs(notes.offers[-1].captured_at - time.time()) < 1.5
    wait_for(lambda: notes.states[-1][0] is CameraState.OFFLINE, 10, "the fault")
    seen = len(notes.states)
    with http_camera(camera):
        wait_for(lambda: is_online(notes, seen), 10, "the camera, online again")


@pytest.mark.parametrize(
    ("head", "before", "after"),
    [
        ("HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b", "Content-Length: {}", "--b"),
        ("HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace", "--other\r\nContent-Length: {less}", ""),
        ("HTTP/1.0 200 OK\r\nContent-Type: multipart/mixed;boundary=b", "b\r\nContent-Type: image/jpg", ""),
        ("HTTP/1.0 200 OK\r\nContent-Type: image/jpeg", None, None),
        ("ICY 200 OK\r\nno name\r\nContent-Type : video/x-motion-jpeg\r\nContent-Length: -1", "--b", "\r\n"),
        ("HTTP/1.1 200 OK\nContent-Length: 9\nContent-Length: 8", "--b\r\nContent-Type: a/b", ""),
    ],
)
def test_mjpeg_plays_whatever_is_around_its_pictures(
    clip: Path, head: str, before: str | None, after: str | None
) -> None:
    def answer(handler: Any, camera: HttpCamera) -> None:
        handler.wfile.write(f"{head}\r\n\r\n".encode())
        for picture in jpegs_of(clip):
            part = "" if before is None else f"{before}\r\n\r\n".format(len(picture), less=len(picture) - 2)
            handler.wfile.write(part.encode() + picture + f"\r\n{after}\r\n".encode() * (after is not None))
            if camera.ending.wait(0.1):
                return

    with http_camera(HttpCamera(answer)) as camera:
        source = open_source(Opening(Place("http", camera.address)))
        frames = [frame for frame, _ in zip(source.frames(threading.Event()), range(10), strict=False)]
        assert len(frames) == 10 and frames[0].image_bgr().shape == (360, 640, 3)
        assert 0.6 < frames[-1].captured_at - frames[0].captured_at < 2, "each picture comes at once"
        source.close()


def test_mpeg_ts_and_fragments_play_and_their_end_is_a_fault(clip: Path, tmp_path: Path) -> None:
    for told in ("video/mp2t", ""):
        with http_camera(HttpCamera(file_as(mpegts_of(clip), told))) as camera:
            source, stop, count = open_source(Opening(Place("http", camera.address))), threading.Event(), 0
            with pytest.raises(StreamError, match="ended the stream"):
                for _frame in source.frames(stop):
                    count += 1
            source.close()
            assert count == 60


def test_a_camera_that_changes_its_resolution_is_watched_on(clip: Path, tmp_path: Path) -> None:
    small = lobby(tmp_path / "small.mp4", width=320, seconds=3)
    stream = joined(tmp_path / "both.ts", [clip, small]).read_bytes()
    with http_camera(HttpCamera(file_as(stream, "video/mp2t"))) as camera:
        stop, analyzer = threading.Event(), Analyzer(DETECTOR)
        source = open_source(Opening(Place("http", camera.address)))
        shapes = set()
        with pytest.raises(StreamError, match="ended"):
            for frame in source.frames(stop):
                image = frame.image_bgr()
                shapes.add(image.shape)
                analyzer.analyse(image, frame.captured_at)
        source.close()
    assert shapes == {(360, 640, 3), (180, 320, 3)}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (endless_headers(0.0), "is not valid HTTP"),
        (file_as(b"<html>hello</html>", "text/html"), "web page"),
        (file_as(b"\xff\xd8\xff\xe0", "image/jpeg"), "only a single picture"),
        (file_as(b"nothing known", "application/octet-stream"), "supported video format"),
        (file_as(b"", ""), "supported video format"),
        (file_as(b"G" + b"x" * 4000, "video/mp2t"), "not send a video that can be read"),
    ],
)
def test_each_answer_of_a_web_camera_has_its_plain_words(answer: Any, says: str) -> None:
    with http_camera(HttpCamera(answer)) as camera, pytest.raises(StreamError, match=says):
        open_source(Opening(Place("http", camera.address)))


def test_headers_that_drip_for_ever_end_at_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    from cameras.sources import http

    monkeypatch.setattr(http, "HEADERS_S", 1.5)
    with http_camera(HttpCamera(endless_headers(0.2))) as camera:
        began = time.monotonic()
        with pytest.raises(StreamError, match="does not answer"):
            open_source(Opening(Place("http", camera.address)))
        assert time.monotonic() - began < 4


# -- lost packets -----------------------------------------------------------------------------------------------------


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


# -- outages -----------------------------------------------------------------------------------------------------------


def test_an_outage_opens_late_and_closes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "time", lambda: 1000 + clock[0])
    opened: list[tuple[float, str]] = []
    recovered: list[float] = []
    one = OutageClock(lambda at, reason: opened.append((at, reason)), recovered.append)

    def play(until: float) -> None:
        while clock[0] < until:
            clock[0] += 0.2
            one.picture()

    def fail(until: float, reason: str) -> None:
        one.fault(reason)
        while clock[0] < until:
            clock[0] += 1
            one.tick()

    play(11)
    assert recovered == [pytest.approx(1000.2)] and not opened
    fail(20, "hiccup")
    play(23)
    fail(24, "again")
    assert not opened, "the dark began again only if nobody was told that all is well"
    fail(40, "gone")
    assert len(opened) == 1 and opened[0][0] == pytest.approx(1011, abs=1.5)
    play(45)
    fail(46, "flap")
    play(60)
    assert len(opened) == 1 and len(recovered) == 2 and recovered[1] == pytest.approx(1046.2, abs=0.5)


def test_a_camera_that_only_falls_silent_has_an_outage_since_its_last_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing breaks, no fault is reported: it freezes for thirty seconds, and goes on."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "time", lambda: 1000 + clock[0])
    opened: list[tuple[float, str]] = []
    recovered: list[float] = []
    one = OutageClock(lambda at, reason: opened.append((at, reason)), recovered.append)

    def go(until: float, plays: bool) -> None:
        while clock[0] < until:
            clock[0] += 0.5
            if plays:
                one.picture()
            one.tick()

    go(20, plays=True)
    go(30, plays=False)
    assert not opened and one.silent_s == 10
    go(50, plays=False)
    ((began_at, reason),) = opened
    assert began_at == pytest.approx(1020) and reason == "No picture came."
    go(70, plays=True)
    assert recovered[-1] == pytest.approx(1050.5) and len(opened) == 1


@pytest.mark.parametrize("gap", [0.2, 4.0, 12.0])
def test_rare_pictures_are_no_outage(monkeypatch: pytest.MonkeyPatch, gap: float) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    opened: list[float] = []
    one = OutageClock(lambda at, reason: opened.append(at), lambda at: None)
    for step in range(600):
        clock[0] += 0.2
        if step % round(gap / 0.2) == 0:
            one.picture()
        one.tick()
    assert not opened


def test_states_are_told_in_words_without_the_password(
    clip: Path, watches: Callable[..., Notes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with RtspCamera(clip, login=("admin", "right")) as camera:
        notes = watches(settings_for(camera, "admin", PASSWORD))
        wait_for(lambda: notes.refusals, 10, "the refusal")
    assert PASSWORD not in caplog.text + repr(notes.states)
    assert login_guard.REFUSED_S == 600
