"""A person decides about violations: confirmed, dismissed, or open again; with an optional note.

A decision names the version that the person saw. If somebody else was faster nothing changes, and they are told who.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.events import feed
from portal.events.follow_ups import ReviewChange, follow
from portal.models import User, Violation
from portal.people import access
from portal.people.access import Actor, Right

MOST_AT_ONCE = 100
NOTE_CHARACTERS = 2000
Status = Violation.Status


@dataclass(frozen=True)
class Outcome:
    """The result of a review: `done` as they now are, `late` those that somebody else decided meanwhile."""

    done: list[Violation]
    late: list[Violation]


def clean_note(text: str) -> str:
    """The note, tidied; raises ValidationError if it is too long."""
    text = text.replace("\0", "").strip()
    if len(text) > NOTE_CHARACTERS:
        raise ValidationError(
            _("A note may have at most %(most)d characters; this one has %(here)d. Shorten it, then save again.")
            % {"most": NOTE_CHARACTERS, "here": len(text)}
        )
    return text


def clean_reason(reason: str) -> str:
    """Why it was dismissed; empty if that was not said. Raises ValidationError if there is no such reason."""
    if reason and reason not in Violation.Reason:
        raise ValidationError(_("There is no such reason. Choose one of those that are offered."))
    return reason


@transaction.atomic
def review(
    user: Actor, seen: dict[UUID, int], status: str | None = None, note: str | None = None, reason: str = ""
) -> Outcome:
    """Decide about violations, each given with the `review_version` that was seen; None leaves a field as it is.

    Raises Http404 for a violation that this person may not know of, PermissionDenied for one that they may not review,
    ValidationError for a bad note or reason. A handful of queries per site, however many violations there are.
    """
    if len(seen) > MOST_AT_ONCE:
        raise ValidationError(_("At most %(most)d at once. Choose fewer.") % {"most": MOST_AT_ONCE})
    changes: dict[str, object] = {}
    if status is not None:
        decided = status != Status.OPEN
        reviewer = user.pk if decided and isinstance(user, User) else None  # a program has no account
        changes = {"status": Status(status).value, "reviewed_by_id": reviewer}
        changes["reviewed_at"] = timezone.now() if decided else None
        changes["reason"] = clean_reason(reason) if status == Status.DISMISSED else ""
    if note is not None:
        changes["note"] = clean_note(note)
    rows = access.get_violations(user, list(seen), Right.REVIEW)
    current = [row for row in rows if row.review_version == seen[row.pk]]
    by_site: dict[int, list[Violation]] = defaultdict(list)
    for row in current:
        by_site[row.site_id].append(row)
    done: set[UUID] = set()
    for site_rows in by_site.values():
        done |= _apply(site_rows, changes, status)
    keys = list(done)
    after = {row.pk: row for row in access.violations(user).filter(pk__in=seen)}
    return Outcome([after[key] for key in keys if key in after], [row for key, row in after.items() if key not in done])


def _apply(rows: list[Violation], changes: dict[str, object], status: str | None) -> set[UUID]:
    """Change the violations of one site that are still at the version that was read."""
    same = Q()
    for row in rows:
        same |= Q(pk=row.pk, review_version=row.review_version)
    locked = list(Violation.objects.select_for_update().filter(same))
    delta = sum((status == Status.OPEN) - (row.status == Status.OPEN) for row in locked) if status is not None else 0
    keys = [row.pk for row in locked]
    Violation.objects.filter(pk__in=keys).update(review_version=F("review_version") + 1, **changes)
    feed.publish(*locked, to_review=delta)
    if status is not None:
        follow(ReviewChange(tuple(Violation.objects.filter(pk__in=keys).select_related("camera__site__policy"))))
    return set(keys)
