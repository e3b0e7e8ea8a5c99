"""The one thread of a worker that moves its spool, and those of workers that are gone, into the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from django.db import DatabaseError, close_old_connections, transaction

from cameras.models import Camera
from cameras.redis import Errors, connection, ended_key
from cameras.watching import crashes, spool
from cameras.watching.spool import Record, SpoolReader, SpoolWriter
from portal.events import outgoing
from portal.events.follow_ups import CameraChange, follow
from portal.events.recording import close_abandoned, record

log = logging.getLogger(__name__)

RETRY_S = 1.0
LOOK_FOR_ABANDONED_EVERY = 300  # rounds without work
ENDED_S = 60
REFUSED_KEY = "refused"
RECORDING_TROUBLE_KEY = "recording-trouble"


@dataclass
class Recorder:
    """Reads a spool from `start` to `close`; what cannot be recorded is set aside and blocks nothing."""

    writer: SpoolWriter
    spool_root: Path
    refused_root: Path
    stopping: threading.Event = field(default_factory=threading.Event)
    _idle_rounds: int = 0
    _trouble: str = ""
    _kept: tuple[Path, int] = (Path(), 0)  # up to here, for the portal: a batch that failed comes again

    def __post_init__(self) -> None:
        self._reader = SpoolReader(self.writer.folder)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, within_s: float = 2.0) -> None:
        """Record what was written, as far as time allows; the next worker finds the rest."""
        self.stopping.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        try:
            self._safely(self._look_after_the_gone)
            while not self.stopping.is_set():
                if not self._safely(self.step):
                    self._wait()
            while self._safely(self.step):
                pass
            self._safely(self._discard_if_done)
        finally:
            self.writer.unlock()
            close_old_connections()

    def _discard_if_done(self) -> None:
        if not self._reader.batch(1):
            spool.discard(self.writer.folder)

    def _wait(self) -> None:
        """Wait until something is written, or for a second."""
        if self._trouble:
            self.stopping.wait(RETRY_S)
        with self.writer.written:
            self.writer.written.wait(RETRY_S)
        self._idle_rounds += 1
        if self._idle_rounds % LOOK_FOR_ABANDONED_EVERY == 0:
            self._safely(self._look_after_the_gone)

    def _look_after_the_gone(self) -> bool:
        return look_after_the_gone(self.spool_root, self.refused_root)

    def step(self) -> bool:
        """Record the next few records; False if there are none."""
        places = self._reader.batch()
        outgoing.keep(record for record, path, position in places if (path, position) > self._kept)
        self._kept = max([self._kept, *((path, position) for _record, path, position in places)])
        for place in places:
            apply(place[0], self.refused_root)
            self._reader.done(place, self.writer.active())
        return bool(places)

    def _safely(self, step: Callable[[], object]) -> bool:
        """Run one step. A database that does not answer or a full disk is waited out; nothing is lost meanwhile."""
        close_old_connections()
        try:
            worked = bool(step())
            self._tell_trouble("")
            return worked
        except (DatabaseError, OSError) as error:
            self._tell_trouble(type(error).__name__ if isinstance(error, DatabaseError) else str(error.strerror))
        except Exception:
            log.exception("the recorder failed; it tries again")
            self._tell_trouble("fault")
        return False

    def _tell_trouble(self, trouble: str) -> None:
        """Note it where the dashboard looks, again on each try; it expires by itself if we stop."""
        if not trouble and not self._trouble:
            return
        if trouble and trouble != self._trouble:
            log.error("nothing can be recorded at the moment: %s", trouble)
        self._trouble = trouble
        try:
            if trouble:
                connection().set(RECORDING_TROUBLE_KEY, trouble, ex=60)
            else:
                connection().delete(RECORDING_TROUBLE_KEY)
        except Errors:
            log.warning("Redis does not answer")


def apply(given: Record, refused_root: Path) -> None:
    """Record it, or set it aside if it cannot be recorded. Errors of the database or the disk pass through."""
    try:
        record(given)
    except (DatabaseError, OSError):
        raise
    except Exception as error:
        log.warning("a %s of camera %s was refused: %s", given.kind, given.camera_id, error)
        spool.refuse(refused_root, given, str(error))
        try:
            connection().incr(REFUSED_KEY)
        except Errors:
            log.warning("the refused record could not be counted")


def look_after_the_gone(spool_root: Path, refused_root: Path) -> bool:
    """Record what workers that are gone saw, and close what they left open; returns whether there was anything.

    By whoever can: every stream worker, and the job worker, each for the spools on its own disk.
    """
    drained = drain_abandoned(spool_root, refused_root)
    return close_abandoned() + drained > 0


def drain_abandoned(spool_root: Path, refused_root: Path) -> int:
    """Record the spools of workers that are gone; returns how many spools."""
    count = 0
    for folder, lock in spool.abandoned(spool_root):
        with lock:
            note_ended(folder.name)
            if (camera_id := crashes.blamed(folder)) is not None:
                blame(camera_id)
            reader = SpoolReader(folder)
            while places := reader.batch():
                outgoing.keep(place[0] for place in places)
                for place in places:
                    apply(place[0], refused_root)
                    reader.done(place, None)
            spool.discard(folder)
            count += 1
            log.info("recorded the spool %s of a worker that is gone", folder.name)
    return count


def blame(camera_id: int) -> None:
    """A stream made its worker crash; open pages learn of it if its camera is watched no more."""
    if crashes.note_crash(camera_id):
        with transaction.atomic():
            follow(CameraChange(Camera.objects.select_related("site").get(pk=camera_id)))


def note_ended(spool_name: str) -> None:
    """Say that this spool's worker is gone: the next of its name need not wait for its time-to-live."""
    try:
        connection().set(ended_key(spool_name), "1", ex=ENDED_S)
    except Errors:
        log.warning("Redis does not answer")


def refused_count() -> int:
    """How many records could not be recorded, since Redis was last empty."""
    return int(cast("bytes | None", connection().get(REFUSED_KEY)) or 0)


def recording_trouble() -> str:
    """Why nothing can be recorded at the moment, in the system's words; empty if all is well."""
    value = cast("bytes | None", connection().get(RECORDING_TROUBLE_KEY))
    return value.decode() if value else ""
