"""What the job worker does. Each task parses its ids, calls one function, and is safe to run twice."""

from __future__ import annotations

from celery import shared_task

from portal import health


@shared_task(name="portal.tasks.pulse")
def pulse() -> None:
    health.note_jobs_alive()
