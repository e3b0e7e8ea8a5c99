"""A review that was sent after the session ended waits in the browser's new session to be confirmed after sign-in.

Nothing is decided by itself: whoever signs in is shown what was meant, and presses once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from cameras.redis import Errors
from portal.events.review import MOST_AT_ONCE, NOTE_CHARACTERS
from portal.models import Violation
from portal.people import access, audit
from portal.people.access import Right
from portal.server import throttling

KEY = "pending_review"
KEPT_A_MINUTE = 10  # for an address: each is a session in the database
DECISIONS = {
    "confirm": Violation.Status.CONFIRMED,
    "dismiss": Violation.Status.DISMISSED,
    "reopen": Violation.Status.OPEN,
}
MEANT = {
    "confirm": _("Confirm"),
    "dismiss": _("Dismiss"),
    "reopen": _("Review again"),
    "note": _("Save the note"),
}


@dataclass(frozen=True)
class ReviewRequest:
    """What the review form sends. A note goes along with any decision about a single violation."""

    seen: dict[UUID, int]
    decision: str
    note: str | None
    reason: str = ""

    @property
    def status(self) -> str | None:
        return DECISIONS[self.decision].value if self.decision in DECISIONS else None


def read_request(request: HttpRequest) -> ReviewRequest:
    """Raises ValidationError for a form that this portal never made."""
    seen: dict[UUID, int] = {}
    for entry in request.POST.getlist("seen"):
        key, _sep, version = entry.partition(":")
        try:
            seen[UUID(key)] = int(version)
        except ValueError as error:
            raise ValidationError("no version") from error
    decision, _sep, reason = request.POST.get("decision", "").partition(":")
    if decision not in MEANT or (reason and (decision != "dismiss" or reason not in Violation.Reason)):
        raise ValidationError("no decision")
    note = request.POST.get("note") if decision == "note" or len(seen) == 1 else None
    return ReviewRequest(seen, decision, note, reason)


def keep_for_later(request: HttpRequest) -> HttpResponse:
    """Keep what was sent, and let the person sign in; then they are back where they decided."""
    onward = reverse("violations")
    try:
        given = read_request(request)
        may = throttling.allow("pending-review", audit.address_of(request), KEPT_A_MINUTE)
    except (ValidationError, *Errors):
        return redirect(f"{reverse('login')}?{urlencode({'next': onward})}")
    if may and given.seen and len(given.seen) <= MOST_AT_ONCE:
        request.session[KEY] = {
            "seen": [f"{key}:{version}" for key, version in given.seen.items()],
            "decision": f"{given.decision}:{given.reason}" if given.reason else given.decision,
            "note": given.note and given.note[: 2 * NOTE_CHARACTERS],
        }
        if len(given.seen) == 1:
            onward = reverse("violation", args=[next(iter(given.seen))])
    if request.user.is_authenticated:
        return redirect(onward)
    return redirect(f"{reverse('login')}?{urlencode({'next': onward})}")


def is_ours(request: HttpRequest) -> bool:
    """Whether a page of this portal sent it, as the browser says: its token may just be from an older session."""
    source = urlsplit(request.headers.get("Origin") or request.headers.get("Referer") or "")
    return (source.scheme, source.netloc) == (request.scheme, request.get_host())


@dataclass(frozen=True)
class Waiting:
    """A decision that waits, as its page shows it."""

    seen: list[str]
    decision: str
    note: str | None
    count: int

    @property
    def meant(self) -> str:
        decision, _sep, reason = self.decision.partition(":")
        return str(Violation.Reason(reason).label if reason else MEANT[decision])

    @property
    def told(self) -> str:
        text = ngettext(
            "You were signed out when you decided. Your decision is not saved yet: “%(meant)s”.",
            "You were signed out when you decided on %(count)d violations. Your decision is not saved "
            "yet: “%(meant)s”.",
            self.count,
        )
        return text % {"meant": self.meant, "count": self.count}


def waiting(request: HttpRequest, about: Violation | None = None) -> Waiting | None:
    """What waits to be confirmed: about this violation, or, on the list, about any number of others.

    Only what this person may still review; the rest is left out. Costs two queries where something waits.
    """
    kept: dict[str, Any] | None = request.session.get(KEY)
    if not kept:
        return None
    keys = [entry.partition(":")[0] for entry in kept["seen"]]
    if about is not None and keys != [str(about.pk)]:
        return None
    sites = access.sites(request.user, Right.REVIEW)
    rows = access.violations(request.user).filter(pk__in=keys, site__in=sites)
    mine = {str(key) for key in rows.values_list("pk", flat=True)}
    seen = [entry for entry in kept["seen"] if entry.partition(":")[0] in mine]
    return Waiting(seen, kept["decision"], kept["note"], len(seen)) if seen else None


def decided(request: HttpRequest, seen: Iterable[UUID]) -> None:
    """What waited is forgotten once these are decided, if it is about them; else it goes on waiting."""
    kept = request.session.get(KEY)
    if kept and {entry.partition(":")[0] for entry in kept["seen"]} & {str(key) for key in seen}:
        forget(request)


def forget(request: HttpRequest) -> None:
    """It was confirmed, or is no longer wanted."""
    request.session.pop(KEY, None)
