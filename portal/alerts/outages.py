"""Which outages are worth telling: after a minute, again after an hour and a day, and their end if they were told."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from cameras.models import Camera, Outage
from portal.models import Delivery, Membership, User

Event = Delivery.Event
FIRST_AFTER = timedelta(minutes=1)
STAGES = (
    (timedelta(days=1), Event.OUTAGE_DAY),
    (timedelta(hours=1), Event.OUTAGE_HOUR),
    (FIRST_AFTER, Event.OUTAGE_BEGAN),
)
LOOK_BACK = timedelta(days=2)  # for ends that were not told while the portal was down


def consider(now: datetime | None = None) -> int:
    """Write what is to be told now; returns how many deliveries. Three queries where nothing is new."""
    if not settings.EMAIL_URL:
        return 0
    now = now or timezone.now()
    open_ones = Outage.objects.filter(Camera.wanted("camera__"), ended_at=None, began_at__lte=now - FIRST_AFTER)
    ended = Outage.objects.filter(ended_at__gt=now - LOOK_BACK, deliveries__isnull=False).distinct()
    outages = [*open_ones.select_related("camera"), *ended.select_related("camera")]
    told: dict[int, set[str]] = defaultdict(set)
    rows = Delivery.objects.filter(outage__in=[outage.pk for outage in outages])
    for outage_id, name in rows.values_list("outage_id", "event").distinct():
        told[outage_id].add(name)
    due = [(outage, event) for outage in outages if (event := next_event(outage, told[outage.pk], now))]
    return write(due)


def next_event(outage: Outage, told: set[str], now: datetime) -> Event | None:
    """What is to be told of an outage; None if nothing. Of stages that were missed, only the last."""
    if outage.ended_at is not None:
        return None if Event.OUTAGE_ENDED in told or not told else Event.OUTAGE_ENDED
    for after, event in STAGES:
        if event in told:
            return None  # this or a later stage was told
        if now - outage.began_at >= after:
            return event
    return None


def write(due: list[tuple[Outage, Event]]) -> int:
    """A row for each receiver: the site's managers who did not switch it off. Two queries for any number."""
    if not due:
        return 0
    sites = {outage.camera.site_id for outage, _event in due}
    receivers: dict[int, list[User]] = defaultdict(list)
    members = Membership.objects.filter(
        site__in=sites, role=Membership.Role.MANAGER, user__is_active=True, user__mail_outages=True
    )
    for member in members.select_related("user"):
        receivers[member.site_id].append(member.user)
    rows = [
        Delivery(
            site_id=outage.camera.site_id, camera_id=outage.camera_id, outage=outage, event=event,
            channel=Delivery.Channel.EMAIL, receiver=user,
        )
        for outage, event in due
        for user in receivers[outage.camera.site_id]
    ]  # fmt: skip
    return len(Delivery.objects.bulk_create(rows, ignore_conflicts=True))
