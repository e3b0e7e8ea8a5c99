"""How long Prometheus waits for /metrics, measured: `manage.py bench metrics`.

A portal of its own is started in a temporary folder, filled with sites and cameras, and counts of each; then it is
scraped over HTTP.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import httpx

from portal.server.slow_peers import ROOT, portal

SITES, CAMERAS = 20, 200
FILL = """
import sys
import django
django.setup()
from cameras.models import Camera, CameraLease, Site
from cameras.redis import METRICS_KEY, connection
sites, cameras = int(sys.argv[1]), int(sys.argv[2])
for number in range(sites):
    site = Site.objects.create(name=f"Site {number}", time_zone="UTC")
    made = [Camera(site=site, name=f"Camera {each}", paused=True) for each in range(cameras // sites)]
    for camera in Camera.objects.bulk_create(made):
        CameraLease.objects.create(camera=camera)
        kinds = [f"frames|{camera.pk}|{what}" for what in ("received", "analysed", "late", "refused")]
        kinds += [f"reconnects|{camera.pk}"]
        kinds += [f"passages|{camera.pk}|{label}" for label in ("mask", "no_mask", "incorrect", "unsure")]
        kinds += [f"violations|{camera.pk}|{label}" for label in ("no_mask", "incorrect")]
        connection().hset(METRICS_KEY, mapping=dict.fromkeys(kinds, 12345))
"""


@dataclass(frozen=True)
class ScrapeTime:
    """Over HTTP on this machine, in milliseconds."""

    cameras: int
    lines: int
    median_ms: float
    slowest_ms: float


def measure(rounds: int) -> ScrapeTime:
    with tempfile.TemporaryDirectory() as folder:
        given = {"DATA_DIR": folder, "METRICS_TOKEN": "measured"}
        with portal(**given) as (port, _web):
            command = [sys.executable, "-c", FILL, str(SITES), str(CAMERAS)]
            environment = os.environ | given | {"DJANGO_SETTINGS_MODULE": "portal.settings", "DEMO": "0"}
            subprocess.run(command, cwd=ROOT, env=environment, check=True)  # noqa: S603
            times, lines = [], 0
            with httpx.Client(headers={"Authorization": "Bearer measured"}, timeout=30) as client:
                for _ in range(rounds):
                    began = time.perf_counter()
                    answer = client.get(f"http://127.0.0.1:{port}/metrics").raise_for_status()
                    times.append((time.perf_counter() - began) * 1000)
                    lines = answer.text.count("\n")
    return ScrapeTime(CAMERAS, lines, round(statistics.median(times), 1), round(max(times), 1))
