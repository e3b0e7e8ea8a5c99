"""How fast reports are with much stored, measured: `manage.py bench reports`.

It fills an empty database with made-up hours, and asks for what the page of figures shows. It runs in a process of its
own, whose DATA_DIR is a temporary folder (and whose database may be another, by DATABASE_URL).
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SITES, CAMERAS = 20, 200
LAST = date(2026, 10, 31)
ROUNDS = 15
SCRIPT = "import django; django.setup(); from portal.figures import speed; speed.print_measured()"


@dataclass(frozen=True)
class ReportTimes:
    """Medians in milliseconds, with so many days stored."""

    days_stored: int
    rows: int
    month_of_all_ms: float
    year_of_all_ms: float
    year_of_a_site_ms: float
    year_of_a_camera_ms: float


def measure(database_url: str = "") -> list[ReportTimes]:
    with tempfile.TemporaryDirectory() as folder:
        given = {"DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "portal.settings", "DEMO": "0", "REDIS_URL": ""}
        if database_url:
            given["DATABASE_URL"] = database_url
        command = [sys.executable, "-c", SCRIPT]
        run = subprocess.run(command, cwd=ROOT, env=os.environ | given, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return [ReportTimes(**each) for each in json.loads(run.stdout.splitlines()[-1])]


def print_measured() -> None:
    """In the process of its own."""
    from django.core.management import call_command

    from portal.models import Figures

    call_command("migrate", verbosity=0)
    seed = 20261129
    found, chance = [], random.Random(seed)  # noqa: S311 - made-up figures
    sites = make_sites()
    stored = 0
    for until in (60, 365):
        fill(sites, stored, until, chance)
        stored = until
        found.append(asdict(time_reports(sites, stored, Figures.objects.count())))
    print(json.dumps(found))


def make_sites() -> list[tuple[int, list[int]]]:
    from cameras.models import Camera, Site

    sites = []
    for number in range(SITES):
        site = Site.objects.create(name=f"Site {number}", time_zone="UTC")
        cameras = [Camera(site=site, name=f"Camera {each}", paused=True) for each in range(CAMERAS // SITES)]
        sites.append((site.pk, [each.pk for each in Camera.objects.bulk_create(cameras)]))
    return sites


def fill(sites: list[tuple[int, list[int]]], since: int, until: int, chance: random.Random) -> None:
    """Made-up hours of the days from `since` to `until` days before LAST, and their sums."""
    from django.db import transaction

    from portal.models import Figures

    with transaction.atomic():
        for ago in range(since, until):
            Figures.objects.bulk_create(day_rows(sites, LAST - timedelta(days=ago), chance), batch_size=600)


def day_rows(sites: list[tuple[int, list[int]]], day: date, chance: random.Random) -> Iterator[Any]:
    from portal.models import Figures

    names = Figures.COUNTS
    for site, cameras in sites:
        days: dict[int | None, list[int]] = {}
        for hour in range(24):
            start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
            of_site = [0] * len(names)
            for camera in cameras:
                busy = 7 <= hour < 19
                values = [chance.randrange(1 + limit * busy) for limit in (40, 4, 2, 5, 1)]
                for most in (values[1], values[2]):  # of those without a mask: reminded or not, and what came of it
                    some = chance.randint(0, most)
                    values += [some, chance.randint(0, some)]
                values += [3500, 100]
                of_site = [a + b for a, b in zip(of_site, values, strict=True)]
                days[camera] = [a + b for a, b in zip(days.get(camera, [0] * len(names)), values, strict=True)]
                yield row_of(site, camera, "hour", start, hour, values)
            days[None] = [a + b for a, b in zip(days.get(None, [0] * len(names)), of_site, strict=True)]
            yield row_of(site, None, "hour", start, hour, of_site)
        for place, values in days.items():
            yield row_of(site, place, "day", datetime(day.year, day.month, day.day, tzinfo=UTC), 0, values)


def row_of(site: int, camera: int | None, span: str, start: datetime, hour: int, values: list[int]) -> object:
    from portal.models import Figures

    counts = dict(zip(Figures.COUNTS, values, strict=True))
    return Figures(
        site_id=site, camera_id=camera, span=span, start=start, day=start.date(), hour=hour, weekday=start.weekday(),
        **counts,
    )  # fmt: skip


def time_reports(sites: list[tuple[int, list[int]]], stored: int, rows: int) -> ReportTimes:
    from django.db import connection

    from cameras.models import Camera, Site
    from portal.figures.reports import report

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    everywhere = list(Site.objects.all())
    camera = Camera.objects.select_related("site").get(pk=sites[0][1][0])
    month, year = LAST - timedelta(days=27), LAST - timedelta(days=364)
    return ReportTimes(
        stored,
        rows,
        median_ms(lambda: report(everywhere, month, LAST)),
        median_ms(lambda: report(everywhere, year, LAST)),
        median_ms(lambda: report(everywhere[:1], year, LAST)),
        median_ms(lambda: report([camera.site], year, LAST, camera)),
    )


def median_ms(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(times), 1)
