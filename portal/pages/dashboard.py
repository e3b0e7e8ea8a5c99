"""The first page: live tiles, and a strip that says whether all is well."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from cameras.models import Site
from cameras.redis import Errors
from cameras.states import CameraState
from portal import access
from portal.access import AnyUser
from portal.live import messages
from portal.models import Passage
from portal.notices import current_notices


@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    cameras = list(access.cameras(request.user).order_by("site__name", "name"))
    tiles = [{"camera": camera, "state": messages.camera(camera)} for camera in cameras]
    return render(request, "dashboard/dashboard.html", {"tiles": tiles, **strip_context(request.user)})


@require_safe
def strip(request: HttpRequest) -> HttpResponse:
    """The strip alone, for a page that stays open."""
    return render(request, "dashboard/strip.html", strip_context(request.user))


def strip_context(user: AnyUser) -> dict[str, Any]:
    """People seen today, how many of them masked, how the cameras are, and what the portal has to say."""
    try:
        notices = current_notices()
    except Errors:
        notices = []
    return {"today": seen_today(list(access.sites(user))), "cameras": count_cameras(user), "notices": notices}


def count_cameras(user: AnyUser) -> dict[str, int | None]:
    """How many cameras are watched, down (and which is the first of them) and paused. One query."""
    rows = access.cameras(user).order_by("site__name", "name").values_list("pk", "paused", "lease__state")
    states = [(pk, "paused" if paused else state) for pk, paused, state in rows]
    down = [pk for pk, state in states if state not in {"paused", CameraState.ONLINE.value}]
    paused = sum(state == "paused" for _, state in states)
    return {
        "watched": len(states) - paused,
        "down": len(down),
        "first_down": down[0] if down else None,
        "paused": paused,
    }


def seen_today(sites: list[Site], now: datetime | None = None) -> dict[str, int]:
    """People whose label is sure, since each site's own midnight, and how many of them had a mask. One query."""
    now = now or timezone.now()
    today = Q(pk__in=[])
    for site in sites:
        midnight = datetime.combine(site.local(now).date(), time(), site.zone).astimezone(UTC)
        today |= Q(site=site, started_at__gte=midnight)
    sure = Passage.objects.filter(today, label__in=("mask", "no_mask", "incorrect"))
    counts: dict[str, int] = sure.aggregate(people=Count("pk"), masked=Count("pk", filter=Q(label="mask")))
    return counts
