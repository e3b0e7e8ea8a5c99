"""The last release's own data, made by its own code (tests/releases/make.py), opens in this one, and loses nothing."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from cameras.watching.findings import decode
from cameras.watching.spool import read_records
from detection import ViolationFinding
from tests.conftest import ROOT
from tests.portal_process import PortalProcess, Visitor, python_in, wait_for

RELEASE = ROOT / "tests" / "releases" / "0.3.0.tar.xz"
# What a portal that runs changes by itself: its processes' state, what Django keeps, and what was left open.
ITS_OWN = {"django_migrations", "django_content_type", "auth_permission", "sqlite_sequence", "cameras_cameralease",
           "cameras_reign", "cameras_outage", "django_session", "portal_sitefeed", "portal_signedin"}  # fmt: skip
CHANGES = {"ended_at", "version", "event_number", "masked_at", "last_login"}
LEFT = """
import ctypes
import json
from cameras.models import Camera
from cameras.reach.credentials import unseal
from portal.events.recorder import refused_count
from portal.models import Violation
kept = Violation.objects.exclude(note='').get()
print(json.dumps({
    'password': unseal(Camera.objects.get(name='Gate').sealed_password), 'note': kept.note, 'status': kept.status,
    'violations': [str(pk) for pk in Violation.objects.values_list('pk', flat=True)], 'refused': refused_count(),
}))
"""


def rows_of(path: Path) -> dict[str, tuple[list[str], list[dict[str, Any]]]]:
    """All rows, by table: its columns of the key, and values by column."""
    found = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(tables) - ITS_OWN:
            key = [row["name"] for row in database.execute(f"PRAGMA table_info({table})") if row["pk"]]
            found[table] = key, [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
    return found


def in_spool(spool: Path) -> set[UUID]:
    """Violations of which a spool tells."""
    found = set()
    for path in spool.glob("*.log"):
        with path.open("rb") as file:
            findings = [decode(record).finding for record, _position in read_records(file)]
        found |= {finding.key for finding in findings if isinstance(finding, ViolationFinding)}
    return found


def test_an_installation_of_the_last_release_opens_with_every_row_and_picture(
    portals: Callable[..., PortalProcess], tmp_path: Path
) -> None:
    with tarfile.open(RELEASE) as archive:
        archive.extractall(tmp_path, filter="data")
    data = tmp_path / "data"
    before = rows_of(data / "portal.sqlite3")
    pictures = {path: path.read_bytes() for path in (data / "pictures").rglob("*.jpg")}
    (spool,) = (data / "spool").glob("north.*")
    told = in_spool(spool)
    portal = portals(data).start()
    wait_for(lambda: not spool.exists(), 20, "what was seen last to be recorded")
    left = json.loads(python_in(portal, LEFT))
    assert (left["password"], left["note"], left["status"]) == ("d0or & gäte", "Asked by נורה", "confirmed")
    assert left["refused"] == 0
    seen = {row["id"] for row in before["portal_violation"][1]}
    told |= {UUID(pk) for pk in seen}
    assert len(told) > len(seen) and told <= {UUID(pk) for pk in left["violations"]}
    after = rows_of(data / "portal.sqlite3")
    moved = set(before) - set(after)
    assert not moved, f"tables that are no more: {moved}"
    for table, (key, rows) in before.items():
        now = {tuple(row[name] for name in key): row for row in after[table][1]}
        for row in rows:
            there = now.get(tuple(row[name] for name in key))
            assert there is not None, (table, row)
            same = (row.keys() & there.keys()) - CHANGES - ({"seq", "last_seen_at", "confidence", "label"}
                    if row.get("ended_at", "") is None else set())  # fmt: skip
            assert {name: there[name] for name in same} == {name: row[name] for name in same}, table
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    assert all(path.read_bytes() == content for path, content in pictures.items())
    for pk in left["violations"]:
        status, picture = visitor.get(f"/violations/{pk}/snapshot.jpg")
        assert status == 200 and picture.startswith(b"\xff\xd8"), pk
