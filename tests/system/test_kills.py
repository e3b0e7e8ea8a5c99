"""A worker is killed again and again, at any moment: what it had found is there, once, and the gap is known."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_package

from cameras.redis import LAST_PICTURES_KEY
from cameras.watching import findings
from cameras.watching.spool import read_records
from detection import ViolationFinding
from tests.portal_process import PortalProcess, python_in, wait_for

pytestmark = pytest.mark.slow

KILLS = 50
CAMERAS = 2

STATE = """
import json
from cameras.models import *; from portal.models import *
from portal.events.recorder import refused_count
print(json.dumps({
    "violations": [str(key) for key in Violation.objects.values_list("pk", flat=True)],
    "passages": Passage.objects.count(),
    "outages": [
        [one.camera_id, one.began_at.timestamp(), one.ended_at and one.ended_at.timestamp()]
        for one in Outage.objects.all()
    ],
    "open_outages": Outage.objects.filter(ended_at=None).count(),
    "open": Passage.objects.filter(ended_at=None).exclude(token__in=CameraLease.objects.values("token")).count(),
    "refused": refused_count(),
}))
"""


def state(portal: PortalProcess) -> dict[str, object]:
    return dict(json.loads(python_in(portal, STATE).strip().splitlines()[-1]))


def told(portal: PortalProcess) -> set[str]:
    """The violations in the spools as they are on the disk now."""
    found: set[str] = set()
    for path in (portal.data_dir / "spool").glob("*/*.log"):
        try:
            with path.open("rb") as file:
                for record, _position in read_records(file):
                    finding = findings.decode(record).finding
                    found |= {str(finding.key)} if isinstance(finding, ViolationFinding) else set()
        except FileNotFoundError:  # recorded meanwhile
            continue
    return found


def pictures(portal: PortalProcess) -> dict[bytes, float]:
    """When each camera's last picture was looked at."""
    client = redis_package.Redis.from_url((portal.data_dir / "valkey-url").read_text().strip())
    values: dict[bytes, bytes] = client.hgetall(LAST_PICTURES_KEY)  # type: ignore[assignment]
    client.close()
    return {camera: float(value.split()[0]) for camera, value in values.items()}


def test_fifty_kills_lose_nothing_and_each_gap_is_an_outage(
    portals: Callable[..., PortalProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("KILLS_SEED", str(random.randrange(2**32))))
    kills = int(os.environ.get("KILLS", str(KILLS)))
    gaps: list[tuple[float, float]] = []
    moments, on_disk = random.Random(seed), set[str]()
    portal, twin = portals(tmp_path / "killed").start(), portals(tmp_path / "twin").start()
    began = time.time()
    for _kill in range(kills):
        wait_for(lambda: len(pictures(portal)) == CAMERAS, 30, "pictures of both cameras")
        until = time.time() + moments.uniform(0.5, 12)
        wait_for(lambda at=until: time.time() > at, 20, "the next moment")  # type: ignore[misc]
        (worker,) = wait_for(lambda: portal.pids("streams@"), 20, "the worker")
        os.kill(worker, signal.SIGKILL)
        killed_at = time.time()
        on_disk |= told(portal)
        after = lambda at=killed_at: all(seen > at for seen in pictures(portal).values())  # noqa: E731
        wait_for(after, 30, "the first pictures after the kill")
        gaps.append((killed_at, max(pictures(portal).values())))
    span = time.time() - began
    wait_for(lambda: state(portal)["open_outages"] == 0, 40, "the end of the last outage")
    wait_for(lambda: not state(portal)["open"], 20, "what the dead left open, closed")
    here, there = state(portal), state(twin)
    outages, seconds = here["outages"], [back - killed_at for killed_at, back in gaps]
    assert isinstance(outages, list) and isinstance(here["violations"], list)
    lost = on_disk - set(here["violations"])
    with capsys.disabled():
        print(
            f"\nseed {seed}: {kills} kills in {span:.0f} s; seconds to the first analysis: median "
            f"{statistics.median(seconds):.1f}, most {max(seconds):.1f}; violations told {len(on_disk)}, "
            f"lost {len(lost)}; refused {here['refused']}; outages {len(outages)}; passages {here['passages']}, "
            f"of the undisturbed twin {there['passages']}"
        )
    assert not lost and here["refused"] == 0
    for killed_at, back in gaps:
        around = [camera for camera, began_at, ended_at in outages if began_at <= killed_at and ended_at >= back - 2]
        assert len(set(around)) == CAMERAS, "each gap is in an outage of each camera"
    assert statistics.median(seconds) < 10
