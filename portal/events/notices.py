"""What the portal itself has to tell its managers: a full disk, deleted violations, findings that were refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cameras.redis import connection
from cameras.watching.leases import living_workers
from portal.alerts.waking import TROUBLE_KEY
from portal.events import processes
from portal.events.recorder import recording_trouble, refused_count

DISK_KEY = "disk-notice"
DISK_NOTICE_S = 24 * 3600
BACKUP_KEY = "backup-trouble"
BACKUP_NOTICE_S = 2 * 24 * 3600  # it is tried every ten minutes
DISK_STUCK_KEY = "disk-stuck"
DISK_STUCK_S = 300  # it is noted each minute while it lasts


def note_deleted_for_space(count: int, floor_mb: float) -> None:
    """Remember that violations were deleted early; the count is kept for a day."""
    before = cast("bytes | None", connection().get(DISK_KEY))
    total = count + (json.loads(before)["count"] if before else 0)
    connection().set(DISK_KEY, json.dumps({"count": total, "floor_mb": floor_mb}), ex=DISK_NOTICE_S)


def note_disk_stuck(is_stuck: bool) -> None:
    """Remember that the disk is nearly full, and that deleting violations does not help."""
    if is_stuck:
        connection().set(DISK_STUCK_KEY, "1", ex=DISK_STUCK_S)
    else:
        connection().delete(DISK_STUCK_KEY)


def note_backup_trouble(reason: str) -> None:
    """Remember why the last backup failed; empty: it did not."""
    if reason:
        connection().set(BACKUP_KEY, reason[:300], ex=BACKUP_NOTICE_S)
    else:
        connection().delete(BACKUP_KEY)


def current_notices() -> dict[str, str]:
    """Sentences by a short key: what is wrong, and what to do. A few queries to Redis, none to the database."""
    found: dict[str, str] = {}
    workers = living_workers()
    for name in sorted(processes.read(Path(settings.DATA_DIR))):
        found[f"process-{name}"] = _(
            "The part “%(name)s” of the portal keeps stopping, and is restarted after longer and longer "
            "pauses. Ask the operator of this portal to check the logs."
        ) % {"name": name}
    if recording_trouble() or any(worker.trouble for worker in workers):
        found["not-stored"] = (
            _("New violations cannot be stored at the moment: the disk or the database of the portal's machine is full "
              "or does not answer. Live pictures go on, and what was seen is stored as soon as there is room.")
        )  # fmt: skip
    if (lost := refused_count() + sum(worker.dropped for worker in workers)) > 0:
        found["refused"] = ngettext(
            "%(count)d finding could not be stored and is kept aside. "
            "Ask the operator of this portal to check the logs.",
            "%(count)d findings could not be stored and are kept aside. "
            "Ask the operator of this portal to check the logs.",
            lost,
        ) % {"count": lost}
    if connection().exists(DISK_STUCK_KEY):
        found["disk-full"] = (
            _("The disk of the portal's machine is nearly full, and deleting old violations would not help: something "
              "else fills it. Free some space there. Violations are kept.")
        )  # fmt: skip
    if trouble := cast("bytes | None", connection().get(TROUBLE_KEY)):
        found["mqtt"] = trouble.decode(errors="replace")
    if reason := cast("bytes | None", connection().get(BACKUP_KEY)):
        found["no-backup"] = _("The last backup failed. Ask the operator of this portal. The reason: %(reason)s") % {
            "reason": reason.decode(errors="replace")
        }
    deleted = cast("bytes | None", connection().get(DISK_KEY))
    if deleted:
        note = json.loads(deleted)
        found["deleted-early"] = ngettext(
            "%(count)d old violation was deleted to keep %(floor)d MB of the disk free. Make room, or keep fewer days.",
            "%(count)d old violations were deleted to keep %(floor)d MB of the disk free. "
            "Make room, or keep fewer days.",
            note["count"],
        ) % {"count": note["count"], "floor": round(note["floor_mb"])}
    return found
