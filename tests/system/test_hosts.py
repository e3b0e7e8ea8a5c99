"""Five hosts: the centre (web, jobs, PostgreSQL, Valkey), cameras, and two workers, one of which loses its line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cameras.replay.stream_load import copy_as_camera
from cameras.watching.leases import TIME_TO_LIVE_S
from cameras.watching.spool import read_records
from portal.server.run import stream_worker
from tests.conftest import DEMO_CLIPS, ROOT
from tests.on_postgres import postgres_server
from tests.portal_process import MARKER, PortalProcess, python_in, wait_for
from tests.services import valkey_binary
from tests.system.hosts import Host, network

CUT_S = 30.0
PASSWORD = "0123456789abcdef"
NAMES = ("Shared 0", "Shared 1", "Shared 2", "South", "West")  # in the order of their rows
FILL = """
from cameras.models import Camera, Site
names = ('Shared', 'South', 'West')
sites = {{name: Site.objects.create(name=name, time_zone='UTC') for name in names}}
def add(site, name, host, clip):
    Camera.objects.create(site=sites[site], name=name, kind='rtsp', address=f'rtsp://{{host}}:8554/{{clip}}')
for number in range(3):
    add('Shared', f'Shared {{number}}', '{cameras}', number % 2)
add('South', 'South', '{south}', 0)  # at the worker's side of the line
add('West', 'West', '{cameras}', 1)
print(*[sites[name].pk for name in names])
"""
STATE = """
import ctypes
import json
from pathlib import Path
from django.core.files.storage import default_storage
from cameras.models import CameraLease
from cameras.watching.leases import era_age_s, living_workers
from portal.models import Passage, Violation
rows = CameraLease.objects.values_list('camera__name', 'worker', 'state')
passages = Passage.objects.order_by('started_at').values_list('camera__name', 'started_at', 'ended_at', 'pk')
print(json.dumps({
    'leases': {name: [worker, state] for name, worker, state in rows},
    'workers': [each.name for each in living_workers()],
    'passages': [[name, start.timestamp(), end and end.timestamp(), str(pk)] for name, start, end, pk in passages],
    'violations': Violation.objects.count(),
    'pictures': sum(default_storage.exists(name) for name in Violation.objects.values_list('snapshot', flat=True)),
    'redis_s': era_age_s(),
}))
"""
PAUSE = "from cameras.models import Camera; Camera.objects.update(paused=True)"


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    keep = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    process = subprocess.Popen(
        command, cwd=ROOT, env=keep | environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def refused_by(process: subprocess.Popen[bytes], own: Path) -> list[str]:
    """Cameras of which something could not be recorded: in a folder that only this process' host has."""
    found = []
    for path in Path(f"/proc/{process.pid}/root{own}/refused").glob("*.log"):
        with path.open("rb") as file:
            found += [NAMES[record.camera_id - 1] for record, _position in read_records(file)]
    return found


