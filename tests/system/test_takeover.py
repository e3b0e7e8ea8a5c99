"""A second worker joins, leaves and dies: its cameras are watched all the time, or again within the time promised."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cameras.watching.leases import TIME_TO_LIVE_S
from portal.server.run import stream_worker
from tests.cameras.footage import waiting
from tests.conftest import ROOT
from tests.portal_process import MARKER, PortalProcess, Visitor, python_in, wait_for

HELD = """
import ctypes
import json
from cameras.models import CameraLease, Outage
rows = CameraLease.objects.values_list('worker', 'state')
print(json.dumps([sorted(rows), list(Outage.objects.values_list('reason', flat=True))]))
"""
SOUTHS = """
import ctypes
import json
from cameras.models import CameraLease
print(json.dumps(list(CameraLease.objects.filter(worker='south').values_list('camera_id', flat=True))))
"""
TOKEN = "from cameras.models import CameraLease; print(CameraLease.objects.get(camera_id={camera}).token)"
WATCHED = """
import ctypes
import json
from cameras.watching.leases import living_workers
print(json.dumps({'south': None} | {each.name: list(each.watching) for each in living_workers()}))
"""
AFTER = """
import ctypes
import json
from cameras.models import Reign
from portal.models import Passage
mine = Reign.objects.get(camera_id={camera}, token={token})
rows = Passage.objects.filter(camera_id={camera}, token__lt={token}, last_seen_at__gt=mine.taken_at)
print(json.dumps(list(rows.values_list('token', flat=True))))
"""


@contextmanager
def one_more(portal: PortalProcess, name: str = "south") -> Iterator[subprocess.Popen[bytes]]:
    """One more worker, as deploy/systemd/mask-portal-worker.service starts it."""
    given = {"DATA_DIR": str(portal.data_dir), "WORKER_NAME": name, "DEMO": "1", MARKER: portal.marker}
    keep = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    command = [sys.executable, "-m", *stream_worker(name, capacity=16)]
    process = subprocess.Popen(command, cwd=ROOT, env=keep | given, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_worker_joins_leaves_and_dies(portals: Callable[..., PortalProcess]) -> None:
    portal = portals().start()

    def held() -> tuple[list[tuple[str, str]], list[str]]:
        rows, reasons = json.loads(python_in(portal, HELD))
        return [(worker, state) for worker, state in rows], reasons

    def souths(count: int) -> bool:
        rows, _reasons = held()
        return [state for _worker, state in rows] == ["online"] * 2 and [w for w, _s in rows].count("south") == count

    wait_for(lambda: souths(0), 30, "both cameras")
    with one_more(portal) as worker:
        wait_for(lambda: souths(1), 60, "one camera for the worker that joined")
        assert held()[1] == [], "a move is no outage"
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        wait_for(lambda: souths(0), 5, "the camera, given back")
        print(f"given back and watched again within {time.monotonic() - began:.1f} s")
        assert held()[1] == [], "nor is this"
    with one_more(portal) as worker:
        wait_for(lambda: souths(1), 60, "one camera for the worker that joined")
        worker.kill()
        began = time.monotonic()
        wait_for(lambda: souths(0), 10, "the camera, taken over")
        print(f"taken over within {time.monotonic() - began:.1f} s")
        assert held()[1] == ["The worker that watched it ended."]
    with one_more(portal) as worker:
        wait_for(lambda: souths(1), 60, "one camera for the worker that joined")
        (camera,) = json.loads(python_in(portal, SOUTHS))
        worker.send_signal(signal.SIGSTOP)
        wait_for(lambda: souths(0), 20, "the camera, taken over from a worker that stands still")
        token = int(python_in(portal, TOKEN.format(camera=camera)))
        worker.send_signal(signal.SIGCONT)
        wait_for(lambda: json.loads(python_in(portal, WATCHED))["south"] == [], 15, "it lets go of the camera")
        wait_for(lambda: souths(1), 60, "as any worker that joins, it gets one")
        doubled = json.loads(python_in(portal, AFTER.format(camera=camera, token=token)))
        assert doubled == [], "nothing that it saw after the takeover counts"


TWELVE = """
from cameras.models import Camera, Site
site = Site.objects.get(name='Harbour House')
Camera.objects.update(paused=True)
for number in range(12):
    Camera.objects.create(site=site, name=f'Door {number}', kind='clip', address="harbour-house.mp4")
