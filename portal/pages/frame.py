"""What every page shows around its content."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.http import HttpRequest

from portal import access
from portal.access import Right
from portal.live import messages


def frame(request: HttpRequest) -> dict[str, Any]:
    """For templates/base.html; asked only by pages that show it, and at most once a page.

    `feeds` is how far this page knows each site's events: the socket goes on from there. `to_review` is the counter.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}

    @cache
    def feeds() -> dict[str, dict[str, int]]:
        return messages.feeds(access.scope(user).site_ids)

    return {
        "feeds": lambda: json.dumps({site: entry["number"] for site, entry in feeds().items()}),
        "to_review": lambda: sum(entry["to_review"] for entry in feeds().values()),
        "has_site": lambda: bool(feeds()),
        "may_set_up": lambda: access.sites(user, Right.SET_UP).exists(),
    }
