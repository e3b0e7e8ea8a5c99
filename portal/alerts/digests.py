"""The day's and the week's figures of a site, each morning at seven and each Monday, if anything happened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.urls import reverse
from django.utils import timezone

from cameras.models import Outage, Site
from cameras.redis import connection
from portal.alerts.rules import Event, Happening, tell
from portal.models import Passage, Topic, Violation

AT = time(7, 0)
DONE_KEY = "digests-done"  # a set of "site:event:day"; kept for DONE_S after the last one
DONE_S = 9 * 24 * 3600


def consider(now: datetime | None = None) -> int:
    """Write what is due. One query, and four for each site and day that has not been looked at."""
    now = now or timezone.now()
    due = [row for site in Site.objects.filter(archived_at=None).select_related("policy") for row in periods(site, now)]
    names = [f"{site.pk}:{event}:{first}" for site, event, first, _last in due]
    if not names:
        return 0
    done = cast("list[int]", connection().smismember(DONE_KEY, names))
    count = 0
    for (site, event, first, last), name, is_done in zip(due, names, done, strict=True):
        if not is_done:
            count += tell_period(site, event, first, last, now)
            connection().sadd(DONE_KEY, name)
            connection().expire(DONE_KEY, DONE_S)
    return count


def periods(site: Site, now: datetime) -> Iterator[tuple[Site, Event, date, date]]:
    """The last whole day of a site after seven in the morning, and on a Monday also its last whole week."""
    local = site.local(now)
    if local.time() < AT:
        return
    yesterday = local.date() - timedelta(days=1)
    yield site, Event.DAILY, yesterday, yesterday
    if local.weekday() == 0:
        yield site, Event.WEEKLY, yesterday - timedelta(days=6), yesterday


def tell_period(site: Site, event: Event, first: date, last: date, now: datetime) -> int:
    figures = figures_of(site, first, last)
    if not any(figures[name] for name in ("seen", "violations", "outages")):
        return 0  # nothing happened
    topic = Topic.DAILY if event == Event.DAILY else Topic.WEEKLY
    body = figures | {
        "event_type": event.value,
        "site": {"id": site.pk, "name": site.name},
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "link": f"{settings.BASE_URL}{reverse('violations')}?site={site.pk}&status=open",
    }
    with transaction.atomic():
        return tell(Happening(site, event, topic, f"{site.pk}:{first}", body, at=now))


def figures_of(site: Site, first: date, last: date) -> dict[str, Any]:
    """What a site saw from one of its days to another, both included. Three queries."""
    start, end = site.midnight(first), site.midnight(last + timedelta(days=1))
    seen = Passage.objects.filter(site=site, started_at__gte=start, started_at__lt=end).aggregate(
        seen=Count("pk", filter=~Q(label="unsure")), masked=Count("pk", filter=Q(label="mask"))
    )
    found = Violation.objects.filter(site=site, started_at__gte=start, started_at__lt=end).aggregate(
        violations=Count("pk"), to_review=Count("pk", filter=Q(status=Violation.Status.OPEN))
    )
    down = Outage.objects.filter(camera__site=site, began_at__lt=end).exclude(ended_at__lt=start)
    outages = [(row.began_at, row.ended_at or end) for row in down.only("began_at", "ended_at")]
    lost = sum((min(ended, end) - max(began, start)).total_seconds() for began, ended in outages)
    return seen | found | {"outages": len(outages), "hours_lost": round(lost / 3600, 1)}
