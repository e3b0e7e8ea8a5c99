"""An installation of an earlier release keeps every value: with Django's own command, on a separate database file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_secrets_of_links_leave_the_audit_log_which_stays_append_only(tmp_path: Path) -> None:
    manage(tmp_path, "migrate", "portal", "0008")
    database = sqlite3.connect(tmp_path / "portal.sqlite3")
    paths = ["/invitation/s3cret/", "/password/MQ/a-1/?next=/", "/password/sent/", "/first-user/t0ken/", "/violations/"]
    columns = "at, actor, action, subject, site, address"
    for path in paths:
        values = ("2026-01-01", "", "viewed", path, "", "")
        database.execute(f"INSERT INTO portal_auditentry ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)
    database.commit()
    manage(tmp_path, "migrate")
    subjects = [row[0] for row in database.execute("SELECT subject FROM portal_auditentry ORDER BY id")]
    hidden = ["/invitation/…/", "/password/…/?next=/", "/password/sent/", "/first-user/…/", "/violations/"]
    assert subjects[:-1] == hidden and "3 addresses" in subjects[-1]
    for statement in ("UPDATE portal_auditentry SET subject = 'x'", "DELETE FROM portal_auditentry"):
        with pytest.raises(sqlite3.DatabaseError, match="append-only"):
            database.execute(statement)


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
