"""Tells open pages the states of cameras, even when nobody is left to report them. Run by beat every few seconds.

A worker reports the states of the cameras that it watches. But a worker that is gone reports nothing, and neither does
a person who pauses or adds a camera. So what pages were last told is compared with the current state.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import cast

from django.utils import timezone

from cameras.models import Camera, CameraLease, Outage
from cameras.redis import connection
from cameras.states import CameraState
from cameras.watching.leases import TIME_TO_LIVE_S, alive_leases, era_age_s
from cameras.watching.outages import OPENS_AFTER_S
from portal.events import feed, messages

TOLD_KEY = "camera-told"  # a hash: what pages were last told, by camera


def tell_changes() -> int:
    """One round; returns how many cameras' states were sent. Two queries, and one per unwatched camera."""
    mark_unwatched()
    settle_outages()
    told = cast("dict[bytes, bytes]", connection().hgetall(TOLD_KEY))
    now = {}
    for row in Camera.objects.filter(deleted_at__isnull=True).select_related("lease"):
        message = messages.camera(row)
        now[str(row.pk)] = (row.site_id, json.dumps([message["state"], message["detail"]]))
    changed = [key for key, (_, state) in now.items() if told.get(key.encode()) != state.encode()]
    for key in changed:
        site_id, state = now[key]
        feed.publish_camera(int(key), site_id)
        connection().hset(TOLD_KEY, key, state)
    if gone := [key for key in told if key.decode() not in now]:
        connection().hdel(TOLD_KEY, *gone)
    return len(changed)


def settle_outages() -> None:
    """A camera that should not be watched has no outage; one that has waited long for a worker has one. Two queries."""
    now = timezone.now()
    Outage.objects.filter(ended_at__isnull=True).exclude(Camera.wanted("camera__")).update(ended_at=now)
    long_ago = now - timedelta(seconds=OPENS_AFTER_S)
    waiting = Camera.objects.filter(
        Camera.wanted(), lease__state=CameraState.WAITING, lease__state_since__lt=long_ago
    ).exclude(outages__ended_at__isnull=True, outages__isnull=False)
    waiting = waiting.select_related("lease")
    reason = str(CameraState.WAITING.meaning)
    Outage.objects.bulk_create(
        [Outage(camera=row, began_at=row.lease.state_since or now, reason=reason) for row in waiting],
        ignore_conflicts=True,
    )


def mark_unwatched() -> int:
    """Set cameras whose worker is no longer alive to waiting for another; returns how many there were."""
    if era_age_s() < 2 * TIME_TO_LIVE_S:
        return 0  # after Redis was down, workers need a moment to say that they are alive
    given = CameraLease.objects.exclude(worker="").exclude(state=CameraState.WAITING)
    leases = list(given.values_list("camera_id", "worker", "token"))
    alive = alive_leases(leases)
    count = 0
    for camera_id, worker, token in leases:
        if (camera_id, token) not in alive:
            stale = CameraLease.objects.filter(camera_id=camera_id, token=token, worker=worker)
            count += stale.update(state=CameraState.WAITING, state_since=timezone.now(), state_detail="")
    return count
