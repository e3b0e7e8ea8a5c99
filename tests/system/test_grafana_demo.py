"""The demo on PostgreSQL, scraped by a real Prometheus: every question of every dashboard is answered by it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.grafana import (
    DATABASE,
    PROMETHEUS,
    asked,
    dashboards,
    may_be_empty,
    prometheus,
    unanswered,
)
from tests.on_postgres import postgres
from tests.portal_process import PortalProcess

pytestmark = pytest.mark.slow

FIGURES_WITHIN_S = 180  # they are counted each minute
LATER = {"operations: Violations an hour, A", "operations: People an hour, A"}  # a counter must have grown


def test_the_demo_answers_each_panel(portals: Callable[..., PortalProcess], tmp_path: Path) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus (Debian's package)")
    with postgres() as url:
        portal = portals(environment={"DATABASE_URL": url, "METRICS_TOKEN": "t0ken"}).start(120)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("CREATE ROLE grafana LOGIN IN ROLE mask_portal_reports")
        reader = psycopg.connect(url.replace("portal@", "grafana@"), autocommit=True)
        with prometheus(f"127.0.0.1:{portal.port}", "t0ken", tmp_path) as server, reader:
            chosen = {
                "site": [row[0] for row in reader.execute("SELECT site FROM report_sites")],
                "camera": [row[0] for row in reader.execute("SELECT camera FROM report_cameras")],
            }
            assert len(chosen["site"]) >= 2
            empty = may_be_empty(dashboards())
            left = unanswered(asked(PROMETHEUS, chosen), server, FIGURES_WITHIN_S, enough=empty - LATER)
            deadline, unread = time.monotonic() + FIGURES_WITHIN_S, asked(DATABASE, chosen)
            while unread.keys() - empty and time.monotonic() < deadline:
                unread = {where: text for where, text in unread.items() if not rows(reader, text)}
                time.sleep(1)
            print("empty in the demo, as their panels say:", sorted({*left, *unread}))
            assert {*left, *unread} <= empty - LATER


def rows(reader: Any, text: str) -> list[Any]:
    found: list[Any] = reader.execute(text.encode()).fetchall()
    return found
