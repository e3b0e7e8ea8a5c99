"""What the portal itself has to tell: its own notices, once a day while they last, and sites that nobody watches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from cameras.models import Camera, Site
from cameras.redis import connection
from cameras.states import CameraState
from portal.alerts.rules import Event, Happening, tell
from portal.models import Topic

LASTS = timedelta(seconds=60)  # what passes sooner is nobody's business
SINCE_KEY = "notice-since:"
CONSIDERED_KEY, CONSIDERED_S = "notice-considered:", 300
FORGOTTEN_S = 30  # a notice that was gone for so long begins anew


def consider_notices(notices: Mapping[str, str], now: datetime | None = None) -> int:
    """Tell the notices, sentences by a short key, that have lasted; each once a day and receiver."""
    now = now or timezone.now()
    due = {key: text for key, text in notices.items() if lasted(key, now) and is_time(key)}
    if not due:
        return 0
    sites = list(Site.objects.filter(archived_at=None))
    with transaction.atomic():
        return tell(
            *(
                Happening(
                    site, Event.PORTAL, Topic.PORTAL, f"{key}:{now:%Y%m%d}",
                    {"event_type": "portal", "kind": key, "text": text, "link": settings.BASE_URL}, at=now,
                )
                for key, text in due.items()
                for site in sites
            )
        )  # fmt: skip


def lasted(key: str, now: datetime) -> bool:
    """Whether a notice has been seen without a break for LASTS."""
    name = f"{SINCE_KEY}{key}"
    connection().set(name, str(now.timestamp()), ex=FORGOTTEN_S, nx=True)
    connection().expire(name, FORGOTTEN_S)
    since = float(cast("bytes | None", connection().get(name)) or now.timestamp())
    return now.timestamp() - since >= LASTS.total_seconds()


def is_time(key: str) -> bool:
    """Whether what lasts is to be considered again: whoever was told is told once, but others may have joined."""
    return bool(connection().set(f"{CONSIDERED_KEY}{key}", b"1", ex=CONSIDERED_S, nx=True))


def consider_unwatched(now: datetime | None = None) -> int:
    """Tell, once an hour, of sites whose cameras all wait for a worker. One query if there is none."""
    now = now or timezone.now()
    waits = Q(lease__state=CameraState.WAITING, lease__state_since__lt=now - LASTS)
    rows = Camera.objects.filter(Camera.wanted()).values("site_id")
    counts = rows.annotate(all=Count("pk"), waiting=Count("pk", filter=waits)).values_list("site_id", "all", "waiting")
    unwatched = [site for site, cameras, waiting in counts if cameras == waiting and is_time(f"unwatched-{site}")]
    if not unwatched:
        return 0
    with transaction.atomic():
        return tell(
            *(
                Happening(
                    site, Event.NO_WORKER, Topic.NO_WORKER, f"{site.pk}:{now:%Y%m%d%H}",
                    {"event_type": "no-worker", "site": {"id": site.pk, "name": site.name}, "link": settings.BASE_URL},
                    at=now,
                )
                for site in Site.objects.filter(pk__in=unwatched)
            )
        )  # fmt: skip
