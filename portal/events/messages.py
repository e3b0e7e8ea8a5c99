"""The messages of the socket /ws/live/: one schema, read at the other end by static/portal/live.js.

Server to page, JSON (only a preview is binary, see cameras/watching/preview.py):

    {"type": "hello", "now": …, "feeds": {"3": {"number": 41, "to_review": 2}}, "cameras": [camera, …]}
    {"type": "heartbeat", "now": …, "feeds": {…}}           every 10 s: a page with a lower number asks "missed"
    {"type": "violation", "id": …, "version": 5, "number": 42, "to_review": 3, "picture": "data:…", …}
    {"type": "camera", "camera": 7, "state": "offline", …}
    {"type": "gone", "site": 3, "ids": […], "number": 43, "to_review": 2}
    {"type": "caught-up", "feeds": {"3": 43}}                what "missed" asked for was sent, up to these numbers
    {"type": "error", "text": …}                             the page's message cannot be understood

Page to server:

    {"type": "look", "cameras": [7, 8]}                      replaces the cameras looked at before
    {"type": "ack", "camera": 7, "number": 1764000000123}    the preview was painted, the next may be sent
    {"type": "missed", "after": {"3": 40}}                   all violations of site 3 with a number above 40

The socket closes with 4401 if nobody is signed in any more, with 4403 if a right was lost, with 4400 after too much
nonsense, and with 4408 if the page does not read what it is sent.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import F, QuerySet
from django.utils import translation

from cameras.models import Camera
from cameras.states import CameraState
from portal.models import SiteFeed, Violation
from portal.models.events import WearLabel
from portal.people.stored_words import in_own_language

MOST_CAMERAS = 64
CLOSE_SIGNED_OUT = 4401
CLOSE_NO_RIGHT = 4403
CLOSE_NONSENSE = 4400
CLOSE_SLOW = 4408


class MessageError(Exception):
    """A page sent something that cannot be understood; the text says what was expected."""


# -- server to page -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ViolationMessage:
    """A violation as it now is. `picture` is added for each audience if the violation is new."""

    id: str
    version: int
    review_version: int
    number: int
    opened_number: int
    to_review: int
    site: int
    site_name: str
    time_zone: str
    camera: int
    camera_name: str
    label: str
    label_name: str
    status: str
    status_name: str
    confidence: float
    started_at: str
    opened_at: str
    ended_at: str | None
    snapshot_at: str | None
    quiet: bool
    note: str
    reviewed_by: str
    reviewed_at: str | None
    picture: str = ""
    type: ClassVar[str] = "violation"


@dataclass(frozen=True)
class CameraMessage:
    """The state of a camera, with what it means and what to do."""

    camera: int
    site: int
    state: str
    state_name: str
    since: str | None
    detail: str
    meaning: str
    remedy: str
    type: ClassVar[str] = "camera"


@dataclass(frozen=True)
class GoneMessage:
    """Violations that were deleted."""

    site: int
    ids: list[str]
    number: int
    to_review: int
    type: ClassVar[str] = "gone"


def with_names(rows: QuerySet[Violation]) -> QuerySet[Violation]:
    """These rows with everything that `violation` needs, in one query."""
    return rows.select_related("site", "camera", "reviewed_by").annotate(feed_to_review=F("site__feed__to_review"))


@translation.override(settings.LANGUAGE_CODE)
def violation(row: Violation) -> dict[str, Any]:
    """The message for a row from `with_names`, in English; `worded` says it in another language."""
    message = ViolationMessage(
        id=str(row.pk),
        version=row.version,
        review_version=row.review_version,
        number=row.event_number,
        opened_number=row.opened_number,
        to_review=getattr(row, "feed_to_review", None) or 0,
        site=row.site_id,
        site_name=row.site.name,
        time_zone=row.site.time_zone,
        camera=row.camera_id,
        camera_name=row.camera.name,
        label=row.label,
        label_name=str(row.get_label_display()),
        status=row.status,
        status_name=str(row.get_status_display()),
        confidence=round(row.confidence, 3),
        started_at=row.started_at.isoformat(),
        opened_at=row.opened_at.isoformat(),
        ended_at=iso(row.ended_at),
        snapshot_at=iso(row.snapshot_at),
        quiet=row.quiet,
        note=row.note,
        reviewed_by=str(row.reviewed_by) if row.reviewed_by else "",
        reviewed_at=iso(row.reviewed_at),
    )
    return {"type": message.type, **asdict(message)}


@translation.override(settings.LANGUAGE_CODE)
def camera(row: Camera) -> dict[str, Any]:
    """The message for a camera with its lease, in English likewise."""
    lease = getattr(row, "lease", None)
    state = CameraState(lease.state) if lease else CameraState.WAITING
    if row.paused:
        state = CameraState.PAUSED
    elif state is CameraState.PAUSED:
        state = CameraState.WAITING
    message = CameraMessage(
        camera=row.pk,
        site=row.site_id,
        state=state.value,
        state_name=str(state.label),
        since=iso(lease.state_since) if lease else None,
        detail=lease.state_detail if lease else "",
        meaning=str(state.meaning),
        remedy=str(state.remedy),
    )
    return {"type": message.type, **asdict(message)}


def cameras(site_ids: frozenset[int]) -> list[dict[str, Any]]:
    """The messages for all cameras of these sites; one query."""
    rows = Camera.objects.filter(site_id__in=site_ids, deleted_at__isnull=True).select_related("lease")
    return [camera(row) for row in rows]


def not_known(message: dict[str, Any]) -> dict[str, Any]:
    """A camera's message while Redis does not answer; a camera that is paused is paused all the same."""
    if message["state"] == CameraState.PAUSED:
        return message
    state = CameraState.UNKNOWN
    told = {"state": state.value, "state_name": str(state.label), "detail": "", "since": None}
    return message | told | {"meaning": str(state.meaning), "remedy": str(state.remedy)}