def test_a_worker_whose_line_is_cut_watches_on_and_what_it_saw_comes_with_its_own_times(
    portals: Callable[..., PortalProcess], tmp_path: Path
) -> None:
    clips = [str(copy_as_camera(DEMO_CLIPS / f"{name}.mp4", tmp_path / f"{name}.mp4", (640, 360)))
             for name in ("harbour-house", "maple-tower")]  # fmt: skip
    pictures, own = tmp_path / "pictures", tmp_path / "own"
    pictures.mkdir()
    own.mkdir()

    def cameras_at(host: Host) -> tuple[str, ...]:
        server = ("-m", "cameras.replay.rtsp_server", "--bind", host.address, "--port", "8554", *clips)
        return (*host.on, sys.executable, *server)

    with network("centre", "cameras", "south", "west") as hosts:
        centre, south, west = hosts["centre"], hosts["south"], hosts["west"]
        valkey = (str(valkey_binary()), "--bind", centre.address, "--port", "6379", "--requirepass", PASSWORD)
        with (
            postgres_server(centre.address, centre.on) as database,
            running(*centre.on, *valkey, "--save", "", "--dir", str(tmp_path)),
            running(*cameras_at(hosts["cameras"])), running(*cameras_at(south)),
        ):  # fmt: skip
            common = {
                "DATABASE_URL": database.url, "REDIS_URL": f"redis://:{PASSWORD}@{centre.address}:6379/0",
                "SECRET_KEY": "of-all-hosts-of-this-test-0123456789", "PICTURES": str(pictures), "DEMO": "0",
                "CAMERA_NETWORKS": "10.77.0.0/24",
            }  # fmt: skip
            portal = portals(environment=common | {"WORKER_CAPACITY": "0"}, on=centre.on).start()
            shared, souths, wests = python_in(
                portal, FILL.format(cameras=hosts["cameras"].address, south=south.address)
            ).split()

            def state() -> dict[str, Any]:
                return dict(json.loads(python_in(portal, STATE)))

            def at(host: Host, sites: str) -> tuple[list[str], dict[str, str]]:
                own_data = {"DATA_DIR": str(own), "WORKER_NAME": host.name, "WORKER_SITES": sites}
                return [*host.with_own(own), sys.executable, "-m", *stream_worker(host.name, 16)], common | own_data | {
                    MARKER: portal.marker
                }

            first, its = at(south, f"{shared},{souths}")
            second, others = at(west, f"{shared},{wests}")
            with running(*first, **its) as process:
                wait_for(lambda: "south" in state()["workers"], 60, "the first worker")
                with running(*second, **others):
                    wait_for(lambda: {each for _w, each in state()["leases"].values()} == {"online"}, 60, "all cameras")
                    leases = state()["leases"]
                    assert (leases["South"][0], leases["West"][0]) == ("south", "west"), "each site on its own worker"
                    shared_ones = [name for name in leases if name.startswith("Shared")]
                    assert "south" in {leases[name][0] for name in shared_ones}
                    # Before, workers that were there when Redis began may not have said so yet.
                    wait_for(lambda: state()["redis_s"] > 2 * TIME_TO_LIVE_S, 30, "Redis to be there for a while")
                    south.cut()
                    cut_at = time.time()
                    wait_for(
                        lambda: all(state()["leases"][name] == ["west", "online"] for name in shared_ones), 12,
                        "what both serve, at the other worker",
                    )  # fmt: skip
                    print(f"taken over within {time.time() - cut_at:.1f} s of the cut")
                    wait_for(lambda: time.time() > cut_at + CUT_S, CUT_S, "the time without a line")
                    assert state()["leases"]["South"][1] != "online", "nobody claims to know"
                    south.heal()
                    healed_at = time.time()

                    def there_again() -> bool:
                        found = state()
                        return found["leases"]["South"] == ["south", "online"] and "south" in found["workers"]

                    wait_for(there_again, 40, "the first worker, with its camera")
                    print(f"there again {time.time() - healed_at:.1f} s after the line")

                    def meanwhile() -> list[float]:
                        found = [start for name, start, _end, _key in state()["passages"] if name == "South"]
                        return [start for start in found if cut_at + 2 < start < healed_at - 2]

                    wait_for(lambda: len(meanwhile()) >= 2, 30, "who was seen meanwhile, with their own times")
                    # What it saw of a shared camera when the line was there again, until it heard of the takeover.
                    assert set(refused_by(process, own)) <= set(shared_ones)
                    python_in(portal, PAUSE)
                    wait_for(lambda: all(end for _n, _s, end, _k in state()["passages"]), 30, "everybody to have left")
            after = state()
    assert after["pictures"] == after["violations"] > 0, "all in the store that all hosts share"
    starts = sorted(start for name, start, _end, _key in after["passages"] if name == "South")
    assert all(later - earlier > 1 for earlier, later in zip(starts, starts[1:], strict=False)), "nobody twice"
