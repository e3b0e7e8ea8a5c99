"""Sends what waits, in order for each channel and receiver, at least once. Run by the job worker every few seconds.

A row is claimed before it is sent, by moving its next try ahead: a process that is killed in between sends it again
after that. What is refused for good stops with its reason; the rest is tried again after growing pauses, for a day.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.alerts.channels import SendError, send
from portal.models import Delivery

log = logging.getLogger(__name__)

CLAIMED = timedelta(minutes=2)  # by then it was sent, or whoever sent it is gone
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=1)
ROUND_S = 10.0
State = Delivery.State
_sending = threading.Lock()


def send_due(now: datetime | None = None) -> int:
    """Send what is due; returns how many were taken by the other side.

    One round at a time, and none longer than ROUND_S and one message: a server that hangs must leave the job worker's
    other thread to its other work.
    """
    if not _sending.acquire(blocking=False):
        return 0
    try:
        sent, over_at = 0, time.monotonic() + ROUND_S
        while time.monotonic() < over_at and (delivery := claim(now or timezone.now())) is not None:
            sent += attempt(delivery, now)
        return sent
    finally:
        _sending.release()


def claim(now: datetime) -> Delivery | None:
    """The first that is due, of each channel and receiver only the oldest that waits; nobody else gets it meanwhile."""
    waiting = Delivery.objects.filter(state=State.WAITING)
    older = waiting.filter(channel=OuterRef("channel"), receiver=OuterRef("receiver"), pk__lt=OuterRef("pk"))
    due = waiting.filter(~Exists(older), next_at__lte=now).order_by("next_at", "pk")
    for delivery in due.select_related("site", "camera", "outage", "receiver")[:5]:
        mine = Delivery.objects.filter(pk=delivery.pk, state=State.WAITING, next_at=delivery.next_at)
        if mine.update(next_at=now + CLAIMED, tries=F("tries") + 1):
            delivery.tries += 1
            return delivery
    return None


def attempt(delivery: Delivery, now: datetime | None = None) -> bool:
    """Send one, and note how it went; whether it was taken."""
    row = Delivery.objects.filter(pk=delivery.pk)
    try:
        send(delivery)
    except SendError as error:
        at = now or timezone.now()
        over = error.permanent or at - delivery.created_at > GIVE_UP_AFTER
        log.warning("delivery %s was not taken: %s", delivery.pk, error)
        state = State.FAILED if over else State.WAITING
        row.update(state=state, next_at=at + pause_after(delivery.tries), why=str(error)[:300])
        return False
    except Exception:
        log.exception("delivery %s could not be made", delivery.pk)
        row.update(state=State.FAILED, why=_("The portal failed while sending; its log says more."))
        return False
    row.update(state=State.SENT, sent_at=now or timezone.now(), why="")
    return True


def pause_after(tries: int) -> timedelta:
    """Until the next try: half a minute, and twice as long each time, to an hour.

    >>> [pause_after(tries).total_seconds() for tries in (1, 2, 3, 20)]
    [30.0, 60.0, 120.0, 3600.0]
    """
    return min(LONGEST_PAUSE, FIRST_PAUSE * int(2 ** min(20, tries - 1)))


def send_again(delivery: Delivery) -> None:
    """By hand: as if it had just been decided."""
    now = timezone.now()
    Delivery.objects.filter(pk=delivery.pk, state=State.FAILED).update(
        state=State.WAITING, next_at=now, created_at=now, tries=0, why=""
    )
