"""What comes from a worker at a site: findings, previews, reports of tests, reminders. Each only of its own site."""

from __future__ import annotations

import io
import logging
import struct
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from cameras.models import Camera, CameraLease, ProbeRequest, Reign, SiteWorker
from cameras.redis import ENCODED_KEY, connection, preview_key
from cameras.setup import probe
from cameras.watching.preview import TIME_TO_LIVE_S, read_header, read_picture
from cameras.watching.spool import Record, read_records
from cameras.watching.worker import refused_root
from portal.devices.pushing import FrameError, check_picture
from portal.events import recorder
from portal.events.recording import moment
from portal.models import Passage, Reminder, Silence, Violation
from portal.site_workers.messages import MOST_BATCH_RECORDS, Spoken

log = logging.getLogger(__name__)


class IntakeError(ValueError):
    """What came cannot be taken; the text says why."""


def take_findings(worker: SiteWorker, body: bytes) -> int:
    """Record them in order; returns how many. Twice is as good as once.

    Raises IntakeError if one is not of this worker, before anything is recorded; DatabaseError and OSError pass
    through: then it sends all of them again.
    """
    read = list(read_records(io.BytesIO(body)))
    if not read or read[-1][1] != len(body):
        raise IntakeError("This is no batch of records, or it was cut.")
    if len(read) > MOST_BATCH_RECORDS:
        raise IntakeError(f"At most {MOST_BATCH_RECORDS} records at once.")
    records = [record for record, _position in read]
    tokens = _Reigns(worker, {record.camera_id for record in records})
    ours = cameras_of(worker)
    for record in records:
        if record.camera_id in ours and not tokens.has(record):
            raise IntakeError(f"This worker never held camera {record.camera_id} under token {record.token}.")
        if record.picture:
            _check_jpeg(record.picture)
    for record in records:
        if record.camera_id in ours:  # else it was deleted meanwhile
            recorder.apply(tokens.current(record), refused_root())
    return len(records)


def cameras_of(worker: SiteWorker) -> set[int]:
    """The cameras of its site: of no other can it tell anything."""
    return set(Camera.objects.filter(site=worker.site_id).values_list("pk", flat=True))


def _check_jpeg(picture: bytes) -> None:
    try:
        check_picture(picture)
    except FrameError as error:
        raise IntakeError(str(error)) from error


class _Reigns:
    """Under which token a record counts. The line may have been cut, and the worker given its camera again: what it
    saw since then it says under the token before, until it hears of it.
    """

    def __init__(self, worker: SiteWorker, camera_ids: set[int]) -> None:
        of_site = worker.worker_name.rpartition(":")[0] + ":"  # an earlier key of the same machine, too
        rows = Reign.objects.filter(camera_id__in=camera_ids, camera__site=worker.site_id, worker__startswith=of_site)
        found = {(row.camera_id, row.token): row for row in rows}
        self._known = found.keys()
        self._reigns = {key: row for key, row in found.items() if row.worker == worker.worker_name}

    def has(self, record: Record) -> bool:
        return (record.camera_id, record.token) in self._known

    def current(self, record: Record) -> Record:
        camera_id, token = record.camera_id, record.token
        at = record.body.get("last_seen_at")
        while (camera_id, token) in self._reigns and (camera_id, token + 1) in self._reigns:
            ended_at = self._reigns[camera_id, token].ended_at
            if isinstance(at, int | float) and (ended_at is None or moment(float(at)) <= ended_at):
                break
            token += 1
        return Record(record.body | {"token": token}, record.picture)


def take_preview(worker: SiteWorker, camera_id: int, pixelated: bool, data: bytes) -> None:
    """Show it to whoever looks. Raises IntakeError if this worker does not hold the camera, or it is no preview."""
    if not CameraLease.objects.filter(camera_id=camera_id, worker=worker.worker_name).exists():
        raise IntakeError(f"This worker does not hold camera {camera_id}.")
    try:
        header = read_header(data)
        number, shown = int(header["number"]), header["camera"]
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise IntakeError("This is no preview.") from error
    if shown != camera_id:
        raise IntakeError("This is a preview of another camera.")
    _check_jpeg(read_picture(data))
    pipeline = connection().pipeline(transaction=False)
    pipeline.set(preview_key(camera_id, pixelated), data, ex=TIME_TO_LIVE_S)
    pipeline.publish(preview_key(camera_id, pixelated), str(number))
    pipeline.hincrby(ENCODED_KEY, str(camera_id), 1)
    pipeline.execute()


def take_report(worker: SiteWorker, test: UUID, report: str, picture: bytes = b"") -> None:
    """The report of a test so far, and its picture if there is one. Raises IntakeError if it is not of this site."""
    if not ProbeRequest.objects.filter(pk=test, site=worker.site_id).exists():
        raise IntakeError("There is no such test at this site.")
    if picture:
        _check_jpeg(picture)
        connection().set(probe.picture_key(test), picture, ex=probe.KEPT)
    if report:
        try:
            probe.publish(test, probe.Report.decode(report))
        except (ValueError, TypeError, KeyError) as error:
            raise IntakeError("This is no report of a test.") from error


def take_reminders(worker: SiteWorker, spoken: list[Spoken]) -> list[UUID]:
    """What its doors said, or why they did not. Returns those of a passage that is not known: not yet, or erased."""
    ours = cameras_of(worker)
    return [
        each.id for each in spoken
        if each.camera in ours and each.step in Reminder.Step and each.why_not in {"", *Silence.values}
        and not _take_reminder(worker, each)
    ]  # fmt: skip


def _take_reminder(worker: SiteWorker, said: Spoken) -> bool:
    """Whether that is done with."""
    outcome: dict[str, Any] = {
        "sent_at": said.sent_at, "played_at": said.played_at, "why_not": said.why_not, "detail": said.detail,
    }  # fmt: skip
    if Reminder.objects.filter(pk=said.id, site=worker.site_id).update(**outcome):
        return True
    site = worker.site_id
    if said.passage and not Passage.objects.filter(pk=said.passage, site=site).exists():
        return False
    is_known = said.violation and Violation.objects.filter(pk=said.violation, site=site).exists()
    values = {name: getattr(said, name) for name in ("step", "text", "language", "output", "decided_at")} | outcome
    try:
        with transaction.atomic():
            Reminder.objects.create(
                pk=said.id, site_id=site, camera_id=said.camera, passage_id=said.passage,
                violation_id=said.violation if is_known else None, **values,
            )  # fmt: skip
    except IntegrityError:
        log.info("a reminder of camera %s was known already", said.camera)  # that door said it before this worker did
    return True
