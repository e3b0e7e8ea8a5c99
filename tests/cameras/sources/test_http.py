"""Web cameras: MJPEG, MPEG-TS and MP4 from real web servers, and all that one may answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cameras.errors import StreamError
from cameras.reach.place import Place
from cameras.sources import Opening, open_source
from cameras.states import CameraState
from detection import Analyzer, Detector
from tests.cameras.footage import joined, lobby
from tests.cameras.http_camera import HttpCamera, endless_headers, file_as, http_camera, jpegs_of, mjpeg, mpegts_of
from tests.cameras.sources.watched import PASSWORD, is_online, settings_for
from tests.cameras.watching.notes import Notes
from tests.portal_process import wait_for

DETECTOR = Detector.load()

pytestmark = pytest.mark.stream


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
