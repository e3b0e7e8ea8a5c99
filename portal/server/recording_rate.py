"""How many findings become rows in a second, measured: `manage.py bench recording`.

A portal without a worker is started in a temporary folder; then findings are recorded as its recorder does, by one
thread: for each person a passage, a violation with a picture of 720p, five reports that they are still bare, and the
ends of both. It is what one worker can record, and the most that SQLite can, however many there are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from portal.server.slow_peers import ROOT, portal

RECORD = """
import io, json, sys, time
import django
django.setup()
import numpy as np
from PIL import Image
from cameras.models import Camera, CameraLease, Site
from cameras.watching import leases
from cameras.watching.spool import Record
from detection import make_key
from portal.events.recording import record
people = int(sys.argv[1])
site = Site.objects.create(name="Measured")
camera = Camera.objects.create(site=site, name="Measured", address="x.mp4", paused=True)
CameraLease.objects.create(camera=camera)
leases.take(camera.pk, 0, "measured")
noise = np.random.default_rng(1).integers(0, 64, (90, 160, 3), np.uint8)
out = io.BytesIO()
Image.fromarray(noise).resize((1280, 720)).save(out, "JPEG", quality=88)
began, count = time.perf_counter(), 0
for _person in range(people):
    now, passage, key = time.time(), make_key(time.time()), make_key(time.time())
    def tell(kind, seq, ended_at, picture=b""):
        global count
        body = {"kind": kind, "camera": camera.pk, "token": 1, "seq": seq, "label": "no_mask", "confidence": 0.9,
                "started_at": now, "last_seen_at": now, "ended_at": ended_at, "box": [0.4, 0.3, 0.6, 0.7],
                "key": str(passage if kind == "passage" else key), "passage": str(passage), "opened_at": now}
        record(Record(body | ({"snapshot_at": now} if picture else {}), picture))
        count += 1
    tell("passage", 1, None)
    tell("violation", 1, None, out.getvalue())
    for seq in range(2, 7):
        tell("violation", seq, None)
    tell("violation", 7, now)
    tell("passage", 2, now)
print(json.dumps([count, time.perf_counter() - began, len(out.getvalue())]))
"""


@dataclass(frozen=True)
class RecordingRate:
    """Findings, in a second; and how large each person's picture was."""

    people: int
    findings: int
    a_second: float
    picture_kb: float


def measure(people: int, database: str = "") -> RecordingRate:
    """`database` is the URL of an empty one; else SQLite. Raises OSError if the portal does not come up there."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"DATA_DIR": folder, "WORKER_CAPACITY": "0", "DATABASE_URL": database}
        with portal(**given):
            environment = (
                os.environ | given | {"DJANGO_SETTINGS_MODULE": "portal.settings", "DEMO": "0", "REDIS_URL": ""}
            )
            run = subprocess.run(  # noqa: S603
                [sys.executable, "-c", RECORD, str(people)], cwd=ROOT, env=environment, capture_output=True, text=True
            )
            if run.returncode:
                raise OSError(run.stderr.strip().rpartition("\n")[2])
    findings, seconds, size = json.loads(run.stdout)
    return RecordingRate(people, findings, round(findings / seconds, 1), round(size / 1000, 1))
