"""How a camera has been: its last day in numbers, when it watched today, and what would make it see better."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cameras.models import Camera
from cameras.redis import Errors
from cameras.setup.placement import advise
from cameras.states import CameraState
from cameras.watching import seen
from cameras.watching.health import read_health
from portal.figures import hours
from portal.models import Passage
from portal.models.events import WearLabel

A_DAY = timedelta(days=1)
LEAST = timedelta(minutes=1)  # the list of outages has what is shorter
WORDS = {"pauses": _("paused"), "outages": _("no picture"), "nobody": _("not watched")}


@dataclass(frozen=True)
class Unwatched:
    """A part of the day in which it did not watch; `left` and `width` in percent of the day."""

    kind: str
    left: float
    width: float
    text: str


def health_of(camera: Camera, now: datetime | None = None) -> dict[str, Any]:
    """What its page shows. Five queries, and one round trip to Redis; without Redis, what the database knows."""
    now = now or timezone.now()
    context: dict[str, Any] = {"day": day_strip(camera, now)}
    people = Passage.objects.filter(
        site=camera.site_id, camera=camera, started_at__gt=now - A_DAY, ended_at__isnull=False
    )
    counts = people.order_by().aggregate(all=Count("pk"), unsure=Count("pk", filter=Q(label=WearLabel.UNSURE)))
    try:
        health, looked_at = read_health(camera.pk), seen.last_at(camera.pk)
    except Errors:
        return context
    is_online = not camera.paused and getattr(getattr(camera, "lease", None), "state", "") == CameraState.ONLINE
    return context | {
        "health": health,
        "age_s": max(0.0, time.time() - looked_at) if is_online and looked_at else None,
        "cpu_percent": None if health.cpu_share is None else 100 * health.cpu_share,
        "advice": advise(health, counts["all"], counts["unsure"]),
    }


def day_strip(camera: Camera, now: datetime) -> dict[str, Any]:
    """Today at the site, from midnight: what of it has passed, and when the camera was there and did not watch."""
    local = camera.site.local(now)
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    begins = max(start, camera.created_at)
    known = hours.stretches([camera.pk], begins, now)
    spans = {name: known[name][camera.pk] for name in ("pauses", "outages")}
    busy = [*spans["pauses"], *spans["outages"], *known["held"][camera.pk]]
    spans["nobody"] = hours.gaps((begins, now), busy) if begins < now else []
    found = []
    for kind, each in spans.items():
        for began, ended in each:
            first, last = max(began, begins), min(ended, now)
            if last - first < LEAST:
                continue
            text = f"{camera.site.local(first):%H:%M}–{camera.site.local(last):%H:%M} {WORDS[kind]}"
            found.append(Unwatched(kind, 100 * ((first - start) / A_DAY), 100 * ((last - first) / A_DAY), text))
    return {
        "stretches": sorted(found, key=lambda one: one.left),
        "from": 100 * ((begins - start) / A_DAY),
        "width": 100 * ((max(now, begins) - begins) / A_DAY),
        "date": start.date(),
    }
