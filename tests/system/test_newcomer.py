"""A newcomer with Python 3.11 and make: clone, `make run`, sign in, a violation with its snapshot, Ctrl-C."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT
from tests.portal_process import PortalProcess, Visitor, marked_processes, wait_for


def test_a_stranger_clones_runs_signs_in_and_sees_a_violation(
    tmp_path: Path, portals: Callable[..., PortalProcess]
) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    portal = portals(clone / "var", command=["make", "run"], cwd=clone).start(within_s=600)
    assert f"{portal.address}/" in portal.output
    email, password = portal.login()
    assert email in portal.output and password in portal.output
    assert stat.S_IMODE((clone / "var" / "demo-login.txt").stat().st_mode) == 0o600
    assert stat.S_IMODE((clone / "var" / "secret-key").stat().st_mode) == 0o600

    visitor = Visitor(portal.address)
    visitor.sign_in(email, password)
    assert visitor.text("/").count('class="tile"') == 2
    violation = wait_for(visitor.violations, 60, "a violation")[0]
    status, picture = visitor.get(f"/violations/{violation}/snapshot.jpg")
    assert status == 200 and picture.startswith(b"\xff\xd8\xff")

    assert portal.stop(within_s=5) < 5
    assert marked_processes(portal.marker) == []
    kept = [path for path in (clone / "var").rglob("*") if path.is_file() and "static" not in path.parts]
    open_to_others = [path for path in kept if path.stat().st_mode & 0o077]
    assert kept and open_to_others == [], "what is kept is the operator's alone"
    assert "Traceback" not in portal.printed()
    assert os.path.exists(clone / "var" / "portal.sqlite3")
