"""Tells open pages the states of cameras, even when nobody is left to report them. Run by beat every few seconds.

A worker reports the states of the cameras that it watches. But a worker that is gone reports nothing, and neither does
a person who pauses or adds a camera. So what pages were last told is compared with the current state.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import uuid4

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from cameras.models import Camera, CameraLease, Outage
from cameras.redis import connection
from cameras.states import CameraState
from cameras.watching import seen
from cameras.watching.leases import (
    TIME_TO_LIVE_S,
    Reconciler,
    alive_leases,
    era_age_s,
    living_workers,
    why_waiting,
)
from cameras.watching.outages import OPENS_AFTER_S
from portal.events import feed, messages
from portal.models import Pause

judge = seen.Judge()  # one a process: the job worker's
_reconciler = Reconciler(f"{settings.WORKER_NAME}.jobs", uuid4().hex[:12], lambda worker, camera, token: None)
_handing_out = threading.Lock()
TOLD_KEY = "camera-told"  # a hash: what pages were last told, by camera


def hand_out_at_sites() -> None:
    """Where all workers are at sites, none of which reaches the database, nobody else hands cameras out."""
    workers = living_workers()
    if workers and all(worker.is_at_site for worker in workers) and _handing_out.acquire(blocking=False):
        try:
            _reconciler.step()
        finally:
            _handing_out.release()


def tell_changes() -> int:
    """One round; returns how many cameras' states were sent. Two queries, and one per unwatched camera."""
    mark_unwatched()
    settle_outages()
    say_why_waiting()
    told = cast("dict[bytes, bytes]", connection().hgetall(TOLD_KEY))
    now = {}
    for row in Camera.objects.filter(deleted_at__isnull=True).select_related("lease"):
        message = messages.camera(row)
        now[str(row.pk)] = (row.site_id, json.dumps([message["state"], message["detail"]]))
    changed = [key for key, (_site, state) in now.items() if told.get(key.encode()) != state.encode()]
    for key in changed:
        site_id, state = now[key]
        feed.publish_camera(int(key), site_id)
        connection().hset(TOLD_KEY, key, state)
    if gone := [key for key in told if key.decode() not in now]:
        connection().hdel(TOLD_KEY, *gone)
    return len(changed)


def settle_outages() -> None:
    """A camera that should not be watched has no outage; one that has waited long for a worker has one.

    A paused one has a pause. Four queries.
    """
    now = timezone.now()
    Pause.objects.filter(Camera.wanted("camera__"), ended_at=None).update(ended_at=now)
    idle = Camera.objects.exclude(Camera.wanted()).filter(deleted_at=None)  # paused, or its site is archived
    paused = idle.exclude(pauses__in=Pause.objects.filter(ended_at=None))
    Pause.objects.bulk_create([Pause(camera=camera, began_at=now) for camera in paused], ignore_conflicts=True)
    Outage.objects.filter(ended_at__isnull=True).exclude(Camera.wanted("camera__")).update(ended_at=now)
    long_ago = now - timedelta(seconds=OPENS_AFTER_S)
    waiting = Camera.objects.filter(
        Camera.wanted(), lease__state=CameraState.WAITING, lease__state_since__lt=long_ago
    ).exclude(outages__ended_at__isnull=True, outages__isnull=False)
    waiting = waiting.select_related("lease")
    reason = str(CameraState.WAITING.meaning)
    Outage.objects.bulk_create(
        [
            Outage(camera=row, began_at=last_picture(row) or row.lease.state_since or now, reason=reason)
            for row in waiting
        ],
        ignore_conflicts=True,
    )


def say_why_waiting() -> None:
    """Beside a camera that waits for a worker stands why it gets none. One query, and one for each new reason."""
    waiting = CameraLease.objects.filter(Camera.wanted("camera__"), state__in=(CameraState.WAITING, CameraState.PAUSED))
    rows = list(waiting.select_related("camera__site"))
    workers = living_workers() if rows else []
    names = {worker.name for worker in workers}
    for lease in rows:
        camera_id, worker, detail, camera = lease.camera_id, lease.worker, lease.state_detail, lease.camera
        why = "" if worker in names else why_waiting(camera.site_id, camera.is_at_site, workers)
        if why != detail:
            CameraLease.objects.filter(camera_id=camera_id, worker=worker, state_detail=detail).update(state_detail=why)


def last_picture(camera: Camera) -> datetime | None:
    """When its last picture was looked at, if that was before it began to wait for a worker."""
    last, since = seen.last_at(camera.pk), camera.lease.state_since
    if last is None or since is None or last > since.timestamp():
        return None
    return datetime.fromtimestamp(last, UTC)


def mark_unwatched() -> int:
    """Set cameras whose worker is no longer alive to waiting for another, and those without a picture to offline.

    Returns how many there were.
    """
    if era_age_s() < 2 * TIME_TO_LIVE_S:
        return 0  # after Redis was down, workers need a moment to say that they are alive
    given = CameraLease.objects.exclude(worker="").exclude(state=CameraState.WAITING)
    leases = list(given.values_list("camera_id", "worker", "token", "state"))
    alive = alive_leases((camera_id, worker, token) for camera_id, worker, token, _state in leases)
    online = judge.online([camera_id for camera_id, _, _, state in leases if state == CameraState.ONLINE])
    count = 0
    for camera_id, worker, token, state in leases:
        if (camera_id, token) not in alive:
            mark = {"state": CameraState.WAITING, "state_detail": ""}
        elif state == CameraState.ONLINE and camera_id not in online:
            mark = {"state": CameraState.OFFLINE, "state_detail": _("No picture comes.")}
        else:
            continue
        stale = CameraLease.objects.filter(camera_id=camera_id, token=token, worker=worker, state=state)
        count += stale.update(**mark, state_since=timezone.now())
    return count
