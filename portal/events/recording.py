"""Findings become rows: the only place that makes a Passage or a Violation.

A worker's spool is read by one thread, here. Each record is one short transaction; recording twice, or late, changes
nothing (`seq` only grows). A finding counts when its frame was taken in the reign of its token, however late it comes.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, DataError, IntegrityError, close_old_connections, transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Greatest

from cameras.models import CameraLease, Outage, Reign
from cameras.redis import Errors, connection
from cameras.states import CameraState
from cameras.watching import spool
from cameras.watching.spool import Record, SpoolReader, SpoolWriter
from portal.events import feed
from portal.models import Passage, Violation
from portal.models.events import WearLabel
from portal.voice import reminding

log = logging.getLogger(__name__)

UTC = ZoneInfo("UTC")
REIGN_SLACK = timedelta(seconds=2)  # between the clocks of two hosts
RETRY_S = 1.0
LOOK_FOR_ABANDONED_EVERY = 300  # rounds without work
REFUSED_KEY = "refused"
RECORDING_TROUBLE_KEY = "recording-trouble"


class RefusedError(Exception):
    """This record can never become a row; it is kept apart, with the reason."""


def moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise RefusedError(f"{seconds} is no time") from error


def maybe_moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


# -- one record -----------------------------------------------------------------------------------------------------


def record(given: Record) -> None:
    """Apply one record. Raises RefusedError for what can never be applied; DatabaseError and OSError pass through."""
    try:
        reign = Reign.objects.select_related("camera__lease", "camera__site", "camera__voice").get(
            camera_id=given.camera_id, token=given.token
        )
    except Reign.DoesNotExist as error:
        raise RefusedError("its camera is deleted, or its lease was never given") from error
    try:
        if given.kind == "passage":
            _record_passage(given, reign)
        elif given.kind == "violation":
            _record_violation(given, reign)
        elif given.kind == "reign":
            close_left_open(Q(camera_id=given.camera_id, token__lt=given.token))
        elif given.kind == "state":
            _record_state(given, reign)
        elif given.kind == "outage":
            _record_outage(given, reign)
        elif given.kind == "recovered":
            _record_recovery(given, reign)
        else:
            raise RefusedError(f"its kind is {given.kind}")
    except (IntegrityError, DataError, KeyError, ValueError, TypeError) as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from error


def _check_reign(given: Record, reign: Reign) -> None:
    seen_at = moment(given.body["last_seen_at"])
    if seen_at < reign.taken_at - REIGN_SLACK or (reign.ended_at and seen_at > reign.ended_at):
        raise RefusedError("its frame was not taken while its worker held the camera")


def _values(given: Record, reign: Reign) -> dict[str, Any]:
    body = given.body
    ended_at = maybe_moment(body["ended_at"])
    lease = reign.camera.lease
    if ended_at is None and (lease.token != given.token or not lease.worker):
        ended_at = moment(body["last_seen_at"])  # nobody watches under this token any more: nobody would close it
    return {
        "seq": body["seq"],
        "label": body["label"],
        "confidence": body["confidence"],
        "started_at": moment(body["started_at"]),
        "last_seen_at": moment(body["last_seen_at"]),
        "ended_at": ended_at,
    }


@transaction.atomic
def _record_passage(given: Record, reign: Reign) -> None:
    _check_reign(given, reign)
    key, values = UUID(given.body["key"]), _values(given, reign)
    owner = {"site_id": reign.camera.site_id, "camera_id": reign.camera_id, "token": given.token}
    if not Passage.objects.filter(pk=key, seq__lt=values["seq"]).update(**values):
        if Passage.objects.filter(pk=key).exists():
            return
        Passage.objects.create(pk=key, **owner, **values)
    reminding.consider_passage(Passage(pk=key, **owner, **values), reign.camera)


def _record_violation(given: Record, reign: Reign) -> None:
    """File before row: a picture without a row is swept up later, a row without a picture would be seen."""
    _check_reign(given, reign)
    key = UUID(given.body["key"])
    if Violation.objects.filter(pk=key, seq__gte=given.body["seq"]).exists():
        return
    name = store_picture(key, given) if given.picture else ""
    try:
        _write_violation(key, given, reign, name)
    except BaseException:
        _delete_unless_kept(name)
        raise


def _delete_unless_kept(name: str) -> None:
    """A picture whose row was not written goes at once; where that is not known, the sweep for orphans sees to it."""
    with contextlib.suppress(DatabaseError, OSError):
        if name and not Violation.objects.filter(snapshot=name).exists():
            default_storage.delete(name)


def store_picture(key: UUID, given: Record) -> str:
    """Keep a picture in the storage; its name there."""
    day = moment(given.body["started_at"]).strftime("%Y/%m/%d")
    return default_storage.save(f"{day}/{key}-{given.body['seq']}.jpg", ContentFile(given.picture))


@transaction.atomic
def _write_violation(key: UUID, given: Record, reign: Reign, picture: str) -> None:
    values = _values(given, reign)
    bare_since = moment(given.body.get("bare_since", given.body["started_at"]))
    if picture:
        values |= {"snapshot": picture, "box": given.body["box"], "snapshot_at": moment(given.body["snapshot_at"])}
    found = Violation.objects.select_for_update().filter(pk=key).first()
    if found is None:
        if not picture:
            raise RefusedError("it has no picture")
        if not Passage.objects.filter(pk=given.body["passage"]).exists():
            raise RefusedError("its passage is gone")
        found = Violation.objects.create(
            pk=key,
            passage_id=given.body["passage"],
            site_id=reign.camera.site_id,
            camera_id=reign.camera_id,
            token=given.token,
            opened_at=moment(given.body["opened_at"]),
            quiet=not reign.camera.site.alerts_at(moment(given.body["opened_at"])),
            version=0,
            **values,
        )
        feed.publish(found, to_review=+1)
        reminding.consider_violation(found, reign.camera, bare_since)
        return
    if found.seq >= values["seq"]:
        if picture:
            transaction.on_commit(lambda: default_storage.delete(picture), robust=True)
        return
    old = found.snapshot.name if picture else ""
    values["masked_at"] = _masked_at(found, values["ended_at"])
    Violation.objects.filter(pk=key).update(**values)
    feed.publish(found)
    for name, value in values.items():
        setattr(found, name, value)
    reminding.consider_violation(found, reign.camera, bare_since)
    if old:
        transaction.on_commit(lambda: default_storage.delete(old), robust=True)


def _masked_at(violation: Violation, ended_at: datetime | None) -> datetime | None:
    """When this person put a mask on: it ended, and her passage, which is told first, says that she wears one now."""
    if ended_at is None:
        return None
    masked = Passage.objects.filter(pk=violation.passage_id, label=WearLabel.MASK).exists()
    return ended_at if masked else None


@transaction.atomic
def _record_state(given: Record, reign: Reign) -> None:
    """A state of a stale token is no news."""
    lease = CameraLease.objects.filter(camera_id=given.camera_id, token=given.token).exclude(worker="")
    state = CameraState(given.body["state"])
    changed = lease.update(
        state=state, state_since=moment(given.body["at"]), state_detail=str(given.body["detail"])[:300]
    )
    if changed:
        feed.publish_camera(reign.camera_id, reign.camera.site_id)


@transaction.atomic
def _record_outage(given: Record, reign: Reign) -> None:
    """An outage goes on through a change of workers: where one is open, its reason is the newest."""
    if not _is_current(given, reign):
        return
    reason, began_at = str(given.body["reason"])[:300], moment(given.body["began_at"])
    if not Outage.objects.filter(camera_id=given.camera_id, ended_at__isnull=True).update(reason=reason):
        Outage.objects.create(camera_id=given.camera_id, began_at=began_at, reason=reason)
    feed.publish_camera(reign.camera_id, reign.camera.site_id)


@transaction.atomic
def _record_recovery(given: Record, reign: Reign) -> None:
    if _is_current(given, reign):
        end_outage(given.camera_id, moment(given.body["ended_at"]))
        feed.publish_camera(reign.camera_id, reign.camera.site_id)


def _is_current(given: Record, reign: Reign) -> bool:
    lease = reign.camera.lease
    return lease.token == given.token and bool(lease.worker)


def end_outage(camera_id: int, ended_at: datetime) -> bool:
    """Close the camera's open outage, if there is one; whether there was."""
    open_one = Outage.objects.filter(camera_id=camera_id, ended_at__isnull=True)
    return bool(open_one.update(ended_at=Greatest(F("began_at"), Value(ended_at))))


