"""What every page shows around its content, and in whose language, time zone and appearance."""

from __future__ import annotations

import json
import zoneinfo
from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone, translation
from django.views.decorators.http import require_safe

from portal.events import messages
from portal.pages import told
from portal.people import access
from portal.people.access import Right

FORMS = frozenset({"camera_add", "camera", "camera_voice", "site_add", "site", "site_voice", "device_add"})


class PersonalMiddleware:
    """Shows pages in the person's own language and time zone, if they have chosen them; no browser keeps them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        language = user.language if user.is_authenticated else ""
        zone = user.time_zone if user.is_authenticated else ""
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = language
        try:
            timezone.activate(zoneinfo.ZoneInfo(zone)) if zone else timezone.deactivate()
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            timezone.deactivate()
        try:
            response = self.get_response(request)
        finally:
            timezone.deactivate()
        if user.is_authenticated and not response.has_header("Cache-Control") and not is_form(request):
            # Notes, names and faces: whoever uses this browser next must not find them in its cache.
            response["Cache-Control"] = "no-store"
        return response


def is_form(request: HttpRequest) -> bool:
    """Whether this page is mostly what a person types: with "no-store", going back would lose it."""
    return request.resolver_match is not None and request.resolver_match.url_name in FORMS


def page_context(request: HttpRequest) -> dict[str, Any]:
    """Context for templates/base.html; evaluated only by pages that show it, and at most once per page.

    `feeds` is how far this page knows each site's events: the socket continues from there. `to_review` is the counter.
    Someone who has not yet given the second factor sees no more than someone who is signed out.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    if not getattr(request, "is_complete", False):
        return {"half_signed_in": True}

    @cache
    def feeds() -> dict[str, dict[str, int]]:
        return messages.feeds(access.scope(user).site_ids)

    return {
        "signed_in": True,
        "feeds": lambda: json.dumps({site: entry["number"] for site, entry in feeds().items()}),
        "to_review": lambda: sum(entry["to_review"] for entry in feeds().values()),
        "has_site": lambda: bool(feeds()),
        "news_count": cache(lambda: told.count_news(user)),
        "may_set_up": lambda: user.is_superuser or access.sites(user, Right.SET_UP).exists(),
    }


@require_safe
def more(request: HttpRequest) -> HttpResponse:
    """What does not fit into the bar at the bottom of a phone."""
    return render(request, "more.html")


@login_not_required
@require_safe
def offline(request: HttpRequest) -> HttpResponse:
    """What an installed app shows while it cannot reach us; the same for everybody (static/portal/push-worker.js)."""
    return render(request, "offline.html")
