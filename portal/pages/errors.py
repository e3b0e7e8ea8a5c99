"""Error pages: what happened, what to do, and a number to quote."""

from __future__ import annotations

import errno
import logging
import secrets
import shutil
import sys
from collections.abc import Callable

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.pages import pending_review
from portal.people.hashing import BusyError

log = logging.getLogger(__name__)

NO_ROOM_BYTES = 1_000_000


def is_full_disk(error: BaseException | None) -> bool:
    """Whether this error, or one that caused it, says that no room is left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if "database or disk is full" in str(error):
            return True
        if isinstance(error, OperationalError) and shutil.disk_usage(settings.DATA_DIR).free < NO_ROOM_BYTES:
            return True  # SQLite words this in several ways
        error = error.__cause__ or error.__context__
    return False


def is_busy(error: BaseException | None) -> bool:
    """Whether this error, or one that caused it, says that another process holds the database."""
    while error is not None:
        if isinstance(error, OperationalError) and "locked" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500. Renders without a database, which may be the very thing that failed."""
    number = secrets.token_hex(4)
    error = sys.exc_info()[1]
    log.error("error %s at %s", number, request.path, exc_info=error)
    if is_full_disk(error):
        title = _("The disk of the portal's machine is full")
        advice = _("Nothing you typed was saved. Free some space there, then try again; cameras go on watching.")
        status = 507
    elif isinstance(error, BusyError):
        title = _("Many people are signing in at this moment")
        advice = _("Wait a few seconds, then try again.")
        status = 503
    elif is_busy(error):
        title = _("The database is busy")
        advice = _("Nothing you typed was saved. Try again in a moment; cameras go on watching.")
        status = 503
    else:
        title = _("Something went wrong on our side")
        advice = _("Nothing else is affected. Try again; if it persists, tell this portal's operator the number below.")
        status = 500
    page = render_to_string("error.html", {"title": title, "advice": advice, "number": number})
    return HttpResponse(page, status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    context = {
        "title": _("There is no such page"),
        "advice": _("It may be gone, or belong to a site that you are not a member of. Ask its manager for access."),
    }
    return render(request, "not_here.html", context, status=404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    context = {
        "title": _("Your role does not allow this"),
        "advice": _(
            "You can look at this site, but your role does not let you do that. Ask its manager for a different role."
        ),
    }
    return render(request, "not_here.html", context, status=403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form from an older session. A review is not lost: it is kept, and decides nothing by itself."""
    if request.method == "POST" and request.path == reverse("review") and pending_review.is_ours(request):
        return pending_review.keep_for_later(request)
    context = {
        "title": _("This form has expired"),
        "advice": _("Go back, load the page again, and send it once more. Cookies must be allowed for this address."),
    }
    return render(request, "error.html", context, status=403)


class MethodMiddleware:
    """An address that only takes a form says so on a page: a browser would show nothing for a bare 405."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code != 405 or request.method not in {"GET", "HEAD"} or response.content:
            return response
        context = {
            "title": _("There is nothing to see here"),
            "advice": _(
                "This address only accepts forms. If you pressed a button before you signed in, nothing "
                "was done: go back, and press it again."
            ),
        }
        page = render(request, "not_here.html" if request.user.is_authenticated else "error.html", context, status=405)
        page["Allow"] = response["Allow"]
        return page