def close_left_open(which: Q) -> int:
    """Close what nobody watches any more, at the moment when it was last seen; how many violations that were."""
    Passage.objects.filter(which, ended_at__isnull=True).update(ended_at=F("last_seen_at"))
    keys = list(Violation.objects.filter(which, ended_at__isnull=True).values_list("pk", flat=True)[:1000])
    for key in keys:
        with transaction.atomic():
            if Violation.objects.filter(pk=key, ended_at__isnull=True).update(ended_at=F("last_seen_at")):
                feed.publish(Violation.objects.get(pk=key))
    return len(keys)


def close_abandoned() -> int:
    """Close what is open under a token that is not, or no longer, held by anybody."""
    held = Q(camera__lease__token=F("token")) & ~Q(camera__lease__worker="")
    return close_left_open(~held)


# -- the recorder ---------------------------------------------------------------------------------------------------


@dataclass
class Recorder:
    """The one thread of a worker that moves its spool, and those of gone workers, into the database."""

    writer: SpoolWriter
    spool_root: Path
    refused_root: Path
    stopping: threading.Event = field(default_factory=threading.Event)
    _idle_rounds: int = 0
    _trouble: str = ""

    def __post_init__(self) -> None:
        self._reader = SpoolReader(self.writer.folder)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, within_s: float = 2.0) -> None:
        """Record what was written, as far as the time goes; the rest is found by the next worker."""
        self.stopping.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        try:
            self._safely(self.look_after_the_gone)
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
        """Until something was written, or a second is over."""
        if self._trouble:
            self.stopping.wait(RETRY_S)
        with self.writer.written:
            self.writer.written.wait(RETRY_S)
        self._idle_rounds += 1
        if self._idle_rounds % LOOK_FOR_ABANDONED_EVERY == 0:
            self._safely(self.look_after_the_gone)

    def step(self) -> bool:
        """Record the next few records; False where there are none."""
        places = self._reader.batch()
        for place in places:
            self.apply(place[0])
            self._reader.done(place, self.writer.active())
        return bool(places)

    def apply(self, given: Record) -> None:
        """Record, or keep apart what cannot be recorded. A database or disk that does not answer passes through."""
        try:
            record(given)
        except (DatabaseError, OSError):
            raise
        except Exception as error:
            log.warning("a %s of camera %s was refused: %s", given.kind, given.camera_id, error)
            spool.refuse(self.refused_root, given, str(error))
            try:
                connection().incr(REFUSED_KEY)
            except Errors:
                log.warning("the refused record could not be counted")

    def look_after_the_gone(self) -> bool:
        """Record what workers that are gone had seen, and close what they left open; whether there was anything."""
        drained = self.drain_abandoned()
        return close_abandoned() + drained > 0

    def drain_abandoned(self) -> int:
        """Record the spools of workers that are gone; how many spools."""
        count = 0
        for folder, lock in spool.abandoned(self.spool_root):
            with lock:
                reader = SpoolReader(folder)
                while places := reader.batch():
                    for place in places:
                        self.apply(place[0])
                        reader.done(place, None)
                spool.discard(folder)
                count += 1
                log.info("recorded the spool %s of a worker that is gone", folder.name)
        return count

    def _safely(self, step: Callable[[], object]) -> bool:
        """One step. A database that does not answer, or a full disk, is waited out; nothing is lost meanwhile."""
        close_old_connections()
        try:
            worked = bool(step())
            self._tell_trouble("")
            return worked
        except (DatabaseError, OSError) as error:
            self._tell_trouble(type(error).__name__ if isinstance(error, DatabaseError) else str(error.strerror))
        except Exception:
            log.exception("the recorder stumbled; it tries again")
            self._tell_trouble("fault")
        return False

    def _tell_trouble(self, trouble: str) -> None:
        """Note it where the dashboard looks, anew with each try; it goes by itself if we do."""
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


def refused_count() -> int:
    """How many records could never be recorded, ever since Redis was empty."""
    return int(cast("bytes | None", connection().get(REFUSED_KEY)) or 0)


def recording_trouble() -> str:
    """Why nothing can be recorded at the moment, in the system's words; empty when all is well."""
    value = cast("bytes | None", connection().get(RECORDING_TROUBLE_KEY))
    return value.decode() if value else ""