def worded(message: dict[str, Any]) -> dict[str, Any]:
    """The message in the active language: it was made in English, for everybody."""
    if message["type"] == ViolationMessage.type:
        return message | {
            "label_name": str(WearLabel(message["label"]).label),
            "status_name": str(Violation.Status(message["status"]).label),
        }
    if message["type"] == CameraMessage.type:
        state = CameraState(message["state"])
        words = {"state_name": state.label, "meaning": state.meaning, "remedy": state.remedy}
        return (
            message | {name: str(word) for name, word in words.items()} | {"detail": in_own_language(message["detail"])}
        )
    if "cameras" in message:
        return message | {"cameras": [worded(each) for each in message["cameras"]]}
    return message


def gone(site_id: int, ids: list[str], number: int) -> dict[str, Any]:
    to_review = SiteFeed.objects.values_list("to_review", flat=True).filter(pk=site_id).first() or 0
    return {"type": GoneMessage.type, **asdict(GoneMessage(site_id, ids, number, to_review))}


def feeds(site_ids: frozenset[int]) -> dict[str, dict[str, int]]:
    """The number and the count of each site's feed; one query."""
    rows = {row.site_id: row for row in SiteFeed.objects.filter(pk__in=site_ids)}
    return {
        str(site_id): {"number": row.number, "to_review": row.to_review} if (row := rows.get(site_id)) else EMPTY_FEED
        for site_id in sorted(site_ids)
    }


EMPTY_FEED = {"number": 0, "to_review": 0}


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


# -- page to server -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """The cameras whose pictures this page shows."""

    cameras: tuple[int, ...]


@dataclass(frozen=True)
class PreviewAck:
    """A preview was painted."""

    camera: int
    number: int


@dataclass(frozen=True)
class Missed:
    """The latest number that this page has for each site."""

    after: dict[int, int]


def parse(text: str | None) -> Look | PreviewAck | Missed:
    """Parse a page's message; raises MessageError."""
    try:
        given = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise MessageError("A message is JSON text.") from error
    if not isinstance(given, dict):
        raise MessageError("A message is a JSON object.")
    kind = given.get("type")
    if kind == "look":
        return Look(_numbers(given.get("cameras"), "cameras"))
    if kind == "ack":
        camera_id, number = _numbers([given.get("camera"), given.get("number")], "camera and number")
        return PreviewAck(camera_id, number)
    if kind == "missed":
        return Missed(_after(given.get("after")))
    raise MessageError("A message's type is look, ack or missed.")


def _numbers(given: Any, name: str) -> tuple[int, ...]:
    if not isinstance(given, list) or len(given) > MOST_CAMERAS or not all(_is_count(value) for value in given):
        raise MessageError(f"{name} are whole numbers, at most {MOST_CAMERAS} of them.")
    return tuple(given)


def _after(given: Any) -> dict[int, int]:
    if not isinstance(given, dict) or len(given) > 1000:
        raise MessageError("after is an object: the newest number by site.")
    if not all(key.isdecimal() and len(key) < 16 and _is_count(value) for key, value in given.items()):
        raise MessageError("after holds whole numbers by site.")
    return {int(key): value for key, value in given.items()}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
