"""The list of violations, one violation, its pictures, and the review of one or several."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy
from django.views.decorators.http import require_POST, require_safe

from detection import StripPlace
from portal.events import keyset
from portal.events.erasure import erase_passage
from portal.events.review import MOST_AT_ONCE, Outcome, review
from portal.models import Violation
from portal.models.events import newer_than
from portal.pages import bulk_review, pending_review
from portal.pages.pending_review import ReviewRequest, read_request
from portal.pages.spots import OFFERED_FROM, dismissed_at_spot
from portal.pages.violation_filter import ViolationFilterForm
from portal.people import access, audit, looks
from portal.people.access import AnyUser, Right
from portal.people.audit import Action
from portal.people.pictures import PictureGoneError, PictureView, render_glimpse
from portal.people.pictures import render as render_picture
from portal.voice import reminding

PAGE_ROWS = 30  # or groups
TOGETHER = timedelta(minutes=1)
MOST_TOLD = 30
MOST_COUNTED = 1000  # of what fits a filter: a count of everything would grow with history


def count_in_words(rows: QuerySet[Violation]) -> str:
    """How many there are; beyond MOST_COUNTED only that there are more."""
    count = rows.order_by()[: MOST_COUNTED + 1].count()
    if count > MOST_COUNTED:
        return _("More than %(count)d violations") % {"count": MOST_COUNTED}
    return ngettext("%(count)d violation", "%(count)d violations", count) % {"count": count}


def grouped(rows: list[Violation]) -> list[list[Violation]]:
    """The first PAGE_ROWS groups of these rows: of one camera, within a minute of the group's first.

    They hold the first so many rows, and no other: whatever cannot join a group any more begins the next page.
    """
    groups: list[list[Violation]] = []
    newest: dict[int, list[Violation]] = {}
    for row in rows:
        group = newest.get(row.camera_id)
        if group is not None and abs(group[0].started_at - row.started_at) < TOGETHER:
            group.append(row)
            continue
        if len(groups) == PAGE_ROWS:
            break
        newest[row.camera_id] = [row]
        groups.append(newest[row.camera_id])
    return groups


def cursor_of(row: Violation) -> str:
    return keyset.cursor_of(row.started_at, row.pk)


@require_safe
def violations(request: HttpRequest) -> HttpResponse:
    form = ViolationFilterForm(request.user, request.GET, is_list=True)
    rows = access.violations(request.user)
    rows = form.narrow(rows) if form.is_valid() else rows.none()
    fitting = count_in_words(rows)
    if cursor := request.GET.get("before", ""):
        try:
            position = keyset.read_cursor(cursor)
        except ValueError:
            return redirect("violations")
        rows = rows.filter(newer_than(*position) if form.is_oldest_first else keyset.behind(*position))
    if form.is_oldest_first:
        found = list(rows.order_by(*form.ordering)[: MOST_AT_ONCE + 1])
    else:
        found = keyset.newest(rows, MOST_AT_ONCE + 1, position[0] if cursor else datetime.now(UTC))
    groups = grouped(found[:MOST_AT_ONCE])
    page = [row for group in groups for row in group]
    more, last = found[len(page) :], found[len(page) - 1] if page else None
    looks.note_list(request, page)
    chosen = form.chosen
    context = {
        "form": form,
        "waiting": pending_review.waiting(request),
        "rows": page,
        "groups": groups,
        "chosen": chosen,
        "filtered": form.is_narrowed,
        "summary": form.summary(),
        "fitting": fitting,
        "bulks": bulk_review.shown(request),
        "as_of": datetime.now(UTC).timestamp(),
        "has_more": bool(more) or bool(cursor),
        "none_yet": not page and not access.violations(request.user).exists(),
        "first_page": not cursor,
        "next_page": f"{chosen}&{urlencode({'before': cursor_of(last)})}" if more and last else "",
        "reasons": Violation.Reason.choices,
        "reviewable": set(access.sites(request.user, Right.REVIEW).values_list("pk", flat=True)),
    }
    return render(request, "violations/violations.html", context)


@require_safe
def violation(request: HttpRequest, violation_id: UUID) -> HttpResponse:
    found = access.get_violation(request.user, violation_id)
    audit.about(request, found.site)
    looks.note_page(request, found)
    return render(request, "violations/violation.html", violation_context(request, found, request.GET))


def violation_context(request: HttpRequest, found: Violation, filtering: QueryDict) -> dict[str, Any]:
    """`filtering` is that of the list the person came from: older and newer refer to that list."""
    form = ViolationFilterForm(request.user, filtering)
    rows = access.violations(request.user)
    rows = form.narrow(rows) if form.is_valid() else rows
    spoken = list(found.reminders.order_by("decided_at"))
    strip = list(found.glimpses.order_by("captured_at"))
    best_at = next((each.captured_at for each in strip if each.place == StripPlace.BEST), found.snapshot_at)
    waiting = pending_review.waiting(request, found)
    may_set_up = access.may(request.user, Right.SET_UP, found.site_id)
    return {
        "violation": found,
        "chosen": form.chosen if form.is_valid() else "",
        "waiting": waiting,
        "note": found.note if waiting is None or waiting.note is None else waiting.note,
        "reasons": Violation.Reason.choices,
        "may_review": access.may(request.user, Right.REVIEW, found.site_id),
        "may_erase": may_set_up,
        "at_spot": dismissed_at_spot(found) if may_set_up and found.status == Violation.Status.DISMISSED else 0,
        "may_see_faces": access.may(request.user, Right.SEE_FACES, found.site_id),
        "after": next_newer(rows, found) if form.is_oldest_first else next_older(rows, found),
        "before": next_older(rows, found) if form.is_oldest_first else next_newer(rows, found),
        "is_oldest_first": form.is_oldest_first,
        "spoken": spoken,
        "strip": [(each, seconds_from(best_at, each.captured_at)) for each in strip],
        "told": found.deliveries.select_related("receiver", "destination").order_by("pk")[:MOST_TOLD],
        "masked_after_s": reminding.masked_after_s(found, spoken),
    }


def seconds_from(best_at: datetime | None, at: datetime) -> str:
    """How much earlier or later than the best picture another was taken, in words."""
    seconds = (at - best_at).total_seconds() if best_at else 0.0
    if abs(seconds) < 0.05:
        return _("the snapshot")
    text = _("%(seconds)s s earlier") if seconds < 0 else _("%(seconds)s s later")
    return text % {"seconds": number_format(abs(seconds), 1 if abs(seconds) < 9.95 else 0)}


def next_older(rows: QuerySet[Violation], row: Violation) -> Violation | None:
    return next(iter(keyset.newest(rows.filter(keyset.behind(row.started_at, row.pk)), 1, row.started_at)), None)


def next_newer(rows: QuerySet[Violation], row: Violation) -> Violation | None:
    return next(iter(keyset.oldest(rows.filter(newer_than(row.started_at, row.pk)), 1, row.started_at)), None)


@require_safe
def picture(request: HttpRequest, violation_id: UUID, view: str) -> HttpResponse:
    """The snapshot, the face, or a thumbnail; pixelated for a viewer. `?download` gives the file, with faces."""
    found = access.get_violation(request.user, violation_id)
    if "download" in request.GET:
        access.require(request.user, Right.SEE_FACES, found.site_id)
    try:
        data = render_picture(found, access.audience(request.user, found), PictureView(view))
    except PictureGoneError as error:
        raise Http404 from error
    looks.note_picture(request, found, large=PictureView(view) is PictureView.FULL)
    answer = jpeg_answer(data)
    if "download" in request.GET:
        name = f"{found.site.local(found.started_at):%Y-%m-%d %H-%M-%S}.jpg"
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@require_safe
def glimpse(request: HttpRequest, violation_id: UUID, place: int) -> HttpResponse:
    """One picture of the filmstrip; pixelated for a viewer."""
    found = access.get_violation(request.user, violation_id)
    row = get_object_or_404(found.glimpses, place=place)
    try:
        data = render_glimpse(row, access.audience(request.user, found))
    except PictureGoneError as error:
        raise Http404 from error
    looks.note_picture(request, found, large=False)
    return jpeg_answer(data)


def jpeg_answer(data: bytes) -> HttpResponse:
    answer = HttpResponse(data, content_type="image/jpeg")
    answer["Cache-Control"] = "private, no-store"
    return answer


@require_POST
def erase_person(request: HttpRequest, violation_id: UUID) -> HttpResponse:
    """Erase the person of this violation: all rows and pictures of that passage, now and for good."""
    found = access.get_violation(request.user, violation_id)
    access.require(request.user, Right.SET_UP, found.site_id)
    if request.POST.get("sure") != "yes":
        messages.warning(request, _("Nothing was erased: tick the box first. Erasing cannot be undone."))
        return redirect("violation", found.pk)
    count = erase_passage(found.passage)
    audit.note(request, Action.PERSON_ERASED, looks.describe(found), found.site)
    messages.success(
        request,
        ngettext(
            "This person is erased: one violation, its pictures, and when they came and went.",
            "This person is erased: %(count)d violations, their pictures, and when they came and went.",
            count,
        )
        % {"count": count},
    )
    return redirect("violations")


# -- reviewing --------------------------------------------------------------------------------------------------------


@login_not_required
def review_violations(request: HttpRequest) -> HttpResponse:
    """Confirm, dismiss, reopen or add a note; one or several. Then go on to the next one, or back to the list.

    What somebody decides after their session ended waits until they have signed in (pending_review.py).
    """
    if request.method != "POST":
        return redirect("violations")  # the way back from signing in
    if not request.user.is_authenticated or not getattr(request, "is_complete", False):
        return pending_review.keep_for_later(request)
    try:
        given = read_request(request)
    except ValidationError:
        return HttpResponseBadRequest("This form was not made by the portal.")
    back = safe_back(request)
    if "all" in request.POST:
        return bulk_review.begin(request, given, back)
    pending_review.decided(request, given.seen)
    if not given.seen:
        messages.warning(request, _("Choose at least one violation first."))
        return redirect(back)
    try:
        outcome = review(request.user, given.seen, given.status, given.note, given.reason)
    except ValidationError as error:
        return refuse_review(request, given, " ".join(error.messages), back)
    if outcome.late and has_new_note(outcome.late[0], given):
        changed = _("Somebody changed this in the meantime. Your note is not saved yet: check it, then save it again.")
        return refuse_review(request, given, changed, back)
    note_outcome(request, given, outcome)
    tell_outcome(request, given, outcome)
    decided = outcome.done + [row for row in outcome.late if is_own(request.user, row, given)]
    if request.POST.get("flow") and decided and given.status not in {None, Violation.Status.OPEN}:
        return redirect(next_in_flow(request, decided[0]))
    return redirect(back)


@require_POST
def forget_review(request: HttpRequest) -> HttpResponse:
    """A decision that waited to be confirmed is no longer wanted."""
    pending_review.forget(request)
    return redirect(safe_back(request))


def has_new_note(row: Violation, given: ReviewRequest) -> bool:
    return bool(given.note and given.note.strip() != row.note)


def is_own(user: AnyUser, row: Violation, given: ReviewRequest) -> bool:
    """Whether this person made the same decision themselves, as when a button was pressed twice."""
    return row.reviewed_by_id == user.pk and row.status == given.status


def refuse_review(request: HttpRequest, given: ReviewRequest, reason: str, back: str) -> HttpResponse:
    """Show the page again with what was typed, and why it was not accepted."""
    if len(given.seen) != 1:
        messages.error(request, reason)
        return redirect(back)
    found = access.get_violation(request.user, next(iter(given.seen)))
    context = violation_context(request, found, QueryDict(request.POST.get("filter", ""))) | {
        "note_error": reason,
        "note": given.note,
    }
    return render(request, "violations/violation.html", context, status=422)


def note_outcome(request: HttpRequest, given: ReviewRequest, outcome: Outcome) -> None:
    """Write one row per site to the audit log, however many were decided at once."""
    for site, count in Counter(row.site for row in outcome.done).items():
        what = f"{given.decision} ({given.reason})" if given.reason else given.decision
        audit.note(request, Action.REVIEWED, f"{what}: {count}", site)


# What is said after a decision: about one violation, and about several.
OUTCOMES = {
    "confirm": (
        gettext_lazy("Confirmed: %(what)s."), ngettext_lazy("%(count)d confirmed.", "%(count)d confirmed.", "count"),
    ),
    "dismiss": (
        gettext_lazy("Dismissed: %(what)s."), ngettext_lazy("%(count)d dismissed.", "%(count)d dismissed.", "count"),
    ),
    "reopen": (
        gettext_lazy("Open for review again: %(what)s."),
        ngettext_lazy("%(count)d open for review again.", "%(count)d open for review again.", "count"),
    ),
    "note": (gettext_lazy("Note saved."), gettext_lazy("Note saved.")),
}  # fmt: skip


def tell_outcome(request: HttpRequest, given: ReviewRequest, outcome: Outcome) -> None:
    """One message on what was done, with what is needed to undo it, and one on each that somebody else had decided."""
    if outcome.done:
        count, first = len(outcome.done), outcome.done[0]
        what = f"{first.get_label_display()}, {first.camera.name}, {first.site.name}"
        one, several = OUTCOMES[given.decision]
        text = str((one if count == 1 else several) % {"count": count, "what": what})
        undo = " ".join(f"{row.pk}:{row.review_version}" for row in outcome.done)
        messages.success(request, text, extra_tags=f"undo {undo}" if given.decision in {"confirm", "dismiss"} else "")
        if given.decision == "dismiss" and count == 1:
            offer_to_ignore(request, first)
    for row in outcome.late:
        if is_own(request.user, row, given):
            continue
        who = str(row.reviewed_by or _("Somebody"))
        ago = timesince(row.reviewed_at, depth=1) if row.reviewed_at else ""
        just = row.reviewed_at and (datetime.now(UTC) - row.reviewed_at) < timedelta(minutes=1)
        when = _("a moment ago") if just else _("%(time)s ago") % {"time": ago}
        verb = {
            Violation.Status.CONFIRMED: _("%(who)s confirmed it %(when)s."),
            Violation.Status.DISMISSED: _("%(who)s dismissed it %(when)s."),
            Violation.Status.OPEN: _("%(who)s changed it %(when)s."),
        }[Violation.Status(row.status)]
        told = verb % {"who": who, "when": when}
        messages.warning(request, told + " " + _("Your decision was not saved; look again, then decide again."))


def offer_to_ignore(request: HttpRequest, row: Violation) -> None:
    """From the third dismissal at one spot on, whoever may draw zones is asked whether anything ever happens there."""
    if not access.may(request.user, Right.SET_UP, row.site_id) or (times := dismissed_at_spot(row)) < OFFERED_FROM:
        return
    text = _("%(count)d violations were dismissed at this spot on %(camera)s.") % {"count": times, "camera": row.camera}
    link = f"{reverse('violation', args=[row.pk])}#spot"
    messages.info(request, format_html('{} <a href="{}">{}</a>', text, link, _("Ignore this spot")))


def next_in_flow(request: HttpRequest, row: Violation) -> str:
    """The next violation to review in the list's order, or else the first one, or else the list."""
    wanted = QueryDict(request.POST.get("filter", "")).copy()
    wanted["status"] = Violation.Status.OPEN.value
    form = ViolationFilterForm(request.user, wanted)
    waiting = access.violations(request.user).filter(status=Violation.Status.OPEN)
    waiting = form.narrow(waiting) if form.is_valid() else waiting
    following = next_newer if form.is_oldest_first else next_older
    found = following(waiting, row) or waiting.order_by(*form.ordering).first()
    page = reverse("violation", args=[found.pk]) if found else reverse("violations")
    return f"{page}?{form.chosen if form.is_valid() else 'status=open'}"


def safe_back(request: HttpRequest) -> str:
    """Where the form asks to return to, if that is one of our pages."""
    wanted = request.POST.get("back", "")
    fine = wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if fine else reverse("violations")
