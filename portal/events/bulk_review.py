"""One decision about many violations: what fitted when it was made, in steps, and undone in the same way.

    found = begin(user, rows, "dismissed", "nobody")      in the request: notes which ones, and the version of each
    while step(found.pk): ...                             in the job worker

Nothing shifts meanwhile: what comes later is not among them, and what somebody else decides first stays as they
decided.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.events.review import MOST_AT_ONCE, clean_reason, review
from portal.models import AuditEntry, BulkReview, User, Violation
from portal.people import access, audit
from portal.people.access import Right

MOST = 20_000
MOST_SHOWN = 3
KEPT = timedelta(days=1)
Status = Violation.Status


def begin(user: User, rows: QuerySet[Violation], status: str, reason: str = "") -> BulkReview:
    """Note which of these rows this person may decide about, as they are now. Raises ValidationError for too many."""
    mine = rows.filter(site__in=access.sites(user, Right.REVIEW)).exclude(status=status, reason=clean_reason(reason))
    columns = ("pk", "review_version", "status", "reason", "reviewed_by", "reviewed_at")
    chosen = list(mine.order_by("pk").values_list(*columns)[: MOST + 1])
    if len(chosen) > MOST:
        raise ValidationError(_("At most %(most)d at once. Choose fewer days, or fewer cameras.") % {"most": MOST})
    listed = [
        [str(key), version, before, why, by, at and at.isoformat()] for key, version, before, why, by, at in chosen
    ]
    return BulkReview.objects.create(
        user=user, status=Status(status).value, reason=reason, chosen=listed, count=len(listed)
    )


def undo(done: BulkReview) -> BulkReview:
    """Decide those that it decided as they were before; the same if that was asked before. None of the others."""
    late = set(done.late)
    listed = [
        [key, version + 1, *before]
        for place, (key, version, *before) in enumerate(done.chosen[: done.position])
        if place not in late
    ]
    values = {"user": done.user, "status": Status.OPEN.value, "chosen": listed, "count": len(listed)}
    if done.ended_at is None:
        BulkReview.objects.filter(pk=done.pk, ended_at=None).update(ended_at=timezone.now())
    return BulkReview.objects.get_or_create(undoes=done, defaults=values)[0]


@transaction.atomic
def step(bulk_id: UUID) -> bool:
    """Decide about the next MOST_AT_ONCE; False once there is nothing left to do. Twice at once does no harm."""
    bulk = BulkReview.objects.select_for_update().select_related("user").filter(pk=bulk_id, ended_at=None).first()
    if bulk is None:
        return False
    places = range(bulk.position, min(len(bulk.chosen), bulk.position + MOST_AT_ONCE))
    decided = _decide(bulk, list(places)) if places else set()
    bulk.position += len(places)
    bulk.done += len(decided)
    bulk.late = [*bulk.late, *(place for place in places if place not in decided)]
    if bulk.position >= len(bulk.chosen):
        bulk.ended_at = timezone.now()
        _note(bulk)
    bulk.save(update_fields=("position", "done", "late", "ended_at"))
    return bulk.ended_at is None


def _decide(bulk: BulkReview, places: list[int]) -> set[int]:
    """Those of these places that were decided now; who has lost the right meanwhile decides nothing."""
    keys = {UUID(bulk.chosen[place][0]): place for place in places}
    mine = access.violations(bulk.user).filter(pk__in=keys, site__in=access.sites(bulk.user, Right.REVIEW))
    left = set(mine.values_list("pk", flat=True)) if bulk.user.is_active else set()
    groups: dict[tuple[str, str], dict[UUID, int]] = defaultdict(dict)
    for key, place in keys.items():
        if key in left:
            _key, version, before, why, *_who = bulk.chosen[place]
            status, reason = (before, why) if bulk.undoes_id else (bulk.status, bulk.reason)
            groups[status, reason][key] = version
    decided: set[int] = set()
    for (status, reason), seen in groups.items():
        done = review(bulk.user, seen, status, reason=reason).done
        if bulk.undoes_id and status != Status.OPEN:
            _give_back(done, {row.pk: bulk.chosen[keys[row.pk]] for row in done})
        decided |= {keys[row.pk] for row in done}
    return decided


def _give_back(rows: list[Violation], chosen: dict[UUID, list[Any]]) -> None:
    """It is again the decision of whoever made it before, and as old."""
    for row in rows:
        *_before, row.reviewed_by_id, at = chosen[row.pk]
        row.reviewed_at = at and datetime.fromisoformat(at)
    Violation.objects.bulk_update(rows, ["reviewed_by", "reviewed_at"])


def _note(bulk: BulkReview) -> None:
    """One row of each site's log."""
    late = set(bulk.late)
    keys = [UUID(each[0]) for place, each in enumerate(bulk.chosen) if place not in late]
    sites: Counter[int] = Counter()
    for start in range(0, len(keys), 500):
        sites.update(Violation.objects.filter(pk__in=keys[start : start + 500]).values_list("site_id", flat=True))
    what = "undo of many" if bulk.undoes_id else f"{bulk.status} ({bulk.reason})" if bulk.reason else bulk.status
    for site in access.sites(bulk.user).filter(pk__in=sites):
        audit.note(None, AuditEntry.Action.REVIEWED, f"all that fit, {what}: {sites[site.pk]}", site, bulk.user)


def unfinished() -> list[UUID]:
    return list(BulkReview.objects.filter(ended_at=None).order_by("made_at").values_list("pk", flat=True))


def drop_old(now: datetime) -> int:
    """Delete what can be undone no more."""
    return BulkReview.objects.filter(made_at__lt=now - KEPT).delete()[0]


def recent_of(user: User, within: timedelta) -> list[BulkReview]:
    """This person's last decisions about many that go on, or are not long over; not those that were undone."""
    own = BulkReview.objects.filter(user=user, made_at__gte=timezone.now() - KEPT, undone_by=None)
    lasting = Q(ended_at=None) | Q(ended_at__gte=timezone.now() - within)
    return list(own.filter(lasting).defer("chosen").order_by("-made_at")[:MOST_SHOWN])