"""
DOORS = """
import ctypes
import json
from cameras.models import CameraLease
from collections import Counter
rows = CameraLease.objects.filter(camera__name__startswith='Door', state='online').values_list('worker', flat=True)
print(json.dumps(Counter(rows)))
"""
IN_VIEW = """
import ctypes
import json
from portal.models import Passage, Violation
doors = {'camera__name__startswith': 'Door'}
def told(model): return {str(row.pk): row.ended_at is None for row in model.objects.filter(**doors)}
print(json.dumps([told(Passage), told(Violation)]))
"""
ERA = "from cameras.watching.leases import era_age_s; print(era_age_s())"
LATEST = """
from portal.models import Violation
print(min(Violation.objects.filter(camera__name__startswith='Door').values_list('last_seen_at', flat=True)).timestamp())
"""


def test_a_worker_with_twelve_cameras_dies_and_whoever_is_in_view_stays_one_person(
    portals: Callable[..., PortalProcess], shared: Path
) -> None:
    """One man stands at each of twelve doors: each is one passage and one violation, whoever watches."""
    portal = portals(environment={"WORKER_SITES": "2"}).start()  # it serves the other site
    waiting(portal.data_dir / "clips" / "harbour-house.mp4", shared / "clips" / "man-no-mask.mp4")
    python_in(portal, TWELVE)

    def doors() -> dict[str, int]:
        """How many doors are online, by worker."""
        return dict(json.loads(python_in(portal, DOORS)))

    def in_view() -> list[dict[str, bool]]:
        """Passages and violations, and whether they go on."""
        return list(json.loads(python_in(portal, IN_VIEW)))

    with one_more(portal, "south") as worker:
        wait_for(lambda: doors() == {"south": 12}, 40, "all doors at the second worker")
        wait_for(lambda: [len(each) for each in in_view()] == [12, 12], 30, "a violation a door")
        before = in_view()
        assert all(all(each.values()) for each in before), before
        with one_more(portal, "west"):
            wait_for(lambda: json.loads(python_in(portal, WATCHED)).get("west") is not None, 30, "the third worker")
            # Before, workers that were there when Redis began may not have said so yet.
            wait_for(lambda: float(python_in(portal, ERA)) > 2 * TIME_TO_LIVE_S, 30, "Redis to be there for a while")
            worker.kill()
            began, killed_at = time.monotonic(), time.time()
            wait_for(lambda: doors() == {"west": 12}, 10, "all doors at the third worker")
            print(f"twelve cameras taken over within {time.monotonic() - began:.1f} s")
            wait_for(lambda: float(python_in(portal, LATEST)) > killed_at + 5, 20, "everybody to be seen again")
            assert in_view() == before, "the same people, the same violations, all open"


THREAD = """
from cameras.watching.worker import spool_root
newest = sorted(spool_root().glob('*/threads'), key=lambda path: path.stat().st_mtime)[-1:]
lines = [line.split() for path in newest for line in path.read_text().splitlines()]
print(*[native for _ident, native, camera in lines if int(camera) == {camera}][-1:])
"""
STATES = """
import ctypes
import json
from cameras.models import CameraLease
print(json.dumps(dict(CameraLease.objects.values_list('camera__name', 'state'))))
"""
CAMERA = "from cameras.models import Camera; print(Camera.objects.get(name='Front door').pk)"
TGKILL = {"x86_64": 234, "aarch64": 131}[os.uname().machine]  # a signal to one thread (tgkill(2))


def test_a_stream_that_crashes_its_worker_twice_goes_to_quarantine_and_the_others_stay(
    portals: Callable[..., PortalProcess],
) -> None:
    """As a decoder would: a segmentation fault in the thread that watches the front door."""
    portal = portals().start()
    camera = python_in(portal, CAMERA).strip()

    def states() -> dict[str, str]:
        return dict(json.loads(python_in(portal, STATES)))

    def thread_of_camera() -> tuple[int, int] | None:
        """The worker's process, and its thread that watches the front door."""
        native = python_in(portal, THREAD.format(camera=camera)).strip()
        pids = [pid for pid in portal.pids("streams@") if native and Path(f"/proc/{pid}/task/{native}").exists()]
        return (pids[0], int(native)) if pids and set(states().values()) == {"online"} else None

    for crash in range(2):
        found = wait_for(thread_of_camera, 60, "both cameras")
        assert found is not None
        pid, native = found
        assert ctypes.CDLL(None, use_errno=True).syscall(TGKILL, pid, native, signal.SIGSEGV) == 0, crash
        wait_for(lambda gone=pid: portal.pids("streams@") not in ([gone], []), 20, "a new worker")  # type: ignore[misc]
    wait_for(lambda: states() == {"Front door": "quarantine", "Lobby": "online"}, 40, "quarantine, for the one alone")
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    assert "crashed the worker twice" in visitor.text(f"/cameras/{camera}/")
    assert "Try again" in visitor.text(f"/cameras/{camera}/")
    python_in(portal, f"{CAMERA}; from django.db.models import F; Camera.objects.update(version=F('version') + 1)")
    wait_for(lambda: set(states().values()) == {"online"}, 40, "both cameras, once it is tried again")
