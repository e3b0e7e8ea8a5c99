"""A worker at a site, on a host that nobody can call: it calls the portal by TLS, and its line is cut for a while."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cameras.replay.stream_load import copy_as_camera
from tests.conftest import DEMO_CLIPS
from tests.portal_process import PortalProcess, python_in, wait_for
from tests.system.hosts import network
from tests.system.test_hosts import running

CUT_S = 30.0
FILL = """
from cameras.models import Camera, Site
from cameras.reach.credentials import seal
from portal.models import Voice
from portal.people import site_workers
site = Site.objects.create(name='South', time_zone='UTC')
for number in range(2):
    camera = Camera.objects.create(
        site=site, name=f'Door {{number}}', kind='rtsp', address=f'rtsp://{at}:8554/{{number}}',
        reminder_after_s=0, sealed_password=seal('of-the-camera') if number else '')
Voice.objects.create(camera=Camera.objects.get(name='Door 0'), output='call', url='http://{at}:8777/say')
print(site_workers.make(site, 'Mini')[1])
"""
STATE = """
import json
from django.core.files.storage import default_storage
from cameras.models import Camera, CameraLease, Outage
from cameras.redis import connection, looked_at_key, preview_key
from portal.models import Passage, Reminder, Violation
door = Camera.objects.get(name='Door 0')
connection().set(looked_at_key(door.pk), '1', ex=5)
times = Passage.objects.order_by('started_at').values_list('camera__name', 'started_at', 'ended_at')
print(json.dumps({
    'leases': list(CameraLease.objects.order_by('camera').values_list('worker', 'state')),
    'passages': [[name, start.timestamp(), end and end.timestamp()] for name, start, end in times],
    'violations': Violation.objects.count(),
    'pictures': sum(default_storage.exists(name) for name in Violation.objects.values_list('snapshot', flat=True)),
    'reminders': [each.decided_at.timestamp() for each in Reminder.objects.all() if each.was_said],
    'outages': [[start.timestamp(), end and end.timestamp()]
                for start, end in Outage.objects.values_list('began_at', 'ended_at')],
    'preview': len(connection().get(preview_key(door.pk)) or b''),
}))
"""
TEST = """
from uuid import UUID
from cameras import tasks
from cameras.models import Site
from cameras.reach.place import Place
from cameras.setup import probe
asked = probe.ask(Site.objects.get().pk, 1, probe.Typed(Place('rtsp', 'rtsp://{at}:8554/0')))
assert tasks.send_probe(asked.pk, Site.objects.get().pk, at_site=True)
print(asked.pk)
"""
REPORT = """
from uuid import UUID
from cameras.setup import probe
report = probe.read_report(UUID('{test}'))
print(int(report.done), int(report.passed), int(probe.read_picture(UUID('{test}')) is not None))
"""
REVOKE = """
from cameras.models import SiteWorker
from portal.people import site_workers
site_workers.revoke(SiteWorker.objects.get())
"""
PAUSE = "from cameras.models import Camera; Camera.objects.update(paused=True)"
OWN = """
from cameras.models import Camera
print(Camera.objects.filter(Camera.wanted()).count(), Camera.objects.exclude(sealed_password='').count())
"""
SPEAKER = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(time.time(), flush=True)
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer((sys.argv[1], 8777), Handler).serve_forever()
"""


