"""Reading what pages show: sites, cameras, people, violations and their pictures, figures, outages, and events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema
from ninja.params.functions import Query as Param

from cameras.models import Camera, Outage, Site
from portal.api import callers, waiting
from portal.api.problems import Problem, ProblemBody
from portal.events import keyset, messages
from portal.events.review import review as decide
from portal.figures.reports import USUAL_DAYS, Counted, range_fault, report
from portal.models import Passage, Program, SiteFeed, Violation, policy_of
from portal.people import access, audit, looks
from portal.people.access import Right
from portal.people.audit import Action
from portal.people.pictures import PictureGoneError, render

MOST_ROWS = 200
FIRST_DAY, LAST_DAY = date(2000, 2, 1), date(2200, 12, 31)
M = TypeVar("M", bound=Model)

router = Router(tags=["reading"], auth=callers.CALLER)
REFUSALS: dict[Any, Any] = dict.fromkeys((401, 403, 404, 422, 429), ProblemBody)
HOW_MANY = "How many rows at most."
Id = Param(None, ge=1, lt=2**63)
Wear = Literal["mask", "no_mask", "incorrect", "unsure"]


# -- what is answered -------------------------------------------------------------------------------------------------


class SiteBody(Schema):
    """A site. `goal` is from 0 to 1; `number` is that of its newest event."""

    id: int
    name: str
    time_zone: str
    goal: float
    to_review: int
    number: int


class CameraBody(Schema):
    """A camera, its state as one word, what that means and what to do."""

    id: int
    name: str
    site: int
    state: str
    since: str | None
    detail: str
    meaning: str
    remedy: str


class PassageBody(Schema):
    """One person, from arriving to leaving. `label` is what was last seen of them."""

    id: UUID
    site: int
    camera: int
    label: str
    confidence: float
    started_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None


class ViolationBody(Schema):
    """One spell without a mask. `snapshot` is the path of its picture; `seen` is what a review has to name; `reason`
    says why it was dismissed, if that was said: "nobody", "masked", "exempt" or "unclear"; `note` is empty for a
    program that may not review."""

    id: UUID
    passage: UUID
    site: int
    camera: int
    label: str
    confidence: float
    started_at: datetime
    ended_at: datetime | None
    masked_at: datetime | None
    status: str
    reason: str
    note: str
    reviewed_at: datetime | None
    seen: int
    number: int
    snapshot: str | None
    page: str


class OutageBody(Schema):
    """A time in which a camera could not be watched; `ended_at` is null while it lasts."""

    id: int
    site: int
    camera: int
    began_at: datetime
    ended_at: datetime | None
    reason: str


class PageOfPassages(Schema):
    """People, newest first; `next` is the address of the next page."""

    items: list[PassageBody]
    next: str | None


class PageOfViolations(Schema):
    """Violations, newest first; `next` is the address of the next page."""

    items: list[ViolationBody]
    next: str | None


class PageOfOutages(Schema):
    """Outages, newest first; `next` is the address of the next page."""

    items: list[OutageBody]
    next: str | None


class CountedBody(Schema):
    """Sums. `rate` is mask / seen, from 0 to 1, null if nobody was seen; it lies between `low` and `high` in 95 of 100
    cases (Wilson). `watched` is the part of the time in which cameras should have watched and did."""

    mask: int
    no_mask: int
    incorrect: int
    seen: int
    unsure: int
    dismissed: int
    reminded: int
    reminded_masked: int
    unasked: int
    unasked_masked: int
    watched_s: int
    lost_s: int
    rate: float | None
    low: float | None
    high: float | None
    watched: float | None


class HourBody(Schema):
    """People of one hour of the week: as in the sums, without what is counted by day alone."""

    mask: int
    no_mask: int
    incorrect: int
    seen: int
    rate: float | None
    low: float | None
    high: float | None


class CountedOf(Schema):
    """Sums of one day, site or camera. `key` is the day, or the id."""

    key: str
    name: str
    counted: CountedBody


class FiguresBody(Schema):
    """How masks were worn on these days of the sites' own calendars. `week` has 7 lists, from Monday, of 24 hours."""

    first: date
    last: date
    total: CountedBody
    before: CountedBody
    days: list[CountedOf]
    week: list[list[HourBody]]
    sites: list[CountedOf]
    cameras: list[CountedOf]


class EventsBody(Schema):
    """Violations that are new or have changed, each as it now is. Ask again with `after` = `number`."""

    number: int
    items: list[ViolationBody]


