"""/healthz: whether web, Redis, database and workers are alive, for monitors and `make run`; /readyz: whether this
process can answer, for load balancers.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.db import connection as connection_to_rows
from django.http import HttpRequest, JsonResponse

from cameras.redis import Errors, connection
from cameras.watching import leases
from portal import __version__
from portal.events import processes
from portal.models import Heartbeat
from portal.server import daily_backup

log = logging.getLogger(__name__)

JOBS_ALIVE_KEY = "jobs-alive"
JOBS_ALIVE_S = 30
FRESH_S = 0.3


def note_jobs_alive() -> None:
    """Called by a job worker at its start and at each pulse of beat."""
    connection().set(JOBS_ALIVE_KEY, "1", ex=JOBS_ALIVE_S)


def _database() -> bool:
    """Whether the database can be written: one that is locked, or whose disk is full, can often still be read."""
    try:
        Heartbeat.beat()
        return True
    except Exception:
        log.exception("the database does not answer")
        return False


def check() -> dict[str, object]:
    """Each part as "ok" or "down"; `status` is "ok" only when all are, and no process keeps ending."""
    ending = processes.read(Path(settings.DATA_DIR))
    parts = {"web": True, "database": _database(), "redis": False, "stream_workers": False, "job_workers": False}
    living: list[leases.WorkerState] = []
    try:
        parts["redis"] = bool(connection().ping())
        living = leases.living_workers()
        parts["stream_workers"] = bool(living)
        parts["job_workers"] = bool(connection().exists(JOBS_ALIVE_KEY))
    except Errors as error:
        log.error("Redis does not answer: %s", type(error).__name__)
    return {
        "status": "ok" if all(parts.values()) and not ending else "down",
        **{name: "ok" if fine else "down" for name, fine in parts.items()},
        "keeps_ending": sorted(ending),
        "version": __version__,
        "backup": daily_backup.described(),
        "cameras_watched": sum(len(worker.watching) for worker in living),
    }


_latest: tuple[float, dict[str, object]] = (float("-inf"), {})
_checking = threading.Lock()


def shared_check() -> dict[str, object]:
    """`check`, at most a few times a second however many ask: each writes a row, and anybody may ask."""
    global _latest
    with _checking:
        if time.monotonic() - _latest[0] > FRESH_S:
            _latest = (time.monotonic(), check())
        return _latest[1]


def ready() -> dict[str, str]:
    """Whether this process can answer pages: database and Redis as "ok" or "down", whatever the workers do."""
    parts = {"database": False, "redis": False}
    try:
        connection_to_rows.ensure_connection()
        with connection_to_rows.cursor() as cursor:
            cursor.execute("SELECT 1")
        parts["database"] = True
    except DatabaseError:
        log.warning("not ready: the database does not answer")
    try:
        parts["redis"] = bool(connection().ping())
    except Errors as error:
        log.warning("not ready: Redis does not answer (%s)", type(error).__name__)
    return {name: "ok" if fine else "down" for name, fine in parts.items()}


@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """For load balancers: whether requests may come here. It neither writes, nor asks after other processes."""
    parts = ready()
    answer = JsonResponse(parts, status=200 if "down" not in parts.values() else 503)
    answer["Cache-Control"] = "no-store"
    return answer


@login_not_required
def healthz(request: HttpRequest) -> JsonResponse:
    state = shared_check()
    answer = JsonResponse(state, status=200 if state["status"] == "ok" else 503)
    answer["Cache-Control"] = "no-store"
    return answer
