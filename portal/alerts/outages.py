"""Which outages are worth telling: after a minute, again after an hour and a day, and their end if they were told."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from cameras.models import Camera, Outage
from portal.alerts.happenings import iso
from portal.alerts.rules import Event, Happening, tell
from portal.alerts.trouble import is_time
from portal.models import Delivery, Topic

FIRST_AFTER = timedelta(minutes=1)
STAGES = (
    (timedelta(days=1), Event.OUTAGE_DAY),
    (timedelta(hours=1), Event.OUTAGE_HOUR),
    (FIRST_AFTER, Event.OUTAGE_BEGAN),
)
LOOK_BACK = timedelta(days=2)  # for ends that were not told while the portal was down
GATHERED = timedelta(seconds=10)  # cameras that fail together are told together


def consider(now: datetime | None = None) -> int:
    """Write what is to be told now; returns how many deliveries. Three queries where nothing is new."""
    now = now or timezone.now()
    open_ones = Outage.objects.filter(Camera.wanted("camera__"), ended_at=None, began_at__lte=now - FIRST_AFTER)
    # One that ended because its camera was paused or is gone is not "back".
    ended = Outage.objects.filter(
        Camera.wanted("camera__"), ended_at__gt=now - LOOK_BACK, deliveries__isnull=False
    ).distinct()
    with_site = ("camera__site__policy",)
    outages = [*open_ones.select_related(*with_site), *ended.select_related(*with_site)]
    told: dict[int, set[str]] = defaultdict(set)
    rows = Delivery.objects.filter(outage__in=[outage.pk for outage in outages])
    for outage_id, name in rows.values_list("outage_id", "event").distinct():
        if outage_id is not None:
            told[outage_id].add(name)
    due = []
    for each in outages:
        event = next_event(each, told[each.pk], now)
        if event is not None and (event not in told[each.pk] or is_time(f"outage-{each.pk}-{event}")):
            due.append((each, event))
    if not due:
        return 0
    with transaction.atomic():
        return tell(
            *(
                Happening(
                    outage.camera.site, event, Topic.OUTAGE, str(outage.pk), body_of(outage, event), outage.camera,
                    outage=outage, at=now, after=GATHERED,
                )
                for outage, event in due
            )
        )  # fmt: skip


def next_event(outage: Outage, told: set[str], now: datetime) -> Event | None:
    """What is to be told of an outage; None if nothing. Of stages that were missed, only the last.

    A stage stays due as long as it lasts: another rule may begin to be in force. Who was told is not told again.
    """
    if outage.ended_at is not None:
        return None if Event.OUTAGE_ENDED in told or not told else Event.OUTAGE_ENDED
    return next((event for after, event in STAGES if now - outage.began_at >= after), None)


def body_of(outage: Outage, event: Event) -> dict[str, Any]:
    """An outage as other systems get it."""
    camera = outage.camera
    return {
        "event_type": "camera-back" if event == Event.OUTAGE_ENDED else "camera-down",
        "id": outage.pk,
        "site": {"id": camera.site.pk, "name": camera.site.name},
        "camera": {"id": camera.pk, "name": camera.name},
        "reason": outage.reason,
        "began_at": iso(outage.began_at),
        "ended_at": iso(outage.ended_at),
        "link": f"{settings.BASE_URL}{reverse('camera', args=[camera.pk])}",
    }