class ReviewBody(Schema):
    """A decision. `seen` is the violation's: if somebody else was faster, nothing changes."""

    status: Literal["open", "confirmed", "dismissed"] | None = None
    note: str | None = None
    reason: Literal["", "nobody", "masked", "exempt", "unclear"] = ""
    seen: int


class Asked(Schema):
    """What every list may be asked: of which site or camera, when, behind which position, and how much."""

    site: int | None = Field(None, ge=1, lt=2**63)
    camera: int | None = Field(None, ge=1, lt=2**63)
    since: datetime | None = None
    until: datetime | None = None
    before: str = ""
    limit: int = Field(100, ge=1, le=MOST_ROWS, description=HOW_MANY)


# -- lists ------------------------------------------------------------------------------------------------------------


@router.get("/sites", response={200: list[SiteBody], **REFUSALS})
def list_sites(request: HttpRequest) -> list[dict[str, Any]]:
    """The sites that the caller may read."""
    found = callers.sites(request, Right.READ_FIGURES)
    feeds = {feed.site_id: feed for feed in SiteFeed.objects.filter(site__in=found)}
    return [_site(site, feeds.get(site.pk, SiteFeed())) for site in found]


def _site(site: Site, feed: SiteFeed) -> dict[str, Any]:
    return {
        "id": site.pk, "name": site.name, "time_zone": site.time_zone, "goal": policy_of(site).mask_goal / 100,
        "to_review": feed.to_review, "number": feed.number,
    }  # fmt: skip


@router.get("/cameras", response={200: list[CameraBody], **REFUSALS})
def list_cameras(request: HttpRequest, site: int | None = Id) -> list[dict[str, Any]]:
    """The cameras of the caller's sites, or of one, and how they are."""
    found = callers.sites(request, Right.READ_FIGURES, site)
    rows = access.cameras(request.auth, Right.READ_FIGURES)  # type: ignore[attr-defined]
    rows = rows.filter(site__in=found).order_by("site__name", "name", "pk")
    return [messages.camera(row) | {"id": row.pk, "name": row.name} for row in rows]


@router.get("/passages", response={200: PageOfPassages, **REFUSALS})
def list_passages(
    request: HttpRequest,
    asked: Query[Asked],
    label: Wear | None = None,
) -> dict[str, Any]:
    """People who were seen, newest first."""
    found = callers.sites(request, Right.LOOK, asked.site)
    rows = Passage.objects.filter(site__in=found)
    rows = _narrow(rows, "started_at", asked, label=label)
    callers.note_reading(request, _("people"), found)
    return _page(request, rows, "started_at", asked, UUID, _passage)


@router.get("/violations", response={200: PageOfViolations, **REFUSALS})
def list_violations(
    request: HttpRequest,
    asked: Query[Asked],
    label: Wear | None = None,
    status: Literal["open", "confirmed", "dismissed"] | None = None,
) -> dict[str, Any]:
    """Violations, newest first."""
    found = callers.sites(request, Right.LOOK, asked.site)
    rows = Violation.objects.filter(site__in=found)
    rows = _narrow(rows, "started_at", asked, label=label, status=status)
    callers.note_reading(request, _("violations"), found)
    return _page(request, rows, "started_at", asked, UUID, body_for(request))


@router.get("/outages", response={200: PageOfOutages, **REFUSALS})
def list_outages(
    request: HttpRequest,
    asked: Query[Asked],
) -> dict[str, Any]:
    """Times in which a camera could not be watched, newest first."""
    found = callers.sites(request, Right.READ_FIGURES, asked.site)
    rows = Outage.objects.filter(camera__site__in=found, camera__deleted_at=None).select_related("camera")
    rows = _narrow(rows, "began_at", asked)
    return _page(request, rows, "began_at", asked, int, _outage)


def _narrow(rows: QuerySet[M], field: str, asked: Asked, **equal: Any) -> QuerySet[M]:
    """Only what is asked for. Times without a zone are UTC."""
    for name, moment in ((f"{field}__gte", asked.since), (f"{field}__lt", asked.until)):
        if moment is not None:
            if not FIRST_DAY <= moment.date() <= LAST_DAY:
                raise Problem(422, _("Choose days from %(first)d on.") % {"first": FIRST_DAY.year})
            aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.get_default_timezone())
            rows = rows.filter(**{name: aware})
    equal["camera"] = asked.camera
    return rows.filter(**{name: value for name, value in equal.items() if value is not None})


