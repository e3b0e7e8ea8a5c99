"""Which stream made its worker crash: a decoder that ends the process takes all of the worker's cameras with it.

Python's own fault handler writes which thread a fatal signal came to (a segmentation fault, say) into the worker's
spool; the watches write which thread is whose camera. Whoever records the spool of the worker that is gone reads both.

    crashes.listen(folder)                  # once, at the worker's start
    crashes.note_thread(folder, 7)          # by each watch, in its thread
    crashes.blamed(folder)                  # afterwards, by another process: 7

A camera that was blamed twice within AN_HOUR is not handed out again until its settings change, or somebody says so.
"""

from __future__ import annotations

import faulthandler
import logging
import re
import threading
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from cameras.models import CameraLease
from cameras.states import CameraState
from cameras.watching import leases

log = logging.getLogger(__name__)

FAULTS, THREADS = "faults", "threads"  # files in a spool
AN_HOUR = timedelta(hours=1)
_CURRENT = re.compile(r"Fatal Python error.*?Current thread (0x[0-9a-f]+)", re.DOTALL)


def listen(folder: Path) -> None:
    """From now on a fatal signal to this process is noted in its spool, and ends it as before."""
    faulthandler.enable((folder / FAULTS).open("w"))  # it stays open as long as the process lives


def note_thread(folder: Path, camera_id: int) -> None:
    """The thread that calls this watches this camera from now on."""
    with (folder / THREADS).open("a") as file:
        file.write(f"{threading.get_ident():#x} {threading.get_native_id()} {camera_id}\n")


def blamed(folder: Path) -> int | None:
    """The camera whose thread made the worker of this spool crash; None if it did not crash, or in another thread."""
    try:
        found = _CURRENT.search((folder / FAULTS).read_text(errors="replace"))
        lines = (folder / THREADS).read_text().splitlines()
    except OSError:
        return None
    if found is None:
        return None
    thread = int(found[1], 16)
    watched = [int(camera) for ident, _native, camera in map(str.split, lines) if int(ident, 16) == thread]
    return watched[-1] if watched else None


@transaction.atomic
def note_crash(camera_id: int, now: datetime | None = None) -> bool:
    """Count a crash against a camera; returns whether it is put into quarantine."""
    now = now or timezone.now()
    lease = CameraLease.objects.select_for_update().select_related("camera").filter(camera_id=camera_id).first()
    if lease is None:
        return False
    again = lease.crashed_at is not None and now - lease.crashed_at < AN_HOUR
    count = lease.crashes + 1 if again and lease.crashed_version == lease.camera.version else 1
    rows = CameraLease.objects.filter(camera_id=camera_id)
    rows.update(crashes=count, crashed_at=now, crashed_version=lease.camera.version)
    log.error("camera %s made its worker crash, the %d. time", camera_id, count)
    if count < leases.MOST_CRASHES:
        return False
    leases.release(camera_id, lease.token, CameraState.QUARANTINE)
    rows.update(state_detail=str(CameraState.QUARANTINE.remedy))
    leases.open_outage(camera_id, now, _("Its video crashed the worker twice."))
    return True
