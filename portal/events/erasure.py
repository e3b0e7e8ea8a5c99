"""One person's traces, gone at once and for good: rows, pictures, what waits to be recorded, and what pages show.

A finding about the same person may still come: they may be in view, or a worker's spool may be late. So the passage's
key is kept as erased (ErasedPassage), and recording drops whatever names it.
"""

from __future__ import annotations

from django.db import transaction

from cameras.watching.spool import forget_refused
from cameras.watching.worker import refused_root
from portal.events.retention import delete_violations
from portal.models import ErasedPassage, Passage, Reminder, Violation


def erase_passage(passage: Passage) -> int:
    """Erase one person, seen once; returns how many violations went.

    The passage's row is locked meanwhile: on PostgreSQL, a transaction that records this person is waited for, or waits
    and then finds the passage erased (portal/events/recording.py). What was set aside as refused goes from this machine.
    """
    with transaction.atomic():
        Passage.objects.select_for_update().filter(pk=passage.pk).first()
        ErasedPassage.objects.get_or_create(pk=passage.pk, defaults={"site_id": passage.site_id})
        count = delete_violations(list(Violation.objects.filter(passage_id=passage.pk)))
        Reminder.objects.filter(passage_id=passage.pk).delete()
        Passage.objects.filter(pk=passage.pk).delete()
        keys = {str(passage.pk)}
        transaction.on_commit(lambda: forget_refused(refused_root(), keys), robust=True)
    return count
