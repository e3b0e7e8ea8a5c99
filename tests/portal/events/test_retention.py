from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from portal.events import notices, retention
from portal.events.recording import record
from portal.models import Passage, Reminder, SiteFeed, Violation
from tests.portal.events.test_recording import stored
from tests.worlds import World, glimpse_record, see, set_policy

pytestmark = pytest.mark.django_db(transaction=True)
DAY_S = 24 * 3600


def test_what_is_older_than_the_sites_days_goes_with_its_picture(world: World) -> None:
    set_policy(world.there, retention_days=60)
    old = time.time() - 40 * DAY_S
    record(glimpse_record(see(world.door, old)))
    kept = [see(world.door), see(world.hall, old)]
    assert len(stored()) == 4
    assert retention.sweep().violations == 1
    assert set(Violation.objects.all()) == set(kept)
    assert sorted(stored()) == sorted(row.snapshot.name or "" for row in kept)
    assert Passage.objects.count() == 2


def test_open_pages_are_told_of_what_went(world: World) -> None:
    see(world.door, time.time() - 40 * DAY_S)
    assert SiteFeed.objects.get(site=world.here).to_review == 1
    retention.sweep()
    feed = SiteFeed.objects.get(site=world.here)
    assert (feed.number, feed.to_review) == (2, 0)


def test_a_count_that_drifted_is_mended(world: World) -> None:
    see(world.door)
    SiteFeed.objects.update(to_review=17)
    retention.sweep()
    assert SiteFeed.objects.get(site=world.here).to_review == 1


def test_pictures_that_no_row_knows_are_swept_after_an_hour_and_others_never(world: World) -> None:
    kept = see(world.door)
    record(glimpse_record(kept))
    lost = default_storage.save("2026/01/01/lost.jpg", ContentFile(b"x"))
    now = timezone.now()
    assert retention.sweep_orphans(now) == 0, "its row may be about to come"
    assert retention.sweep_orphans(now + timedelta(hours=2)) == 1
    assert lost not in stored() and set(stored()) == {kept.snapshot.name, kept.glimpses.get().picture.name}