def _page(
    request: HttpRequest,
    rows: QuerySet[M],
    field: str,
    asked: Asked,
    key: Callable[[str], Any],
    body: Callable[[Any], dict[str, Any]],
) -> dict[str, Any]:
    """As many rows as are asked for behind a cursor, newest first, and the address of the next page."""
    if asked.before:
        try:
            rows = rows.filter(keyset.behind(*keyset.read_cursor(asked.before, key), field))
        except ValueError as error:
            raise Problem(422, _("before: this is no position in the list. Use “next” as it was given.")) from error
    page = list(rows.order_by(f"-{field}", "-pk")[: asked.limit + 1])
    onward = None
    if len(page) > asked.limit:
        last = page[asked.limit - 1]
        given = request.GET.dict() | {"before": keyset.cursor_of(getattr(last, field), last.pk)}
        onward = f"{request.path}?{urlencode(given)}"
    return {"items": [body(row) for row in page[: asked.limit]], "next": onward}


def _passage(row: Passage) -> dict[str, Any]:
    return {
        "id": row.pk, "site": row.site_id, "camera": row.camera_id, "label": row.label,
        "confidence": round(row.confidence, 3), "started_at": row.started_at, "last_seen_at": row.last_seen_at,
        "ended_at": row.ended_at,
    }  # fmt: skip


def body_for(request: HttpRequest) -> Callable[[Violation], dict[str, Any]]:
    """A violation as this caller reads it: notes, which people write for each other, only if they may review."""
    actor = request.auth  # type: ignore[attr-defined]
    if isinstance(actor, Program) and Program.May.REVIEW not in actor.rights:
        return lambda row: violation_body(row) | {"note": ""}
    return violation_body


def violation_body(row: Violation) -> dict[str, Any]:
    return {
        "id": row.pk, "passage": row.passage_id, "site": row.site_id, "camera": row.camera_id, "label": row.label,
        "confidence": round(row.confidence, 3), "started_at": row.started_at, "ended_at": row.ended_at,
        "masked_at": row.masked_at, "status": row.status, "reason": row.reason, "note": row.note,
        "reviewed_at": row.reviewed_at,
        "seen": row.review_version, "number": row.event_number,
        "snapshot": f"/api/v1/violations/{row.pk}/snapshot.jpg" if row.snapshot else None,
        "page": f"/violations/{row.pk}/",
    }  # fmt: skip


def _outage(row: Outage) -> dict[str, Any]:
    return {
        "id": row.pk, "site": row.camera.site_id, "camera": row.camera_id, "began_at": row.began_at,
        "ended_at": row.ended_at, "reason": row.reason,
    }  # fmt: skip


# -- one violation ----------------------------------------------------------------------------------------------------


def get_violation(request: HttpRequest, violation_id: UUID) -> Violation:
    """The violation, if the caller may know of it; raises Problem."""
    callers.sites(request, Right.LOOK)
    try:
        return access.get_violation(request.auth, violation_id)  # type: ignore[attr-defined]
    except Http404 as error:
        raise Problem(404, _("There is no such violation, or you have no access to it.")) from error


@router.get("/violations/{violation_id}", response={200: ViolationBody, **REFUSALS})
def read_violation(request: HttpRequest, violation_id: UUID) -> dict[str, Any]:
    """One violation."""
    found = get_violation(request, violation_id)
    callers.note_reading(request, _("violations"), [found.site])
    return body_for(request)(found)


@router.get("/violations/{violation_id}/snapshot.jpg", response={200: None, **REFUSALS})
def read_snapshot(request: HttpRequest, violation_id: UUID) -> HttpResponse:
    """Its picture as JPEG: with the face for callers that may see faces, else pixelated. Each is a row of the log."""
    found = get_violation(request, violation_id)
    try:
        data = render(found, access.audience(request.auth, found))  # type: ignore[attr-defined]
    except PictureGoneError as error:
        raise Problem(404, _("This violation has no picture, or none any more.")) from error
    looks.note_picture(request, found, large=True)
    answer = HttpResponse(data, content_type="image/jpeg")
    answer["Cache-Control"] = "private, no-store"
    return answer


@router.post("/violations/{violation_id}/review", response={200: ViolationBody, 409: ProblemBody, **REFUSALS})
def review_violation(request: HttpRequest, violation_id: UUID, body: ReviewBody) -> dict[str, Any]:
    """Confirm, dismiss or reopen it, or write a note."""
    found = get_violation(request, violation_id)
    if body.status is None and body.note is None:
        raise Problem(422, _("Give a status, a note, or both."))
    try:
        outcome = decide(request.auth, {found.pk: body.seen}, body.status, body.note, body.reason)  # type: ignore[attr-defined]
    except PermissionDenied as error:
        raise Problem(403, _("You may read this violation, but not review it.")) from error
    except ValidationError as error:
        raise Problem(422, " ".join(error.messages)) from error
    if not outcome.done:
        raise Problem(409, _("Somebody else has decided on it in the meantime. Read it again, then decide."))
    audit.note(request, Action.REVIEWED, looks.describe(found), found.site)
    return violation_body(outcome.done[0])


