"""What is old, or has no room, is deleted: rows and pictures together. Run by beat every minute, in small steps."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from cameras.models import Reign, Site
from portal import feed, notices
from portal.models import Passage, SiteFeed, Violation
from portal.recording import close_abandoned

log = logging.getLogger(__name__)

STEP_ROWS = 200
ORPHAN_AGE = timedelta(hours=1)
REIGN_AGE = timedelta(days=30)


@dataclass(frozen=True)
class Swept:
    """What one round deleted."""

    violations: int = 0
    passages: int = 0
    for_space: int = 0


def sweep(now: datetime | None = None) -> Swept:
    """One round: what is too old, then what has no room."""
    now = now or timezone.now()
    close_abandoned()
    violations, passages = delete_old(now)
    for_space = keep_disk_free(settings.FREE_DISK_FLOOR_MB)
    if for_space:
        notices.note_deleted_for_space(for_space, settings.FREE_DISK_FLOOR_MB)
    Reign.objects.filter(ended_at__lt=now - REIGN_AGE).delete()
    recount()
    return Swept(violations, passages, for_space)


def delete_old(now: datetime) -> tuple[int, int]:
    """Violations and passages beyond their site's days; how many of each."""
    violations = passages = 0
    for site in Site.objects.all():
        limit = now - timedelta(days=site.retention_days)
        old = Violation.objects.filter(site=site, started_at__lt=limit).order_by("started_at")
        while rows := list(old[:STEP_ROWS]):
            violations += delete_violations(rows)
        ended = Passage.objects.filter(site=site, started_at__lt=limit, violations__isnull=True)
        while keys := list(ended.values_list("pk", flat=True)[:STEP_ROWS]):
            passages += Passage.objects.filter(pk__in=keys).delete()[0]
    return violations, passages


def delete_violations(rows: list[Violation]) -> int:
    """Delete these rows, and their pictures on commit; open pages are told. How many they were."""
    by_site: dict[int, list[Violation]] = defaultdict(list)
    for row in rows:
        by_site[row.site_id].append(row)
    count = 0
    for site_id, site_rows in by_site.items():
        with transaction.atomic():
            keys = [row.pk for row in site_rows]
            waiting = Violation.objects.filter(pk__in=keys, status=Violation.Status.OPEN).count()
            count += Violation.objects.filter(pk__in=keys).delete()[1].get("portal.Violation", 0)
            feed.publish_gone(site_id, [str(key) for key in keys], waiting)
            names = [row.snapshot.name for row in site_rows if row.snapshot.name]
            transaction.on_commit(lambda names=names: delete_pictures(names))  # type: ignore[misc]
    return count


def delete_pictures(names: list[str]) -> None:
    for name in names:
        default_storage.delete(name)


def keep_disk_free(floor_mb: float) -> int:
    """Delete the oldest violations until the floor of free disk is kept; how many.

    Here the pictures go first: on a full disk the database could not even delete a row.
    """
    count = 0
    while free_mb(settings.DATA_DIR) < floor_mb:
        rows = list(Violation.objects.order_by("started_at", "pk")[: STEP_ROWS // 10])
        if not rows:
            log.error("the disk has under %s MB free, and there is no violation left to delete", floor_mb)
            break
        delete_pictures([row.snapshot.name for row in rows if row.snapshot.name])
        count += delete_violations(rows)
    return count


def free_mb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 1e6


def recount() -> None:
    """Set each site's count of violations to review to what it is: a count that is added to may drift."""
    for site_feed in SiteFeed.objects.all():
        waiting = Violation.objects.filter(site_id=site_feed.pk, status=Violation.Status.OPEN).count()
        if waiting != site_feed.to_review:
            with transaction.atomic():
                locked = SiteFeed.objects.select_for_update().get(pk=site_feed.pk)
                locked.to_review = Violation.objects.filter(site_id=site_feed.pk, status=Violation.Status.OPEN).count()
                locked.save(update_fields=["to_review"])


def sweep_orphans(now: datetime, folder: str = "") -> int:
    """Delete pictures that no row knows: their recording was cut off between file and row. Folder by folder."""
    count = 0
    for names in stored_pictures(folder):
        known = set(Violation.objects.filter(snapshot__in=names).values_list("snapshot", flat=True))
        for name in set(names) - known:
            if now - default_storage.get_modified_time(name) > ORPHAN_AGE:
                default_storage.delete(name)
                count += 1
    return count


def stored_pictures(folder: str = "") -> Iterator[list[str]]:
    """The names of all stored pictures, a list a folder, at most STEP_ROWS each."""
    try:
        folders, files = default_storage.listdir(folder or ".")
    except FileNotFoundError:
        return
    names = [f"{folder}/{file}" if folder else file for file in files]
    for start in range(0, len(names), STEP_ROWS):
        yield names[start : start + STEP_ROWS]
    for each in folders:
        yield from stored_pictures(f"{folder}/{each}" if folder else each)
