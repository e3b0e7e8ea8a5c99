"""What the job worker does. Each task parses its ids, calls one function, and is safe to run twice."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from portal import auditing, health, watchkeeping
from portal import retention as keeping


@shared_task(name="portal.tasks.pulse")
def pulse() -> None:
    health.note_jobs_alive()
    watchkeeping.tell_changes()
    auditing.write_late()


@shared_task(name="portal.tasks.retention")
def retention() -> None:
    keeping.sweep()


@shared_task(name="portal.tasks.orphans")
def orphans() -> None:
    keeping.sweep_orphans(timezone.now())