def listening(process: subprocess.Popen[bytes]) -> set[int]:
    """The TCP ports on which anything of this process' host listens."""
    tables = [Path(f"/proc/{process.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def test_a_worker_behind_a_firewall_watches_and_speaks_while_its_line_is_cut(
    portals: Callable[..., PortalProcess], tmp_path: Path
) -> None:
    clips = [str(copy_as_camera(DEMO_CLIPS / f"{name}.mp4", tmp_path / f"{name}.mp4", (640, 360)))
             for name in ("harbour-house", "maple-tower")]  # fmt: skip
    with network("centre", "site") as hosts:
        centre, site = hosts["centre"], hosts["site"]
        cameras = ("-m", "cameras.replay.rtsp_server", "--bind", site.address, "--port", "8554", *clips)
        said = (tmp_path / "said").open("w+")
        speaker = subprocess.Popen([*site.on, sys.executable, "-c", SPEAKER, site.address], stdout=said)
        try:
            with running(*site.on, sys.executable, *cameras) as camera_server:
                portal = portals(
                    environment={"DEMO": "0", "HTTPS": "1", "BIND": centre.address, "WORKER_CAPACITY": "0"},
                    on=centre.on,
                ).start()
                key = python_in(portal, FILL.format(at=site.address)).strip()
                worker = portals(
                    tmp_path / "worker",
                    environment={
                        "PORTAL": f"https://{centre.address}:{portal.port}", "KEY": key,
                        "PORTAL_AUTHORITY": str(portal.data_dir / "certificates" / "authority.crt"),
                        "CAMERA_NETWORKS": "10.77.0.0/24", "WORKER_NAME": "mini",
                    },
                    on=site.on,
                ).start()  # fmt: skip

                def state() -> dict[str, Any]:
                    return dict(json.loads(python_in(portal, STATE)))

                def calls() -> list[float]:
                    return [float(line) for line in (tmp_path / "said").read_text().split()]

                began = time.time()
                wait_for(lambda: [each for _w, each in state()["leases"]] == ["online"] * 2, 60, "both cameras")
                print(f"online {time.time() - began:.1f} s after its start")
                assert all(name.startswith("site:") for name, _state in state()["leases"])
                wait_for(lambda: state()["preview"] > 1000, 15, "a live picture, for who looks")
                wait_for(lambda: state()["violations"] and state()["reminders"] and calls(), 60, "a reminder")
                assert listening(camera_server) == {8554, 8777}, "the cameras and the loudspeaker, and nothing of ours"
                test = python_in(portal, TEST.format(at=site.address)).strip()
                wait_for(lambda: python_in(portal, REPORT.format(test=test)).split() == ["1", "1", "1"], 30, "a test")

                site.cut()
                cut_at = time.time()
                wait_for(lambda: time.time() > cut_at + CUT_S, CUT_S + 1, "the time without a line")
                assert [at for at in calls() if cut_at < at], "its door speaks"
                assert "online" not in {each for _worker, each in state()["leases"]}, "nobody claims to know"
                site.heal()
                healed_at = time.time()
                wait_for(lambda: [each for _w, each in state()["leases"]] == ["online"] * 2, 40, "both cameras again")
                print(f"there again {time.time() - healed_at:.1f} s after the line")

                def meanwhile(times: list[float]) -> list[float]:
                    return [at for at in times if cut_at < at < healed_at]

                wait_for(
                    lambda: len(meanwhile([start for _name, start, _end in state()["passages"]])) >= 2, 30,
                    "who was seen meanwhile, with their own times",
                )  # fmt: skip
                wait_for(lambda: meanwhile(state()["reminders"]), 30, "what its door said meanwhile")
                wait_for(
                    lambda: all(end and end < cut_at for _began, end in state()["outages"]), 10,
                    "that it was watched all the time",
                )  # fmt: skip
                python_in(portal, PAUSE)
                wait_for(lambda: all(end for _n, _s, end in state()["passages"]), 30, "everybody to have left")
                after = state()
                assert after["pictures"] == after["violations"] > 0
                for door in ("Door 0", "Door 1"):
                    starts = [start for name, start, _end in after["passages"] if name == door]
                    assert all(later - earlier > 1 for earlier, later in zip(starts, starts[1:], strict=False)), "twice"

                python_in(portal, PAUSE.replace("True", "False"))
                wait_for(lambda: python_in(worker, OWN).split() == ["2", "1"], 30, "both cameras once more")
                python_in(portal, REVOKE)
                wait_for(lambda: python_in(worker, OWN).split() == ["0", "0"], 15, "a worker that forgot all of it")
        finally:
            speaker.kill()
            speaker.wait()
            said.close()
