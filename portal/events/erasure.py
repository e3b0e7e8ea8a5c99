"""One person's traces, gone at once and for good: rows, pictures, what waits to be recorded, and what pages show.

A finding about the same person may still come: they may be in view, or a worker's spool may be late. So the passage's
key is kept as erased (ErasedPassage), and recording drops whatever names it.
"""

from __future__ import annotations

from django.db import OperationalError, transaction

from cameras.watching.spool import forget_refused
from cameras.watching.worker import refused_root
from portal.events import feed
from portal.events.retention import delete_violations
from portal.models import ErasedPassage, Passage, Violation

TRIES = 3
DEADLOCK = "40P01"  # PostgreSQL's name for it


def erase_passage(passage: Passage) -> int:
    """Erase one person, seen once; returns how many violations went. What was refused of them goes from this machine.

    Rows are locked in the order in which recording locks them: violations, the site's feed, and at its commit, when
    PostgreSQL checks a new violation's passage, the passage. A violation that is both new and recorded again meanwhile
    breaks that order; then one of the two is tried once more.
    """
    for attempt in range(TRIES):
        try:
            return _erase(passage)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", "") != DEADLOCK or attempt + 1 == TRIES:
                raise
    return 0


@transaction.atomic
def _erase(passage: Passage) -> int:
    ErasedPassage.objects.get_or_create(pk=passage.pk, defaults={"site_id": passage.site_id})
    theirs = Violation.objects.filter(passage_id=passage.pk)
    count = delete_violations(list(theirs.select_for_update()))
    feed.advance(passage.site_id)
    count += delete_violations(list(theirs))  # recorded until the feed was ours
    Passage.objects.filter(pk=passage.pk).delete()  # and its reminders
    keys = {str(passage.pk)}
    transaction.on_commit(lambda: forget_refused(refused_root(), keys), robust=True)
    return count
