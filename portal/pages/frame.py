"""What every page shows around its content."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from portal import access
from portal.models import Violation


def open_violations(request: HttpRequest) -> int:
    """How many violations wait for a review at this person's sites."""
    user = request.user
    if not user.is_authenticated:
        return 0
    return Violation.objects.filter(site__in=access.sites(user), status=Violation.Status.OPEN).count()


def frame(request: HttpRequest) -> dict[str, Any]:
    """The counter beside “Violations” in the navigation, counted only where a page shows it."""
    return {"open_violations": lambda: open_violations(request)}
