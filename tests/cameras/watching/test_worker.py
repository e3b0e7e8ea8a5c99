"""One stream worker in this process: its leases, its pauses, its name."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

from cameras.models import Camera, CameraLease, Outage
from cameras.reach import login_guard
from cameras.reach.addresses import clips_folder
from cameras.reach.place import Place
from cameras.states import CameraState
from cameras.watching import leases, seen
from cameras.watching.spool import Record, SpoolReader
from cameras.watching.worker import StreamWorker
from detection import ModelError
from tests.conftest import DEMO_CLIPS
from tests.portal_process import wait_for
from tests.worlds import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def start(settings: Any, tmp_path: Path, world: World) -> Iterator[Callable[[str], StreamWorker]]:
    """Starts workers that are notified of their cameras by the test; Front door plays a clip."""
    settings.DATA_DIR = tmp_path
    shutil.copy(DEMO_CLIPS / "harbour-house.mp4", clips_folder() / "door.mp4")
    leases.release_all("north")
    Camera.objects.filter(pk=world.hall.pk).update(paused=True)
    started: list[tuple[StreamWorker, list[threading.Thread]]] = []

    def make(name: str) -> StreamWorker:
        threads: list[threading.Thread] = []

        def ring(to: str, camera_id: int, token: int) -> None:
            if to == name:
                thread = threading.Thread(target=worker.watch, args=(camera_id, token))
                thread.start()
                threads.append(thread)

        worker = StreamWorker(name, 4, (), ring)
        started.append((worker, threads))
        return worker

    yield make
    for worker, threads in started:
        worker.stop()
        for thread in threads:
            thread.join(5)
        worker.close()
        worker.spool.unlock()


def records(worker: StreamWorker) -> list[Record]:
    return [record for record, _, _ in SpoolReader(worker.spool.folder).batch(1000)]


def watch_door(worker: StreamWorker, world: World) -> None:
    worker.keep_leases()
    worker.reconciler.step()
    wait_for(lambda: world.door.pk in worker.watched(), 5, "the watch")


def test_a_watch_begins_by_saying_that_its_token_reigns(start: Any, world: World) -> None:
    worker = start("north")
    watch_door(worker, world)
    found = wait_for(lambda: records(worker), 5, "a record")
    assert (found[0].kind, found[0].camera_id, found[0].token) == ("reign", world.door.pk, 2)


def test_a_doorbell_for_another_token_or_a_camera_that_is_watched_is_nothing(start: Any, world: World) -> None:
    worker = start("north")
    watch_door(worker, world)
    assert not worker.watch(world.door.pk, 2)
    assert not worker.watch(world.door.pk, 7)
    assert not worker.watch(world.hall.pk, 1)


def test_a_pause_ends_the_watch_and_gives_the_camera_back(start: Any, world: World) -> None:
    worker = start("north")
    watch_door(worker, world)
    Camera.objects.filter(pk=world.door.pk).update(paused=True)
    worker.keep_leases()
    wait_for(lambda: not worker.watched(), 5, "the end of the watch")
    lease = CameraLease.objects.get(camera=world.door)
    assert (lease.worker, lease.state) == ("", CameraState.PAUSED)


def test_changed_settings_restart_the_watch(start: Any, world: World) -> None:
    worker = start("north")
    watch_door(worker, world)
    Camera.objects.filter(pk=world.door.pk).update(address="gone.mp4", version=F("version") + 1)
    worker.keep_leases()

    def offline() -> bool:
        return any(record.body.get("state") == "offline" for record in records(worker))

    wait_for(offline, 5, "the new address to be tried")
    assert worker.watched()[world.door.pk].version == 2


def test_a_taken_lease_ends_the_watch(start: Any, world: World) -> None:
    worker = start("north")
    watch_door(worker, world)
    leases.take(world.door.pk, 2, "south")
    worker.keep_leases()
    wait_for(lambda: not worker.watched(), 5, "the end of the watch")


def test_a_state_that_was_marked_meanwhile_is_told_again(start: Any, world: World) -> None:
    worker = start("north")
    watch_door(worker, world)
    wait_for(lambda: any(r.body.get("state") == "online" for r in records(worker)), 10, "the camera to be online")
    count = len([record for record in records(worker) if record.kind == "state"])
    CameraLease.objects.update(state=CameraState.WAITING)
    worker.keep_leases()
    wait_for(lambda: len([r for r in records(worker) if r.kind == "state"]) > count, 5, "the state to be told again")


def test_a_worker_of_a_name_that_lives_already_watches_nothing_and_harms_nothing(start: Any, world: World) -> None:
    first = start("north")
    watch_door(first, world)
    second = start("north")
    second.keep_leases()
    assert not second.watch(world.door.pk, 2)
    second.stop()
    second.close()
    assert [worker.instance for worker in leases.living_workers()] == [first.instance]
    assert CameraLease.objects.get(camera=world.door).worker == "north"
    first.keep_leases()
    assert world.door.pk in first.watched()


def test_what_an_earlier_run_left_is_taken_again_at_once(start: Any, world: World, redis: Any) -> None:
    leases.take(world.door.pk, 1, "north")
    worker = start("north")
    watch_door(worker, world)
    assert worker.watched()[world.door.pk].token == 3


def test_who_was_killed_is_followed_at_once_and_the_gap_is_an_outage(start: Any, world: World, redis: Any) -> None:
    """Its keys are still alive in Redis, but nobody holds the lock of its spool any more."""
    first = start("north")
    watch_door(first, world)
    wait_for(lambda: first.note_pictures() or seen.last_at(world.door.pk), 10, "its first picture")
    first.stop()
    first.spool.unlock()
    second = start("north")
    began = time.monotonic()
    watch_door(second, world)
    assert time.monotonic() - began < 3, "nobody waited for a time-to-live"
    outage = Outage.objects.get(camera=world.door)
    assert outage.reason == "The worker that watched it ended." and outage.ended_at is None
    assert outage.began_at.timestamp() == pytest.approx(seen.last_at(world.door.pk), abs=0.01)


def test_a_watch_that_gets_no_pictures_is_not_online(start: Any, world: World) -> None:
    worker = start("north")
    watch_door(worker, world)
    judge = seen.Judge()
    wait_for(lambda: worker.note_pictures() or judge.online([world.door.pk]), 10, "its first picture")
    running = worker.watched()[world.door.pk]
    running.watch._outage._last_picture -= 60  # as if the last one was a minute ago
    running.watch._outage.picture = lambda: None
    worker.note_pictures()
    assert running.told is not None and running.told[0] is CameraState.OFFLINE and "No picture" in running.told[1]
    wait_for(lambda: not judge.online([world.door.pk]), 5, "the end of its being online")


def test_a_model_is_loaded_once_and_one_that_is_not_there_says_so(start: Callable[[str], StreamWorker]) -> None:
    worker = start("north")
    near, wide = worker.detector_for("default", 320), worker.detector_for("default", 512)
    assert wide.manifest.input.longer_side == 512 and near._session is wide._session
    assert worker.detector_for("aizoo-260", 512).manifest.name == "aizoo-260"
    with pytest.raises(ModelError, match="Choose another one"):
        worker.detector_for("../secret-key", 320)


def test_cameras_of_one_recorder_sign_in_one_after_the_other_without_waiting(redis: object) -> None:
    first, second = (Place("rtsp", f"rtsp://10.0.0.9/{number}", "admin", "p") for number in (1, 2))
    assert login_guard.wait_s(first, 1, 1) == 0 and login_guard.wait_s(second, 2, 1) == 1.0
    login_guard.give_turn_back(first, login_guard.watcher(1))
    assert login_guard.wait_s(second, 2, 1) == 0
    login_guard.note_refused(2, 1)
    assert login_guard.wait_s(second, 2, 1) > 500
    assert login_guard.wait_s(second, 2, version=2) == 0, "a change is tried at once"
