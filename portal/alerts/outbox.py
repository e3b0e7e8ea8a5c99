"""Sends what waits, in order for each lane (a channel and a receiver), at least once.

A lane's first message that was tried, or is due, comes first. What waits there for the same event, site and camera is
sent with it, as one message, if people read it. Rows are claimed before they are sent, by moving their next try ahead:
a process that is killed in between sends them again after that. What is refused for good stops with its reason; the
rest is tried again after growing pauses, for a day.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.alerts.channels import SendError, send
from portal.alerts.rules import MQTT_LANE
from portal.alerts.wording import VIOLATION_EVENTS
from portal.models import Delivery, Membership

log = logging.getLogger(__name__)

CLAIMED = timedelta(minutes=2)  # by then it was sent, or whoever sent it is gone
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(days=1)
MOST_TOGETHER = 500
MOST_FAULTS = 5  # of ours, until it is given up
State, Channel = Delivery.State, Delivery.Channel
WITH = ("site__policy", "camera", "violation", "outage", "rule", "receiver", "destination")


def due_lanes(now: datetime | None = None, without: Collection[str] = ()) -> list[str]:
    """The lanes in which something is due, but for MQTT's, which has a sender of its own. One query."""
    # Not "other than": two ranges of an index pass over whatever waits for a broker that is away.
    others = Q(lane__lt=MQTT_LANE) | Q(lane__gt=MQTT_LANE)
    rows = waiting().filter(others, next_at__lte=now or timezone.now())
    return sorted(set(rows.exclude(lane__in=without).values_list("lane", flat=True).distinct()))


def waiting(lane: str | None = None) -> QuerySet[Delivery]:
    rows = Delivery.objects.filter(state=State.WAITING)
    return rows if lane is None else rows.filter(lane=lane)


def send_due(now: datetime | None = None) -> int:
    """Send all that is due, one lane after the other; returns how many were taken by the other side."""
    return sum(send_lane(lane, now) for lane in due_lanes(now))


def send_lane(lane: str, now: datetime | None = None) -> int:
    """Send what is due in one lane; returns how many were taken."""
    sent = 0
    while batch := claim(lane, now or timezone.now()):
        if not attempt(batch, now):
            return sent
        sent += len(batch)
    return sent


def claim(lane: str, now: datetime) -> list[Delivery]:
    """What is to be sent next in this lane, as one message; nobody else gets it meanwhile. Empty if nothing is due."""
    begun = waiting(lane).filter(Q(tries__gt=0) | Q(next_at__lte=now))
    head = begun.order_by("pk").select_related(*WITH).first()
    if head is None or head.next_at > now:
        return []  # nothing, or its first message was not taken and is tried again later: the others stay behind it
    claimed = {"next_at": now + CLAIMED, "tries": F("tries") + 1}
    if not Delivery.objects.filter(pk=head.pk, state=State.WAITING, next_at=head.next_at).update(**claimed):
        return []
    head.tries += 1
    if not is_gathered(head):
        return [head]
    like = waiting(lane).filter(event=head.event, site=head.site_id, next_at__lte=now).exclude(pk=head.pk)
    if head.tries > 1:  # the same message again, under the same id: whoever has it drops it, with all that is in it
        like = like.filter(tries__gt=0)
    if head.event in VIOLATION_EVENTS:
        like = like.filter(camera=head.camera_id)
    rest = list(like.order_by("pk").select_related(*WITH)[:MOST_TOGETHER])
    Delivery.objects.filter(pk__in=[row.pk for row in rest]).update(**claimed)
    return [head, *rest]


def is_gathered(delivery: Delivery) -> bool:
    """Whether people read it, and rather one message about several things than several messages."""
    if delivery.channel == Channel.DESTINATION:
        return delivery.destination is not None and not delivery.destination.is_machine
    return delivery.channel != Channel.MQTT and delivery.event != Delivery.Event.VIOLATION_CLOSED


def attempt(batch: list[Delivery], now: datetime | None = None) -> bool:
    """Send one message, and note how it went; whether it was taken."""
    rows, first = Delivery.objects.filter(pk__in=[row.pk for row in batch]), batch[0]
    at = now or timezone.now()
    try:
        check_still_allowed(first)
        send(batch)
    except SendError as error:
        log.warning("delivery %s was not taken: %s", first.pk, error)
        over, why = error.permanent, str(error)[:300]
    except DatabaseError:
        raise  # the claim ends by itself, and it is tried again
    except Exception:
        log.exception("delivery %s could not be made", first.pk)
        over, why = first.tries >= MOST_FAULTS, _("The portal failed while sending; its log says more.")
    else:
        rows.update(state=State.SENT, sent_at=now or timezone.now(), next_at=at, why="")
        return True
    over = over or at - first.created_at > GIVE_UP_AFTER
    rows.update(state=State.FAILED if over else State.WAITING, next_at=at + pause_after(first.tries), why=why)
    return False


def check_still_allowed(delivery: Delivery) -> None:
    """Raise SendError if its receiver may no longer know of this site: the rule is older than their leaving."""
    user = delivery.receiver
    if user is not None and delivery.rule is not None and delivery.rule.stopped_by.filter(pk=user.pk).exists():
        raise SendError(_("This person has stopped these messages."), permanent=True)
    if user is None or (user.is_active and user.is_superuser):
        return
    if not user.is_active or not Membership.objects.filter(user=user, site=delivery.site_id).exists():
        raise SendError(_("This person has no access to the site any more."), permanent=True)


def pause_after(tries: int) -> timedelta:
    """Until the next try: five seconds, and twice as long each time, to a quarter of an hour.

    >>> [pause_after(tries).total_seconds() for tries in (1, 2, 3, 20)]
    [5.0, 10.0, 20.0, 900.0]
    """
    return min(LONGEST_PAUSE, FIRST_PAUSE * int(2 ** min(20, tries - 1)))


def send_again(delivery: Delivery) -> None:
    """By hand: as if it had just been decided."""
    now = timezone.now()
    Delivery.objects.filter(pk=delivery.pk, state=State.FAILED).update(
        state=State.WAITING, next_at=now, created_at=now, tries=0, why=""
    )
