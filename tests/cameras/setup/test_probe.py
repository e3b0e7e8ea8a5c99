"""The staged test: each failure has its step, its cause in plain words, and what to do; within 15 s."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cameras.models import ProbeRequest
from cameras.reach import login_guard
from cameras.reach.place import Place
from cameras.setup import probe
from cameras.setup.probe import Probe, Report, Status, Typed
from detection import Detector, Image
from tests.cameras.footage import lobby
from tests.cameras.http_camera import HttpCamera, http_camera, jpegs_of, mjpeg
from tests.cameras.rtsp_server import RtspCamera
from tests.worlds import World

DETECTOR = Detector.load()


pytestmark = pytest.mark.stream


@pytest.fixture(autouse=True)
def _loopback(settings: Any, redis: Any) -> None:
    settings.CAMERA_NETWORKS = ["127.0.0.0/8"]


def carry_out(typed: Typed) -> tuple[Report, list[Image]]:
    pictures: list[Image] = []
    began = time.monotonic()
    detector = DETECTOR.at(typed.view)
    report = Probe(typed, detector, lambda _report, image: pictures.append(image) if image is not None else None).run()
    assert report.done and time.monotonic() - began < 15
    return report, pictures


def says(report: Report, step: str, status: Status, text: str) -> None:
    found = report.step(step)
    assert found.status == status and text in found.text, (found.status, found.text)


def test_a_good_camera_passes_each_step_and_shows_the_face(tmp_path: Path) -> None:
    with RtspCamera(lobby(tmp_path / "a.mp4"), login=("u", "p@ss/w%rd")) as camera:
        report, pictures = carry_out(Typed(Place("rtsp", camera.address, "u", "p@ss/w%rd")))
    assert [step.status for step in report.steps] == ["passed"] * 6 and report.passed
    says(report, "video", Status.PASSED, "H.264, 640×360, 10 pictures a second, a whole one every 1 s")
    says(report, "face", Status.PASSED, "large enough")
    assert len(pictures) == 2 and (pictures[0] != pictures[1]).any(), "the first picture, then one with boxes"


@contextmanager
def _no_camera() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"rtsp://127.0.0.1:{taken.getsockname()[1]}/"


def test_each_failure_stops_at_its_step() -> None:
    report, _ = carry_out(Typed(Place("rtsp", "rtsp://10.0.0.5/a b")))
    says(report, "name", Status.FAILED, "There is a space")
    report, _ = carry_out(Typed(Place("rtsp", "rtsp://nothing.invalid/")))
    says(report, "name", Status.FAILED, "There is no “nothing.invalid”")
    report, _ = carry_out(Typed(Place("rtsp", "rtsp://169.254.169.254/")))
    says(report, "name", Status.FAILED, "link-local")
    with _no_camera() as address:
        report, _ = carry_out(Typed(Place("rtsp", address)))
    says(report, "connection", Status.FAILED, "nothing listens on port")
    assert report.step("name").status == Status.PASSED and report.step("login").status == Status.WAITING


def test_a_login_that_is_wrong_or_missing(tmp_path: Path) -> None:
    with RtspCamera(lobby(tmp_path / "a.mp4", seconds=1), login=("u", "p")) as camera:
        report, _ = carry_out(Typed(Place("rtsp", camera.address)))
        says(report, "login", Status.FAILED, "asks for a user and a password")
        report, _ = carry_out(Typed(Place("rtsp", camera.address, "u", "wrong")))
        says(report, "login", Status.FAILED, "does not accept this user and password")
        assert camera.refused == 1, "a test signs in once"


def test_a_whole_picture_only_every_ten_seconds(tmp_path: Path) -> None:
    rare = lobby(tmp_path / "rare.mp4", key_every_s=20, seconds=20, start_s=2)
    with RtspCamera(rare, start_at_key=False) as camera:
        time_of_viewer = time.monotonic()
        while time.monotonic() - time_of_viewer < 0.5:  # the first key frame has already been sent
            carry = camera.port
        report, _ = carry_out(Typed(Place("rtsp", f"rtsp://127.0.0.1:{carry}/live")))
    says(report, "picture", Status.FAILED, "No picture yet")
    assert "every 10 s" in report.step("picture").text and "to 2 s" in report.step("picture").text


def test_a_black_picture_and_a_slow_camera_are_remarks(tmp_path: Path) -> None:
    with RtspCamera(lobby(tmp_path / "black.mp4", black=True)) as camera:
        report, _ = carry_out(Typed(Place("rtsp", camera.address)))
    says(report, "picture", Status.REMARK, "The picture is black")
    says(report, "face", Status.REMARK, "stand in front of the camera")
    assert report.passed
    camera_ = HttpCamera(mjpeg(jpegs_of(lobby(tmp_path / "a.mp4")), 1))
    with http_camera(camera_):
        report, _ = carry_out(Typed(Place("http", camera_.address)))
    says(report, "video", Status.REMARK, "Set 5 a second or more")


def test_a_face_that_is_too_small_for_the_model(tmp_path: Path) -> None:
    says_small = probe.judge_face(1, 40, 8)
    assert says_small[0] is Status.REMARK and "too small" in says_small[1]
    assert probe.judge_face(2, 40, 12)[0] is Status.REMARK
    assert probe.judge_face(1, 60, 30)[0] is Status.PASSED


def test_a_test_waits_for_the_watch_to_sign_in(tmp_path: Path) -> None:
    with RtspCamera(lobby(tmp_path / "a.mp4"), login=("u", "p")) as camera:
        assert login_guard.take_turn(Place("rtsp", camera.address), "watch 1")
        began = time.monotonic()
        report, _ = carry_out(Typed(Place("rtsp", camera.address, "u", "p")))
        assert report.passed and time.monotonic() - began > login_guard.SIGNING_IN_S - 1


@pytest.mark.django_db
def test_what_was_typed_is_sealed_and_dropped(world: World, tmp_path: Path) -> None:
    with RtspCamera(lobby(tmp_path / "a.mp4"), login=("u", "p@ss/w%rd")) as camera:
        request = probe.ask(world.here.pk, world.alice.pk, Typed(Place("rtsp", camera.address, "u", "p@ss/w%rd")))
        assert "p@ss" not in request.sealed and camera.address not in request.sealed
        probe.carry_out(request.pk, lambda model, size: DETECTOR.at(size))
    report = probe.read_report(request.pk)
    assert report is not None and report.passed and report.picture
    assert (probe.read_picture(request.pk) or b"")[:2] == b"\xff\xd8"
    request.refresh_from_db()
    assert request.sealed == "", "it is read once"
    ProbeRequest.objects.update(asked_at=request.asked_at - probe.KEPT)
    assert probe.drop_old() == 1