@pytest.fixture
def small_disk(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """DATA_DIR on a real file system of 20 MB."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root to be mounted")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)], check=True)
    settings.DATA_DIR = folder
    options = settings.STORAGES["default"]["OPTIONS"] | {"location": str(folder / "pictures")}
    settings.STORAGES = settings.STORAGES | {"default": settings.STORAGES["default"] | {"OPTIONS": options}}
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_below_the_floor_of_free_disk_the_oldest_go_first_and_it_is_told(
    small_disk: Path, world: World, settings: Any
) -> None:
    rows = [see(world.door, time.time() - 2 * DAY_S - minute * 60) for minute in range(50)]
    (small_disk / "filler").write_bytes(bytes(17_000_000))
    settings.FREE_DISK_FLOOR_MB = retention.free_mb(small_disk) + 0.1
    deleted = retention.sweep().for_space
    assert 0 < deleted < 50
    assert retention.free_mb(small_disk) >= settings.FREE_DISK_FLOOR_MB
    assert set(Violation.objects.all()) == set(rows[: 50 - deleted])
    assert len(stored()) == 50 - deleted
    (notice,) = notices.current_notices().values()
    assert f"{deleted} old violations were deleted" in notice
    assert retention.sweep().for_space == 0


def test_a_disk_that_is_full_of_other_things_ends_the_round(small_disk: Path, world: World, settings: Any) -> None:
    """A foreign file fills it: deleting would free half a megabyte, and so nothing is deleted."""
    for minute in range(10):
        see(world.door, time.time() - 2 * DAY_S - minute * 60)
    settings.FREE_DISK_FLOOR_MB = 1_000_000
    assert retention.sweep().for_space == 0
    assert Violation.objects.count() == len(stored()) == 10
    (notice,) = notices.current_notices().values()
    assert "something else fills it" in notice and "Violations are kept" in notice
    settings.FREE_DISK_FLOOR_MB = 1
    retention.sweep()
    assert notices.current_notices() == {}, "there is room again"


def test_what_was_seen_today_is_kept_whatever_the_disk_lacks(small_disk: Path, world: World, settings: Any) -> None:
    old, new = see(world.door, time.time() - 2 * DAY_S), see(world.door, time.time())
    size = retention.size_mb(old.snapshot.name or "")
    needed = 1.5 * size
    settings.FREE_DISK_FLOOR_MB = retention.free_mb(small_disk) + needed
    assert retention.sweep().for_space == 0, "both would be needed, and one is of today"
    settings.FREE_DISK_FLOOR_MB = retention.free_mb(small_disk) + size / 2
    assert retention.sweep().for_space == 1
    assert list(Violation.objects.all()) == [new]


def test_deleting_ends_when_it_frees_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program takes the room as fast as it is made."""
    for minute in range(50):
        see(world.door, time.time() - 2 * DAY_S - minute * 60)
    monkeypatch.setattr(retention, "free_mb", lambda folder: 1.0)
    monkeypatch.setattr(retention, "would_help", lambda which, needed_mb: True)
    assert retention.keep_disk_free(2.0) == 20 and Violation.objects.count() == 30


def test_a_step_that_fails_keeps_no_other_from_its_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def fail(*args: object) -> None:
        raise OperationalError("database or disk is full")

    see(world.door, time.time() - 40 * DAY_S)
    monkeypatch.setattr(retention, "close_abandoned", fail)
    assert retention.sweep().violations == 1


def test_rows_that_the_database_will_not_let_go_yet_are_passed_by(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    rows = [see(world.door, time.time() - 2 * DAY_S - minute * 60) for minute in range(25)]
    calls: list[int] = []
    delete = retention.delete_violations

    def first_fails(some: list[Violation]) -> int:
        calls.append(len(some))
        if len(calls) == 1:
            raise OperationalError("database or disk is full")
        return delete(some)

    monkeypatch.setattr(retention, "delete_violations", first_fails)
    monkeypatch.setattr(retention, "free_mb", lambda folder: 10.0 * len(calls))
    monkeypatch.setattr(retention, "would_help", lambda which, needed_mb: True)
    assert retention.keep_disk_free(1e9) == 5 and calls == [20, 5]
    assert stored() == [] and Violation.objects.count() == len(rows) - 5


def test_refused_pictures_do_not_outlive_the_others(world: World, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    folder = tmp_path / "refused"
    folder.mkdir()
    for name, age in (("old.log", 40), ("new.log", 1)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age * DAY_S,) * 2)
    retention.sweep()
    assert [path.name for path in folder.iterdir()] == ["new.log"]


def test_a_week_of_the_demo_stays_below_two_gigabytes() -> None:
    """The pictures from its clips, looped day and night, for as long as its sites keep them."""
    from cameras.replay.replay import replay
    from cameras.watching.findings import encode
    from portal.demo import seed

    a_day = 0.0
    for _site, _zone, _camera, clip in seed.SITES:
        seen = replay(seed.CLIPS / clip)
        pictures = [replace(seen.violations[key], snapshot=snapshot) for key, snapshot in seen.snapshots.items()]
        a_day += sum(len(encode(1, 1, each).picture) for each in pictures) * DAY_S / seen.seconds
    assert 0.1e9 < a_day * seed.RETENTION_DAYS < 2e9


def test_recording_waits_out_a_full_disk_and_loses_nothing(
    small_disk: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture of a violation cannot be written: it is retried, reported on the dashboard, and finally stored."""
    from cameras.watching.spool import SpoolWriter
    from detection import make_key
    from portal.events import recorder
    from tests.portal_process import wait_for
    from tests.worlds import passage_record, violation_record

    monkeypatch.setattr(recorder, "RETRY_S", 0.1)
    spools = small_disk.parent / "spools"
    writer = SpoolWriter(spools / "north.1")
    thread = recorder.Recorder(writer, spools, small_disk.parent / "refused")
    thread.start()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(21_000_000))
    key, passage = make_key(time.time()), make_key(time.time())
    for given in (passage_record(world.door, passage), violation_record(world.door, key, passage)):
        writer.put(given)
    wait_for(recorder.recording_trouble, 5, "the trouble to be told")
    assert "cannot be stored at the moment" in notices.current_notices()["not-stored"]
    assert Violation.objects.count() == 0
    filler.unlink()
    wait_for(lambda: Violation.objects.filter(pk=key).exists(), 5, "the violation")
    wait_for(lambda: not notices.current_notices(), 5, "the notice to go")
    writer.close()
    thread.close(within_s=10)
    assert not (small_disk.parent / "refused").exists() and list(spools.iterdir()) == []


def test_reminders_go_with_their_passages_and_those_played_by_hand_with_the_days(world: World) -> None:
    now = timezone.now()
    old, new = see(world.door, at=now.timestamp() - 40 * DAY_S), see(world.door)
    given = {"site": world.here, "camera": world.door, "text": "x", "language": "en", "output": "local"}
    for violation in (old, new):
        Reminder.objects.create(passage=violation.passage, violation=violation, step="first", **given)
    for age in (40, 1):
        Reminder.objects.create(step="trial", decided_at=now - timedelta(days=age), **given)
    retention.sweep()
    assert sorted(Reminder.objects.values_list("step", flat=True)) == ["first", "trial"]
    assert Reminder.objects.get(step="first").violation == new
