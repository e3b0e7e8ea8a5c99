"""Deciding about all violations that fit the filter: begun from the list, shown while it goes on, and undone."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from cameras import tasks
from cameras.redis import Errors
from portal.events import bulk_review
from portal.models import BulkReview, Violation
from portal.pages.pending_review import ReviewRequest
from portal.pages.violation_filter import ViolationFilterForm
from portal.people import access

SHOWN_FOR = timedelta(minutes=10)
STATUSES = {Violation.Status.CONFIRMED, Violation.Status.DISMISSED}


def begin(request: HttpRequest, given: ReviewRequest, back: str) -> HttpResponse:
    """Decide about all that fit, as the list showed it: "filter", and "as_of", since when nothing new counts."""
    form = ViolationFilterForm(request.user, QueryDict(request.POST.get("filter", "")), is_list=True)
    try:
        as_of = datetime.fromtimestamp(float(request.POST.get("as_of", "")), timezone.get_current_timezone())
    except (ValueError, OverflowError, OSError):
        as_of = timezone.now()
    if given.status not in STATUSES or not form.is_valid():
        messages.warning(
            request, _("Nothing was decided: the filter does not work. Correct it, then confirm or dismiss.")
        )
        return redirect(back)
    rows = form.narrow(access.violations(request.user)).filter(opened_at__lte=as_of)
    try:
        bulk_review.begin(access.person(request), rows, given.status, given.reason)
    except ValidationError as error:
        messages.warning(request, " ".join(error.messages))
        return redirect(back)
    _ring()
    return redirect(back)


def _ring() -> None:
    """The job worker begins at once; if the broker is away, beat rings within seconds."""
    with suppress(*Errors, ConnectionError):
        tasks.send("portal.tasks.reviews", (), "default")


def shown(request: HttpRequest) -> list[dict[str, Any]]:
    """What a person's last decisions about many have come to, as pages show it. One query."""
    return [_described(each) for each in bulk_review.recent_of(access.person(request), SHOWN_FOR)]


def _described(bulk: BulkReview) -> dict[str, Any]:
    is_over = bulk.ended_at is not None
    if not is_over:
        text = _("%(done)d of %(count)d decided. You can carry on meanwhile.")
        told = text % {"done": bulk.position, "count": bulk.count}
    elif bulk.undoes_id:
        text = ngettext("%(count)d is as it was before.", "%(count)d are as they were before.", bulk.done)
        told = text % {"count": bulk.done}
    elif bulk.status == Violation.Status.CONFIRMED:
        told = ngettext("%(count)d confirmed.", "%(count)d confirmed.", bulk.done) % {"count": bulk.done}
    else:
        told = ngettext("%(count)d dismissed.", "%(count)d dismissed.", bulk.done) % {"count": bulk.done}
    if is_over and bulk.late:
        text = ngettext(
            "%(count)d was left out: somebody else had decided on it, or it is gone.",
            "%(count)d were left out: somebody else had decided on them, or they are gone.",
            len(bulk.late),
        )
        told += " " + text % {"count": len(bulk.late)}
    return {
        "id": str(bulk.pk),
        "told": told,
        "position": bulk.position,
        "count": bulk.count,
        "is_over": is_over,
        "may_undo": is_over and not bulk.undoes_id and bulk.done > 0,
    }


def _own(request: HttpRequest, bulk_id: UUID) -> BulkReview:
    found = BulkReview.objects.filter(pk=bulk_id, user=access.person(request)).first()
    if found is None:
        raise Http404
    return found


@never_cache
@require_safe
def progress(request: HttpRequest, bulk_id: UUID) -> HttpResponse:
    """How far it has come, for the page that shows it."""
    return JsonResponse(_described(_own(request, bulk_id)))


@require_POST
def undo(request: HttpRequest, bulk_id: UUID) -> HttpResponse:
    """Let all of them be as they were, but for those that somebody has decided about since."""
    bulk_review.undo(_own(request, bulk_id))
    _ring()
    return redirect("violations")
