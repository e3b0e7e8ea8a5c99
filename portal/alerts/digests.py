"""The day's and the week's figures of a site, each morning at seven and each Monday, if anything happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from cameras.models import Camera, Outage, Site
from cameras.redis import connection
from portal.alerts.rules import Event, Happening, tell
from portal.figures.reports import report
from portal.models import Topic, Violation, policy_of

AT = time(7, 0)
DONE_KEY = "digests-done"  # a set of "site:event:day"; kept for DONE_S after the last one
DONE_S = 9 * 24 * 3600
DISMISSED_AGAIN = 3  # so often, a spot is worth a look: a poster, a shadow, a reflection


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
    body = figures_of(site, first, last)
    if not any(body[name] for name in ("seen", "to_review", "cameras_down")):
        return 0  # nothing happened
    topic = Topic.DAILY if event == Event.DAILY else Topic.WEEKLY
    page = f"{reverse('figures')}?site={site.pk}&from={first}&to={last}"
    about = {"event_type": event.value, "site": {"id": site.pk, "name": site.name}, "path": page}
    body |= about | {"first_day": first.isoformat(), "last_day": last.isoformat(), "link": f"{settings.BASE_URL}{page}"}
    with transaction.atomic():
        return tell(Happening(site, event, topic, f"{site.pk}:{first}", body, at=now))


def figures_of(site: Site, first: date, last: date) -> dict[str, Any]:
    """What a site saw from one of its days to another, both included, and what to look at. Nine queries."""
    found = report([site], first, last)
    start, end = site.midnight(first), site.midnight(last + timedelta(days=1))
    open_ones = Violation.objects.filter(site=site, started_at__gte=start, started_at__lt=end)
    down = Outage.objects.filter(camera__site=site, began_at__lt=end).exclude(ended_at__lt=start)
    times = Counter(down.values_list("camera_id", flat=True))
    names = dict(Camera.objects.filter(site=site).values_list("pk", "name"))
    lost = {line.key: line.counted.lost_hours for line in found.cameras}
    return {
        "seen": found.total.seen,
        "masked": found.total.mask,
        "percent": found.total.percent,
        "change": found.change,
        "goal": policy_of(site).mask_goal,
        "coverage": found.total.coverage,
        "to_review": open_ones.filter(status=Violation.Status.OPEN).count(),
        "worst_hours": [
            {"weekday": day, "hour": hour, "bare": counted.bare, "seen": counted.seen}
            for day, hour, counted in found.worst
        ],
        "cameras_down": [
            {"name": names[key], "times": count, "hours": lost.get(key, 0)} for key, count in times.most_common(5)
        ],
        "dismissed_at": [
            {"name": names[line.key], "times": line.counted.dismissed}
            for line in found.cameras
            if line.counted.dismissed >= DISMISSED_AGAIN
        ],
    }