# -- figures ----------------------------------------------------------------------------------------------------------


@router.get("/figures", response={200: FiguresBody, **REFUSALS})
def read_figures(
    request: HttpRequest,
    site: int | None = Id,
    camera: int | None = Id,
    first: date | None = None,
    last: date | None = None,
) -> dict[str, Any]:
    """How masks were worn, from one day to another; without days, the last 28."""
    found = callers.sites(request, Right.READ_FIGURES, site)
    chosen = _camera(found, camera)
    if chosen is not None:
        found = [each for each in found if each.pk == chosen.site_id]
    now = timezone.now()
    last = last or max((each.local(now).date() for each in found), default=now.date())
    if FIRST_DAY <= last <= LAST_DAY:
        first = first or max(FIRST_DAY, last - timedelta(days=USUAL_DAYS - 1))
    if first is None or not FIRST_DAY <= first <= LAST_DAY or not FIRST_DAY <= last <= LAST_DAY:
        raise Problem(422, _("Choose days from %(first)d on.") % {"first": FIRST_DAY.year})
    if fault := range_fault(first, last):
        raise Problem(422, fault[1])
    answer = report(found, first, last, chosen)
    return {
        "first": first,
        "last": last,
        "total": counted(answer.total),
        "before": counted(answer.before),
        "days": _lines(answer.days),
        "week": [[counted(hour) for hour in day] for day in answer.week],
        "sites": _lines(answer.sites),
        "cameras": _lines(answer.cameras),
    }


def _camera(found: Sequence[Site], camera: int | None) -> Camera | None:
    if camera is None:
        return None
    chosen = Camera.objects.filter(pk=camera, site__in=found, deleted_at=None).first()
    if chosen is None:
        raise Problem(404, _("There is no such camera, or you have no access to it."))
    return chosen


def _lines(lines: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"key": str(line.key), "name": line.name, "counted": counted(line.counted)} for line in lines]


def counted(sums: Counted) -> dict[str, Any]:
    """Sums as the API gives them: shares from 0 to 1."""
    low, high = sums.bounds or (None, None)
    shares = {"rate": sums.percent, "low": low, "high": high, "watched": sums.coverage}
    return {
        **vars(sums),
        "seen": sums.seen,
        **{name: None if value is None else round(value / 100, 4) for name, value in shares.items()},
    }


# -- events -----------------------------------------------------------------------------------------------------------


@router.get("/events", response={200: EventsBody, **REFUSALS})
def list_events(
    request: HttpRequest,
    site: int | None = Id,
    after: int = Param(0, ge=0, lt=2**62, description="The number of the last answer; 0 for everything."),
    wait: int = Param(0, ge=0, le=waiting.LONGEST_S, description="Seconds to wait if there is nothing new."),
    limit: int = Param(100, ge=1, le=MOST_ROWS, description=HOW_MANY),
) -> dict[str, Any]:
    """What happened at a site since `after`, oldest first. With `wait`, the answer comes when something happens.

    Violations that were deleted are not among them; the number grows all the same.
    """
    found = callers.sites(request, Right.LOOK, site)
    if len(found) != 1:
        raise Problem(422, _("site: events are numbered by site. Name one."))
    callers.note_reading(request, _("violations"), found)
    if wait:
        waiting.wait_beyond(found[0].pk, after, wait, request.auth)  # type: ignore[attr-defined]
        found = callers.sites(request, Right.LOOK, found[0].pk)  # a right may have been lost meanwhile
    number = waiting.newest(found[0].pk)  # before the rows: none of them is missed by the next call
    rows = Violation.objects.filter(site=found[0], event_number__gt=after, event_number__lte=number)
    page = list(rows.order_by("event_number", "pk")[: limit + 1])
    if len(page) > limit:
        number = page[limit - 1].event_number
        if page[limit].event_number == number:  # one event of several violations is given whole, or not at all
            whole = [row for row in page if row.event_number < number]
            page = whole or list(rows.filter(event_number=number))
            number = page[-1].event_number
        else:
            page = page[:limit]
    return {"number": max(number, after), "items": [body_for(request)(row) for row in page]}
