"""An installation of an earlier release keeps every value: with Django's own command, on a separate database file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

POLICY = {
    "language": "de",
    "opening_hours": '{"0": ["08:00", "18:00"]}',
    "alert_when_closed": 1,
    "reminder_hours": '{"1": ["09:00", "10:00"]}',
    "thanks": 1,
    "mask_goal": 80,
    "retention_days": 77,
}


def manage(folder: Path, *arguments: str) -> None:
    environment = os.environ | {"DATA_DIR": str(folder), "DATABASE_URL": ""}
    subprocess.run([sys.executable, "manage.py", *arguments, "--verbosity", "0"], cwd=ROOT, env=environment, check=True)


def test_what_a_site_wants_comes_along_and_can_go_back(tmp_path: Path) -> None:
    manage(tmp_path, "migrate", "portal", "0006")
    database = sqlite3.connect(tmp_path / "portal.sqlite3")
    site = {"name": "Quay", "address": "", "time_zone": "UTC", "created_at": "2026-01-01"} | POLICY
    marks = ", ".join("?" for _value in site)
    database.execute(f"INSERT INTO cameras_site ({', '.join(site)}) VALUES ({marks})", list(site.values()))
    database.commit()
    manage(tmp_path, "migrate")
    columns = ", ".join(POLICY)
    assert database.execute(f"SELECT {columns} FROM portal_sitepolicy").fetchall() == [tuple(POLICY.values())]
    assert "retention_days" not in {row[1] for row in database.execute("PRAGMA table_info(cameras_site)")}
    manage(tmp_path, "migrate", "cameras", "0005")
    manage(tmp_path, "migrate", "portal", "0006")
    assert database.execute(f"SELECT {columns} FROM cameras_site").fetchall() == [tuple(POLICY.values())]
