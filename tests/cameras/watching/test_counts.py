"""What watches count for monitoring, in a real Redis."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from cameras.reach.addresses import clips_folder
from cameras.reach.place import Place
from cameras.redis import METRICS_KEY, connection
from cameras.settings import CameraSettings
from cameras.watching import counts
from cameras.watching.counts import WatchCounts, read_stages
from cameras.watching.watch import Watch
from detection import Analyzer, Detector
from tests.cameras.watching.notes import Notes
from tests.conftest import DEMO_CLIPS
from tests.portal_process import wait_for


def frames(camera_id: int, what: str) -> int:
    return int(connection().hget(METRICS_KEY, f"frames|{camera_id}|{what}") or 0)


def test_a_watch_counts_its_frames_stages_and_reconnects(redis: Any, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    clip = clips_folder() / "a.mp4"
    shutil.copy(DEMO_CLIPS / "harbour-house.mp4", clip)
    detector, stop, noted = Detector.load(), threading.Event(), WatchCounts()
    camera = CameraSettings(7, "Front door", Place("clip", "a.mp4"))
    watch = Watch(camera, 1, lambda: Analyzer(detector), Notes(), stop, noted)
    thread = threading.Thread(target=watch.run)
    thread.start()

    def pushed(what: str) -> int:
        noted.push("north")
        return frames(7, what)

    try:
        wait_for(lambda: pushed("analysed") >= 10, 20, "ten analyses")
        received, analysed = frames(7, "received"), frames(7, "analysed")
        assert received >= 2 * analysed, "five analyses of at least ten frames a second"
        (stages,) = read_stages(["north"])
        assert [stage.name for stage in stages] == ["decode", "detect", "follow"]
        for stage in stages:
            numbers = [count for _bound, count in stage.buckets]
            assert numbers == sorted(numbers) and numbers[-1] >= 10 and stage.buckets[-1][0] == "+Inf"
            assert 0 < stage.sum_s < 60
    finally:
        stop.set()
        thread.join(5)


def test_a_camera_that_does_not_answer_is_counted_each_time_it_is_tried(
    redis: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr("cameras.watching.watch.BACKOFF_S", (0.01, 0.02))
    monkeypatch.setattr("cameras.watching.watch.PERMANENT_S", 0.01)
    stop, noted = threading.Event(), WatchCounts()
    watch = Watch(
        CameraSettings(8, "", Place("clip", "none.mp4")), 1, lambda: Analyzer(Detector.load()), Notes(), stop, noted
    )
    thread = threading.Thread(target=watch.run)
    thread.start()

    def reconnects() -> int:
        noted.push("north")
        return int(connection().hget(METRICS_KEY, "reconnects|8") or 0)

    try:
        wait_for(lambda: reconnects() >= 3, 10, "three tries")
    finally:
        stop.set()
        thread.join(5)


def test_what_redis_does_not_take_is_counted_later_and_once(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = WatchCounts()
    noted.frame(7, "received")
    with monkeypatch.context() as away:
        away.setattr("redis.client.Pipeline.execute", lambda _pipeline: (_ for _ in ()).throw(ConnectionError()))
        with pytest.raises(ConnectionError):
            noted.push("north")
    noted.frame(7, "received")
    noted.push("north")
    noted.push("north")
    assert frames(7, "received") == 2


def test_the_stages_of_a_worker_that_is_gone_leave(redis: Any) -> None:
    WatchCounts().push("north")
    left = connection().ttl("stages:north")
    assert 0 < left <= counts.GONE_AFTER_S
    assert read_stages(["nobody"]) == [[]]
