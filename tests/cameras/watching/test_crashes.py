"""A stream that makes its worker crash is found out by the thread that the fatal signal came to."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F
from django.utils import timezone

from cameras.models import Camera, CameraLease, Outage
from cameras.states import CameraState
from cameras.watching import crashes, leases
from tests.conftest import ROOT
from tests.worlds import World

CRASH = """
import os, sys, threading
os.environ['DJANGO_SETTINGS_MODULE'] = 'portal.settings'
import django
django.setup()
from pathlib import Path
from cameras.watching import crashes
folder = Path(sys.argv[1])
crashes.listen(folder)
ready, go = threading.Barrier(4), threading.Event()
def watch(camera):
    crashes.note_thread(folder, camera)
    ready.wait()
    go.wait()
    if camera == 7:
        import ctypes
        ctypes.string_at(0)
for camera in (5, 6, 7):
    threading.Thread(target=watch, args=(camera,)).start()
ready.wait()
go.set()
"""


def test_the_camera_whose_thread_crashed_is_blamed_and_no_other(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGSEGV
    assert crashes.blamed(tmp_path) == 7


@pytest.mark.parametrize(
    "faults", [None, "", "nonsense", "Fatal Python error: Aborted\n\nCurrent thread 0x0000dead:\n"]
)
def test_without_a_thread_that_is_known_nobody_is_blamed(tmp_path: Path, faults: str | None) -> None:
    (tmp_path / "threads").write_text("0xbeef 12 7\n")
    if faults is not None:
        (tmp_path / "faults").write_text(faults)
    assert crashes.blamed(tmp_path) is None


@pytest.mark.django_db(transaction=True)
def test_the_second_crash_within_an_hour_is_quarantine_until_something_changes(world: World) -> None:
    now = timezone.now()
    assert not crashes.note_crash(world.door.pk, now - timedelta(hours=3))
    assert not crashes.note_crash(world.door.pk, now), "the first within an hour"
    assert crashes.note_crash(world.door.pk, now + timedelta(minutes=5))
    lease = CameraLease.objects.get(camera=world.door)
    assert (lease.state, lease.worker) == (CameraState.QUARANTINE, "")
    assert "crashed the worker twice" in lease.state_detail and "Try again" in lease.state_detail
    assert Outage.objects.get().reason == "Its video crashed the worker twice."
    assert [each.camera_id for each in leases.wanted_cameras()] == [world.hall.pk]
    Camera.objects.filter(pk=world.door.pk).update(version=F("version") + 1)
    assert len(leases.wanted_cameras()) == 2, "it was changed, or tried again"
    assert not crashes.note_crash(world.door.pk, now + timedelta(minutes=6)), "and is given as much as before"


@pytest.mark.django_db
def test_a_camera_that_is_gone_is_nobodys_fault(world: World) -> None:
    assert not crashes.note_crash(999)
