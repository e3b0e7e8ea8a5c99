"""What the portal asks of a worker at a site, in Redis, until that worker calls: nobody can call it.

site-calls:site-3-7    [["cameras.tasks.probe_camera", "0198…"]]     a list, gone EXPIRES_S after the last
"""

from __future__ import annotations

import json
from typing import cast
from uuid import UUID

from cameras.redis import connection, site_calls_key

EXPIRES_S = 15
MOST = 20  # at a time


def leave(worker: str, task: str, row: UUID) -> None:
    """Ask this worker to carry out a task about one row."""
    pipeline = connection().pipeline()
    pipeline.rpush(site_calls_key(worker), json.dumps([task, str(row)]))
    pipeline.expire(site_calls_key(worker), EXPIRES_S)
    pipeline.execute()


def take(worker: str) -> list[tuple[str, UUID]]:
    """What this worker was asked since the last call, each said once, as (task, row)."""
    found = cast("list[bytes] | None", connection().lpop(site_calls_key(worker), MOST)) or []
    return [(str(task), UUID(row)) for task, row in map(json.loads, found)]
