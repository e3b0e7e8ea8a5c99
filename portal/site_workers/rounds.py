"""The portal's side of a round: the worker's lease is renewed, its cameras' states are taken over, and it hears news.

What a worker in the portal's own network does by SQL and Redis (cameras/watching/worker.py) is done here for it, and
for nothing but the cameras that it holds.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from cameras import tasks
from cameras.models import CameraLease, Outage, ProbeRequest, SiteWorker
from cameras.reach.credentials import unseal
from cameras.states import CameraState
from cameras.watching import counts, health, leases, preview, seen, site_calls
from cameras.watching.leases import WorkerState
from portal.events.follow_ups import CameraChange, follow
from portal.models import Reminder
from portal.people import site_workers
from portal.site_workers.messages import AskedTest, LookedAt, Round, RoundAnswer, Spoken, State
from portal.site_workers.settings import digest, settings_for
from portal.voice import outputs

ABOUT = timedelta(seconds=3)  # as exactly as two clocks and a round agree


class TakenError(Exception):
    """Another machine uses this worker's key."""


def carry_out(worker: SiteWorker, told: Round) -> RoundAnswer:
    """One round. Raises TakenError, or one of cameras.redis.Errors."""
    name = worker.worker_name
    held = {lease.camera_id: lease for lease in _held(name)}
    watching = tuple(camera_id for camera_id in told.watching if camera_id in held)
    state = WorkerState(
        name, told.instance, told.capacity, (worker.site_id,), watching, told.trouble, told.dropped, told.beat,
        told.load, tuple(set(told.calm) & set(watching)), told.version,
    )  # fmt: skip
    if not leases.announce(state):
        raise TakenError
    site_workers.note_seen(worker, told.version)
    for camera_id in _given_back(name, held):
        held.pop(camera_id)
    leases.renew(name, [(camera_id, held[camera_id].token) for camera_id in watching if camera_id in held])
    now = time.time()
    seen.note((each.camera, each.left_s, now - each.age_s) for each in told.seen if each.camera in held)
    counts.add_counts(told.counts, held)
    health.add_sums(told.health, held)
    for each in told.states:
        if each.camera in held:
            _take_over(held[each.camera], each)
    current = settings_for(worker)
    looked_at = preview.who_is_looked_at(sorted(held))
    answer = RoundAnswer(
        settings=None if digest(current) == told.settings else current,
        looked_at=[LookedAt(camera=view.camera_id, pixelated=view.pixelated) for view in sorted(looked_at)],
    )
    for task, row in site_calls.take(name):
        if task == tasks.PROBE:
            answer.tests += [AskedTest(id=row, typed=unseal(sealed)) for sealed in _typed(worker, row)]
        elif task == outputs.SAY:
            answer.say += [spoken(each) for each in Reminder.objects.filter(pk=row, site=worker.site_id, sent_at=None)]
    return answer


def _held(name: str) -> list[CameraLease]:
    return list(CameraLease.objects.filter(worker=name).select_related("camera__site__policy"))


def _given_back(name: str, held: dict[int, CameraLease]) -> Collection[int]:
    """Release what is not to be watched any more, and what another worker should have; returns those cameras."""
    asked = leases.asked_back(name)
    released = []
    for camera_id, lease in held.items():
        camera = lease.camera
        is_wanted = not camera.paused and camera.deleted_at is None and camera.is_at_site
        if is_wanted and camera_id not in asked:
            continue
        leases.release(camera_id, lease.token, CameraState.PAUSED if camera.paused else CameraState.WAITING)
        leases.forget(camera_id, name, lease.token)
        released.append(camera_id)
    return released


@transaction.atomic
def _take_over(lease: CameraLease, told: State) -> None:
    """A camera's state is what its worker says. It saw no outage where only its line to us was cut."""
    if told.state not in CameraState.values or told.state == CameraState.UNKNOWN:
        return
    since = timezone.now() - timedelta(seconds=told.for_s)
    changed = (lease.state, lease.state_detail) != (told.state, told.detail) and CameraLease.objects.filter(
        pk=lease.pk, token=lease.token, worker=lease.worker
    ).update(state=told.state, state_detail=told.detail, state_since=since)
    if told.state == CameraState.ONLINE and not told.is_out:
        outages = Outage.objects.filter(camera_id=lease.camera_id, ended_at=None)
        well_since = timezone.now() - timedelta(seconds=told.well_s)
        ended = outages.filter(began_at__gte=well_since - ABOUT).delete()[0] or outages.update(ended_at=well_since)
        changed = changed or ended
    if changed:
        follow(CameraChange(lease.camera))


def _typed(worker: SiteWorker, row: UUID) -> list[str]:
    """What was typed for a test at this worker's site, once."""
    found = ProbeRequest.objects.filter(pk=row, site=worker.site_id).exclude(sealed="")
    typed = list(found.values_list("sealed", flat=True))
    found.update(sealed="")
    return typed


def spoken(reminder: Reminder) -> Spoken:
    """A reminder, as it is told."""
    return Spoken(
        id=reminder.pk,
        camera=reminder.camera_id,
        step=reminder.step,
        text=reminder.text,
        language=reminder.language,
        output=reminder.output,
        passage=reminder.passage_id,
        violation=reminder.violation_id,
        decided_at=reminder.decided_at,
        sent_at=reminder.sent_at,
        played_at=reminder.played_at,
        why_not=reminder.why_not,
        detail=reminder.detail,
    )
