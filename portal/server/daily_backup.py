"""The backup of each day, made by the job worker: BACKUP_DIR, BACKUP_PASSPHRASE, and BACKUP_KEEP of them."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from portal.events import notices
from portal.server.backup import BackupError, make

log = logging.getLogger(__name__)

SUFFIX = ".backup"


def folder() -> Path | None:
    """BACKUP_DIR; None: no backups are made by themselves."""
    return Path(settings.BACKUP_DIR) if settings.BACKUP_DIR else None


def made_in(place: Path) -> list[tuple[datetime, Path]]:
    """The backups that were made there by themselves, the oldest first."""
    found = []
    for path in place.glob(f"masks-*{SUFFIX}"):
        with suppress(ValueError):
            moment = datetime.strptime(path.name, f"masks-%Y%m%dT%H%M%SZ{SUFFIX}").replace(tzinfo=UTC)
            found.append((moment, path))
    return sorted(found)


def make_daily(now: datetime | None = None) -> Path | None:
    """Make the day's backup if it is time, and delete those older than the last BACKUP_KEEP; None if it is not time."""
    place, now = folder(), now or timezone.now()
    if place is None:
        return None
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = made_in(place)
    if before and now - before[-1][0] < timedelta(days=1):
        return None
    path = place / f"masks-{now:%Y%m%dT%H%M%SZ}{SUFFIX}"
    make(path, settings.BACKUP_PASSPHRASE)
    for _moment, old in made_in(place)[: -settings.BACKUP_KEEP]:
        old.unlink(missing_ok=True)
    return path


def keep() -> None:
    """`make_daily`, whose failure is told where managers and operators look (portal/events/notices.py)."""
    try:
        if make_daily() is not None:
            notices.note_backup_trouble("")
    except (BackupError, OSError) as error:
        log.error("no backup: %s", error)
        notices.note_backup_trouble(str(error))


def age(now: datetime | None = None) -> timedelta | None:
    """How old the newest of them is; None if there is none, or none should be."""
    place = folder()
    made = made_in(place) if place is not None and place.is_dir() else []
    return (now or timezone.now()) - made[-1][0] if made else None


def described() -> dict[str, Any]:
    """For /healthz: whether backups are made, and how old the newest is."""
    if folder() is None:
        return {"made": False, "age_hours": None}
    known = age()
    return {"made": True, "age_hours": None if known is None else round(known.total_seconds() / 3600, 1)}
