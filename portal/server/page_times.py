"""How fast pages are with much stored, measured: `manage.py bench pages`.

A portal without a worker is started in a temporary folder (its database may be another, by DATABASE_URL) and filled
with made-up rows: 200 cameras at 20 sites, so many violations over a year, and a year of figures. Then a manager of all
sites asks the real web process for each page, one after the other; and four ask for the list at once.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from portal.server.slow_peers import ROOT, portal

ROUNDS = 25
WARM_ROUNDS = 3
AT_ONCE, AT_ONCE_S = 4, 6.0
FILL = """
import django
django.setup()
from portal.server import page_times
page_times.fill({violations}, {days})
"""


@dataclass(frozen=True)
class PageTime:
    """How long the answer took, in milliseconds; and how large it is."""

    page: str
    median_ms: float
    p95_ms: float
    kb: float


@dataclass(frozen=True)
class PagesFigures:
    """All pages, and how many of the list are answered in a second while four ask at once."""

    database: str
    violations: int
    cameras: int
    pages: list[PageTime]
    lists_a_second: float


def measure(violations: int, database: str = "", days: int = 365) -> PagesFigures:
    """With so many days of figures; `database` is the URL of an empty one, else SQLite.

    Raises OSError if the portal does not come up there.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = {"DATA_DIR": folder, "WORKER_CAPACITY": "0", "DATABASE_URL": database}
        with portal(**given) as (port, _web):
            environment = (
                os.environ | given | {"DJANGO_SETTINGS_MODULE": "portal.settings", "DEMO": "0", "REDIS_URL": ""}
            )
            script = FILL.format(violations=violations, days=days)
            run = subprocess.run(  # noqa: S603
                [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
            )
            if run.returncode:
                raise OSError(run.stderr.strip().rpartition("\n")[2])
            made = json.loads(run.stdout.splitlines()[-1])
            cookies = {"sessionid": made["session"]}
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", cookies=cookies, timeout=60) as client:
                pages = [time_page(client, name, address) for name, address in made["pages"].items()]
                a_second = throughput(client, made["pages"]["violations, to review"])
    return PagesFigures("PostgreSQL" if database else "SQLite", violations, made["cameras"], pages, round(a_second, 1))


def time_page(client: httpx.Client, name: str, address: str) -> PageTime:
    times, size = [], 0
    for number in range(WARM_ROUNDS + ROUNDS):
        began = time.perf_counter()
        answer = client.get(address)
        spent = 1000 * (time.perf_counter() - began)
        if answer.status_code != 200:
            raise OSError(f"{address} answers {answer.status_code}")
        size = len(answer.content)
        if number >= WARM_ROUNDS:
            times.append(spent)
    p95 = statistics.quantiles(times, n=20)[-1]
    return PageTime(name, round(statistics.median(times), 1), round(p95, 1), round(size / 1000, 1))


def throughput(client: httpx.Client, address: str) -> float:
    """Answers a second, while four ask again as soon as they have one."""
    until = time.monotonic() + AT_ONCE_S

    def ask(_number: int) -> int:
        count = 0
        while time.monotonic() < until:
            client.get(address).raise_for_status()
            count += 1
        return count

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(ask, range(AT_ONCE))) / AT_ONCE_S


# -- in the process that fills ----------------------------------------------------------------------------------------


def fill(violations: int, days: int) -> None:
    """Prints the session of a manager of all sites, and the pages to ask for."""
    import random
    from datetime import timedelta

    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.db import connection
    from django.utils import timezone

    from cameras.models import CameraLease, Site
    from detection import make_key
    from portal.figures import speed
    from portal.models import Membership, Passage, SiteFeed, User, Violation

    chance = random.Random(20261201)  # noqa: S311 - made-up people
    sites = speed.make_sites()
    speed.fill(sites, 0, days, chance)
    cameras = [(site, camera) for site, of_site in sites for camera in of_site]
    CameraLease.objects.bulk_create([CameraLease(camera_id=camera) for _site, camera in cameras], ignore_conflicts=True)
    manager = User.objects.create_user("measured@example.org", name="Measured")
    for site, _cameras in sites:
        Membership.objects.create(user=manager, site_id=site, role="manager")
    now = timezone.now()
    step_s = 365 * 24 * 3600 / max(1, violations)
    last = None
    for start in range(0, violations, 5000):
        passages, found = [], []
        for number in range(start, min(violations, start + 5000)):
            site, camera = chance.choice(cameras)
            at = now - timedelta(seconds=step_s * (violations - number))
            end = at + timedelta(seconds=5)
            common = {"site_id": site, "camera_id": camera, "token": 1, "label": "no_mask", "confidence": 0.9}
            times = {"started_at": at, "last_seen_at": end, "ended_at": end}
            passage = Passage(pk=make_key(at.timestamp()), **common, **times)
            is_open = number > violations - 700 or chance.random() < 0.001
            last = Violation(
                pk=make_key(at.timestamp()), passage=passage, **common, **times, opened_at=at, box=[0.4, 0.3, 0.5, 0.5],
                snapshot=f"2026/{number}.jpg", snapshot_at=at, status="open" if is_open else "confirmed",
                note="the man with the blue hat" if number % 5000 == 7 else "",
            )  # fmt: skip
            passages.append(passage)
            found.append(last)
        Passage.objects.bulk_create(passages)
        Violation.objects.bulk_create(found)
    for each in Site.objects.all():
        waiting = Violation.objects.filter(site=each, status="open").count()
        SiteFeed.objects.update_or_create(site=each, defaults={"to_review": waiting})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    session = SessionStore()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(manager.pk), manager.get_session_auth_hash()
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session.create()
    half_a_year_ago = (now - timedelta(days=182)).date()
    site, camera = cameras[0]
    pages = {
        "dashboard": "/",
        "violations, to review": "/violations/?status=open",
        "violations, all": "/violations/",
        "violations of a site": f"/violations/?site={site}",
        "violations of a camera": f"/violations/?camera={camera}",
        "violations, oldest first": "/violations/?order=oldest",
        "violations of a day half a year ago": f"/violations/?day={half_a_year_ago}&until={half_a_year_ago}",
        "violations, at certain hours": "/violations/?hour_from=08:00&hour_to=10:00",
        "violations, a word in notes": "/violations/?note=blue",
        "a violation": f"/violations/{last.pk}/" if last else "/violations/",
        "figures": "/figures/",
        "figures, a year": f"/figures/?from={speed.LAST - timedelta(days=364)}&to={speed.LAST}",
        "cameras": "/cameras/",
        "a camera": f"/cameras/{camera}/",
        "sites": "/sites/",
        "people": "/people/",
        "log": "/audit/",
    }
    print(json.dumps({"session": session.session_key, "cameras": len(cameras), "pages": pages}))
