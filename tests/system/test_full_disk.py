"""The portal on a real disk of 96 MB that fills up and then has room again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.portal_process import PortalProcess, Visitor, python_in, wait_for


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root to be mounted")
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk until not one more byte fits; returns the file that fills it."""
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def test_a_full_disk_is_told_where_people_are_stops_nothing_and_loses_nothing(
    small_disk: Path, portals: Callable[..., PortalProcess]
) -> None:
    portal = portals(small_disk, environment={"FREE_DISK_FLOOR_MB": "0"}).start()
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    violation = wait_for(visitor.violations, 60, "a violation")[0]
    filler = fill(small_disk)

    told = "New violations cannot be stored at the moment"
    wait_for(lambda: told in visitor.text("/"), 90, "the dashboard to tell it")
    status, health = visitor.get("/healthz")
    assert status == 503 and json.loads(health)["database"] == "down", "it writes, and so it tells"
    assert json.loads(health)["cameras_watched"] == 2, "cameras go on"
    assert visitor.get(f"/violations/{violation}/snapshot.jpg")[0] == 200, "what is stored can be looked at"
    status, page = visitor.get("/violations/?status=open")
    assert status == 200 and violation.encode() in page

    status, page = Visitor(portal.address).post("/sign-in/", username=portal.login()[0], password=portal.login()[1])
    assert status == 507 and b"The disk of the portal&#x27;s machine is full" in page, "what cannot be done says why"

    filler.unlink()
    wait_for(lambda: told not in visitor.text("/"), 30, "the notice to go")
    before = set(visitor.violations())
    wait_for(lambda: set(visitor.violations()) - before, 60, "a violation after there is room again")
    gone = "from portal.models import *; print(Passage.objects.filter(violations=None, label='no_mask').count())"
    wait_for(lambda: int(python_in(portal, gone)) == 0, 20, "a violation for each bare person: none was lost meanwhile")
    assert "starting it again" not in portal.printed(), "no process ended"
    portal.stop()
