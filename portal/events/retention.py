"""Deletes what is old or has no room: rows and pictures together. Run by beat every minute, in small steps."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, transaction
from django.db.models import Count, Max, Q
from django.utils import timezone

from cameras.models import Camera, Outage, Reign, Site
from cameras.redis import Errors
from cameras.setup import probe
from cameras.watching.worker import refused_root
from portal.events import bulk_review, feed, notices, picture_files
from portal.events.recording import close_abandoned
from portal.models import Delivery, ErasedPassage, Passage, Reminder, SiteFeed, SitePolicy, Violation, Voice, policy_of
from portal.models.events import newer_than

log = logging.getLogger(__name__)

T = TypeVar("T")

STEP_ROWS = 200
ORPHAN_AGE = timedelta(hours=1)
REIGN_AGE = timedelta(days=32)  # at least; longer where hours may be counted anew for longer
OUTAGE_AGE = timedelta(days=365)
UNDO_AGE = timedelta(minutes=10)


@dataclass(frozen=True)
class Swept:
    """What one round deleted."""

    violations: int = 0
    passages: int = 0
    for_space: int = 0


def reign_age() -> timedelta:
    """How long it is known who held a camera: as long as any site's hours may be counted anew, and a little longer."""
    longest = SitePolicy.objects.aggregate(most=Max("retention_days"))["most"] or 0
    return max(REIGN_AGE, timedelta(days=longest + 2))


def sweep(now: datetime | None = None) -> Swept:
    """One round: what has no room, then what is too old. A step that fails does not stop the others."""
    now = now or timezone.now()
    for_space = attempt(lambda: make_room(settings.FREE_DISK_FLOOR_MB), 0)
    attempt(close_abandoned, 0)
    violations, passages = attempt(lambda: delete_old(now), (0, 0))
    attempt(lambda: Reign.objects.filter(ended_at__lt=now - reign_age()).delete(), None)
    attempt(lambda: prune_refused(now), 0)
    attempt(probe.drop_old, 0)
    attempt(lambda: forget_deleted(now), 0)
    attempt(lambda: bulk_review.drop_old(now), 0)
    attempt(lambda: Outage.objects.filter(ended_at__lt=now - max(OUTAGE_AGE, reign_age())).delete(), None)
    attempt(recount, None)
    return Swept(violations, passages, for_space)


def attempt(step: Callable[[], T], otherwise: T) -> T:
    """The result of the step, or `otherwise` if the database, disk or Redis fails; the next round tries again."""
    try:
        return step()
    except (DatabaseError, *Errors) as error:
        log.warning("a step of retention failed: %s", type(error).__name__)
        return otherwise


def make_room(floor_mb: float) -> int:
    """Keep the minimum of free disk, and report it on the dashboard; returns how many violations were deleted."""
    count = keep_disk_free(floor_mb)
    attempt(lambda: notices.note_disk_stuck(free_mb(settings.DATA_DIR) < floor_mb), None)
    if count:
        attempt(lambda: notices.note_deleted_for_space(count, floor_mb), None)
    return count


def forget_deleted(now: datetime) -> int:
    """Remove deleted cameras: first their passwords, then, once nothing they saw is left, the cameras themselves."""
    deleted = Camera.objects.filter(deleted_at__lt=now - UNDO_AGE)
    deleted.exclude(sealed_password="").update(sealed_password="")
    Voice.objects.filter(camera__in=deleted).exclude(sealed_password="").update(sealed_password="")
    rest = deleted.filter(violations__isnull=True, passages__isnull=True, figures__isnull=True)
    return rest.delete()[0]


def prune_refused(now: datetime) -> int:
    """Delete what was refused so long ago that its violation would be gone too: it contains faces."""
    longest = max((policy_of(site).retention_days for site in Site.objects.select_related("policy")), default=30)
    count = 0
    for path in refused_root().glob("*.log"):
        if now.timestamp() - path.stat().st_mtime > longest * 24 * 3600:
            path.unlink(missing_ok=True)
            count += 1
    return count


def delete_old(now: datetime) -> tuple[int, int]:
    """Delete violations and passages older than their site keeps them; returns how many of each.

    None while a backup is made: it has their rows, and gets their pictures. They go in a later round.
    """
    violations = passages = 0
    for site in () if picture_files.are_held() else Site.objects.select_related("policy"):
        limit = now - timedelta(days=policy_of(site).retention_days)
        old = Violation.objects.filter(site=site, started_at__lt=limit).order_by("started_at")
        while rows := list(old[:STEP_ROWS]):
            violations += delete_violations(rows)
        ended = Passage.objects.filter(site=site, started_at__lt=limit, violations__isnull=True)
        while keys := list(ended.values_list("pk", flat=True)[:STEP_ROWS]):
            passages += Passage.objects.filter(pk__in=keys).delete()[1].get("portal.Passage", 0)
        Reminder.objects.filter(site=site, decided_at__lt=limit, passage__isnull=True).delete()
        ErasedPassage.objects.filter(site=site, erased_at__lt=limit).delete()
        Delivery.objects.filter(site=site, created_at__lt=limit).delete()
    return violations, passages


