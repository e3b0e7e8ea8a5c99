"""What the job worker does, and one task that a stream worker is asked to do.

Each task parses its ids, calls one function, and is safe to run twice.
"""

from __future__ import annotations

import logging
import time
from uuid import UUID

from celery import shared_task
from django.db import close_old_connections
from django.utils import timezone

from cameras.watching.worker import refused_root, spool_root
from portal.alerts import digests, escalation, outages, trouble
from portal.events import bulk_review, camera_states, notices, recorder
from portal.events import retention as keeping
from portal.figures import hours
from portal.people import audit
from portal.server import daily_backup, health, index_statistics
from portal.voice import outputs, speech

log = logging.getLogger(__name__)
REVIEWS_S = 5.0


@shared_task(name="portal.tasks.pulse")
def pulse() -> None:
    health.note_jobs_alive()
    audit.write_late()


@shared_task(name="portal.tasks.states")
def states() -> None:
    camera_states.hand_out_at_sites()
    camera_states.tell_changes()


@shared_task(name="portal.tasks.spools")
def spools() -> None:
    """A worker that was killed left findings: they are recorded by whoever can."""
    recorder.look_after_the_gone(spool_root(), refused_root())


@shared_task(name="portal.tasks.alerts")
def alerts() -> None:
    """Decide what has become worth telling by itself. What waits is sent by portal/alerts/sender.py."""
    outages.consider()
    trouble.consider_unwatched()
    trouble.consider_notices(notices.current_notices())
    digests.consider()
    escalation.consider()


@shared_task(name="portal.tasks.reviews")
def reviews() -> None:
    """Decisions about many violations go on, as far as a few seconds reach; beat rings again for the rest."""
    until = time.monotonic() + REVIEWS_S
    for bulk_id in bulk_review.unfinished():
        try:
            while time.monotonic() < until and bulk_review.step(bulk_id):
                pass
        except Exception:  # one that cannot go on holds up no other
            log.exception("the review %s of many cannot go on", bulk_id)


@shared_task(name="portal.tasks.figures")
def figures() -> None:
    hours.count_new()


@shared_task(name="portal.tasks.retention")
def retention() -> None:
    keeping.sweep()


@shared_task(name="portal.tasks.orphans")
def orphans() -> None:
    keeping.sweep_orphans(timezone.now())
    speech.forget_unsaid(timezone.now())
    index_statistics.refresh()


@shared_task(name="portal.tasks.back_up")
def back_up() -> None:
    daily_backup.keep()


@shared_task(name=outputs.SAY, acks_late=False, ignore_result=True)
def say_reminder(reminder_id: str) -> None:
    """Play a reminder by hand, from the worker that is near the loudspeaker."""
    try:
        outputs.carry_out_by_hand(UUID(reminder_id))
    finally:
        close_old_connections()