def delete_violations(rows: list[Violation]) -> int:
    """Delete these rows, and their pictures on commit, and tell open pages; returns how many rows there were."""
    by_site: dict[int, list[Violation]] = defaultdict(list)
    for row in rows:
        by_site[row.site_id].append(row)
    count = 0
    for site_id, site_rows in by_site.items():
        with transaction.atomic():
            keys, names = [row.pk for row in site_rows], picture_files.names_of(site_rows)
            waiting = Violation.objects.filter(pk__in=keys, status=Violation.Status.OPEN).count()
            count += Violation.objects.filter(pk__in=keys).delete()[1].get("portal.Violation", 0)
            feed.publish_gone(site_id, [str(key) for key in keys], waiting)
            transaction.on_commit(lambda names=names: delete_pictures(names))  # type: ignore[misc]
    return count


def delete_pictures(names: list[str]) -> None:
    for name in names:
        default_storage.delete(name)


def keep_disk_free(floor_mb: float) -> int:
    """Delete the oldest violations until the minimum of disk space is free; returns how many.

    Only while it helps, and nothing that was seen today: if all that may go would not make enough room, something else
    fills the disk, and nothing is deleted; and if a step does not free what it should, the round ends.

    Here the pictures go first: on a full disk the database cannot even delete a row. Rows that it cannot delete yet are
    skipped, and go in a later round.
    """
    count, passed = 0, Q()
    missing_mb = floor_mb - free_mb(settings.DATA_DIR)
    if missing_mb <= 0:
        return 0
    old = before_today(timezone.now())
    if not would_help(old, missing_mb):
        return 0
    while (before_mb := free_mb(settings.DATA_DIR)) < floor_mb:
        rows = list(Violation.objects.filter(old, passed).order_by("started_at", "pk")[: STEP_ROWS // 10])
        if not rows:
            break
        names = picture_files.names_of(rows)
        expected_mb = sum(size_mb(name) for name in names)
        delete_pictures(names)
        try:
            count += delete_violations(rows)
        except DatabaseError:
            passed = newer_than(rows[-1].started_at, rows[-1].pk)
        if free_mb(settings.DATA_DIR) - before_mb < expected_mb / 2:
            log.error("the disk fills up as fast as violations are deleted; the rest is kept")
            break
    return count


def before_today(now: datetime) -> Q:
    """Violations that were not seen today, by each site's own day."""
    found = Q(pk__in=[])
    for site in Site.objects.all():
        found |= Q(site=site, started_at__lt=site.midnight(site.local(now).date()))
    return found


def would_help(which: Q, needed_mb: float) -> bool:
    """Whether the pictures of these violations take at least that much of the disk."""
    names = Violation.objects.filter(which).exclude(snapshot="").order_by("started_at", "pk")
    for name in names.values_list("snapshot", flat=True).iterator(STEP_ROWS):
        needed_mb -= size_mb(name)
        if needed_mb <= 0:
            return True
    log.error("the disk is nearly full, and deleting all old violations would not make enough room")
    return False


def size_mb(name: str) -> float:
    try:
        return default_storage.size(name) / 1e6
    except OSError:
        return 0.0


def free_mb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 1e6


def recount() -> None:
    """Correct each site's count of violations to review: a count kept by increments may drift."""
    waiting = Violation.objects.filter(status=Violation.Status.OPEN)
    counts = dict(waiting.order_by().values_list("site_id").annotate(Count("pk")))
    for site_feed in SiteFeed.objects.all():
        if counts.get(site_feed.pk, 0) != site_feed.to_review:
            with transaction.atomic():  # counted again under the feed's lock: the first count may be out of date
                locked = SiteFeed.objects.select_for_update().get(pk=site_feed.pk)
                locked.to_review = waiting.filter(site_id=site_feed.pk).count()
                locked.save(update_fields=["to_review"])


def sweep_orphans(now: datetime, folder: str = "") -> int:
    """Delete pictures that no row refers to: recording was cut off between file and row. Folder by folder."""
    count = 0
    for names in () if picture_files.are_held() else stored_pictures(folder):
        for name in set(names) - picture_files.known(names):
            if now - default_storage.get_modified_time(name) > ORPHAN_AGE:
                default_storage.delete(name)
                count += 1
    return count


def stored_pictures(folder: str = "") -> Iterator[list[str]]:
    """The names of all stored pictures, folder by folder, in lists of at most STEP_ROWS."""
    try:
        folders, files = default_storage.listdir(folder or ".")
    except FileNotFoundError:
        return
    names = [f"{folder}/{file}" if folder else file for file in files]
    for start in range(0, len(names), STEP_ROWS):
        yield names[start : start + STEP_ROWS]
    for each in folders:
        yield from stored_pictures(f"{folder}/{each}" if folder else each)
