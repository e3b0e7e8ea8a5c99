"""Turns findings into rows: the only place that makes a Passage or a Violation.

Each record of a spool is one short transaction; recording twice, or late, changes nothing (`seq` only grows). A finding
counts if its frame was taken during the reign of its token, however late it arrives. What follows from a row is in
follow_ups.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, DataError, IntegrityError, transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Greatest

from cameras.models import CameraLease, CameraSpot, Outage, Reign
from cameras.watching import findings
from cameras.watching.findings import (
    GlimpseFinding,
    OutageFinding,
    Picture,
    RecoveryFinding,
    ReignFinding,
    SpotFinding,
    StateFinding,
    Told,
)
from cameras.watching.spool import Record
from detection import PassageFinding, ViolationFinding
from detection.zones import REQUIRED
from portal.events import picture_files
from portal.events.follow_ups import CameraChange, PassageChange, ViolationChange, follow
from portal.models import ErasedPassage, Passage, Violation, ViolationGlimpse, policy_of
from portal.models.events import WearLabel

UTC = ZoneInfo("UTC")


class RefusedError(Exception):
    """This record can never become a row; it is set aside, with the reason."""


class ErasedError(Exception):
    """This record is about a person who was erased: it is dropped."""


def moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise RefusedError(f"{seconds} is not a time") from error


def maybe_moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


# -- one record -----------------------------------------------------------------------------------------------------


def record(given: Record) -> None:
    """Apply one record; one of an erased person is dropped.

    Raises RefusedError if it can never be applied; DatabaseError and OSError pass through.
    """
    try:
        reign = Reign.objects.select_related("camera__lease", "camera__site__policy", "camera__voice").get(
            camera_id=given.camera_id, token=given.token
        )
    except Reign.DoesNotExist as error:
        raise RefusedError("its camera is deleted, or its lease was never given") from error
    try:
        told = findings.decode(given)
        if isinstance(told.finding, PassageFinding | ViolationFinding) and told.finding.label not in WearLabel:
            raise RefusedError(f"{told.finding.label!r} is no label")
        if isinstance(told.finding, PassageFinding | ViolationFinding | GlimpseFinding):
            _check_reign(told.finding.last_seen_at, reign, given.body)
        _record_finding(told, reign)
    except ErasedError:
        return
    except (IntegrityError, DataError, ValueError, TypeError) as error:
        passage = str(given.body.get("passage", given.body.get("key")))
        if isinstance(error, IntegrityError) and ErasedPassage.objects.filter(pk=passage).exists():
            return  # the passage went while this was written
        raise RefusedError(f"{type(error).__name__}: {error}") from error


def _record_finding(told: Told, reign: Reign) -> None:
    match told.finding:
        case PassageFinding():
            _record_passage(told.finding, reign)
        case ViolationFinding():
            _record_violation(told.finding, told.picture, reign)
        case GlimpseFinding():
            _record_glimpse(told.finding, told.picture, reign)
        case ReignFinding():
            _record_reign(told.finding, reign)
        case StateFinding():
            _record_state(told.finding, reign)
        case OutageFinding():
            _record_outage(told.finding, reign)
        case RecoveryFinding():
            _record_recovery(told.finding, reign)
        case SpotFinding():
            _record_spot(told.finding, reign)


def _record_reign(finding: ReignFinding, reign: Reign) -> None:
    """What others left open is over; so is what an earlier watch under this token did, as those of a site's worker."""
    before = Q(token__lt=reign.token) | Q(token=reign.token, last_seen_at__lt=moment(finding.at))
    close_left_open(Q(camera_id=reign.camera_id) & before, finding.goes_on)


def _check_reign(last_seen_at: float, reign: Reign, body: Mapping[str, Any]) -> None:
    """Raise RefusedError if the frame was taken after the reign ended: another worker watches since then."""
    seen_at = moment(last_seen_at)
    if reign.ended_at is None:
        return
    uptime_s = body.get("uptime")
    if reign.ended_boot and reign.ended_boot == body.get("boot") and isinstance(uptime_s, float):
        is_after = uptime_s > (reign.ended_uptime_s or 0.0)
    else:
        is_after = seen_at > reign.ended_at
    if is_after:
        raise RefusedError("its frame was not taken while its worker held the camera")


def _values(finding: PassageFinding | ViolationFinding, reign: Reign) -> dict[str, Any]:
    ended_at = maybe_moment(finding.ended_at)
    if ended_at is None and not _holds(reign):
        ended_at = moment(finding.last_seen_at)  # nobody watches under this token any more, so nobody would close it
    return {
        "seq": finding.seq,
        "token": reign.token,  # somebody who stays in view while workers change goes on under the new one
        "label": finding.label,
        "confidence": finding.confidence,
        "started_at": moment(finding.started_at),
        "last_seen_at": moment(finding.last_seen_at),
        "ended_at": ended_at,
    }


def _holds(reign: Reign) -> bool:
    """Whether its worker still holds the camera."""
    lease = reign.camera.lease
    return lease.token == reign.token and bool(lease.worker)


@transaction.atomic
def _record_passage(finding: PassageFinding, reign: Reign) -> None:
    key, values = finding.key, _values(finding, reign) | {"demand": finding.demand}
    owner = {"site_id": reign.camera.site_id, "camera_id": reign.camera_id}
    older = Passage.objects.filter(pk=key, camera_id=reign.camera_id, seq__lt=values["seq"])
    if not older.update(**values):
        if Passage.objects.filter(pk=key).exists():
            return
        Passage.objects.create(pk=key, **owner, **values)
        _check_not_erased(key)
    follow(PassageChange(Passage(pk=key, **owner, **values), reign.camera))


def _record_violation(finding: ViolationFinding, picture: Picture | None, reign: Reign) -> None:
    """The file before the row: a picture without a row is swept up later, but a row without a picture would be seen."""
    known = Violation.objects.filter(pk=finding.key)
    if known.exclude(seq__lt=finding.seq, camera_id=reign.camera_id).exists():
        return
    if picture is not None and picture.is_spare and known.exists():
        picture = None
    name = store_picture(finding, picture) if picture else ""
    try:
        _write_violation(finding, picture, reign, name)
    except BaseException:
        _delete_unless_kept(name)
        raise


def _delete_unless_kept(name: str) -> None:
    """Delete a picture whose row was not written at once; if that is unknown, the sweep for orphans deletes it."""
    with contextlib.suppress(DatabaseError, OSError):
        if name and not picture_files.known([name]):
            default_storage.delete(name)


def store_picture(finding: ViolationFinding, picture: Picture) -> str:
    """Save a picture in the storage; returns its name there."""
    day = moment(finding.started_at).strftime("%Y/%m/%d")
    return default_storage.save(f"{day}/{finding.key}-{finding.seq}.jpg", ContentFile(picture.jpeg))


@transaction.atomic
def _write_violation(finding: ViolationFinding, picture: Picture | None, reign: Reign, name: str) -> None:
    values = _values(finding, reign)
    if picture:
        shown = {"snapshot": name, "box": list(finding.box), "snapshot_at": moment(picture.captured_at)}
        values |= shown
    bare_since = moment(finding.bare_since)
    found = Violation.objects.select_for_update().filter(pk=finding.key).first()
    if found is None:
        new = _create_violation(finding, values, reign)
        follow(ViolationChange(new, reign.camera, bare_since, is_new=True, demand=finding.demand))
        return
    if found.seq >= finding.seq:
        if name:
            transaction.on_commit(lambda: picture_files.drop_replaced(name), robust=True)
        return
    old = found.snapshot.name if name else ""
    is_shown = bool(name) or (found.label, found.ended_at) != (values["label"], values["ended_at"])
    values["masked_at"] = _masked_at(found, values["ended_at"])
    Violation.objects.filter(pk=found.pk).update(**values)
    for field, value in values.items():
        setattr(found, field, value)
    follow(ViolationChange(found, reign.camera, bare_since, is_shown=is_shown))
    if old:
        transaction.on_commit(lambda: picture_files.drop_replaced(old), robust=True)


def _record_glimpse(finding: GlimpseFinding, picture: Picture | None, reign: Reign) -> None:
    """A picture of the filmstrip; one of a violation that is gone, or was refused, is dropped. File before row."""
    at = moment(finding.captured_at)
    there = ViolationGlimpse.objects.filter(violation=finding.key, place=finding.place)
    of_it = Violation.objects.filter(pk=finding.key, camera_id=reign.camera_id)
    if picture is None or there.filter(captured_at__gte=at).exists() or not of_it.exists():
        return
    folder = at.strftime("%Y/%m/%d")
    file = f"{folder}/{finding.key}-{finding.place}-{int(finding.captured_at * 1000)}.jpg"
    name = default_storage.save(file, ContentFile(picture.jpeg))
    try:
        _write_glimpse(finding, at, name)
    except BaseException:
        _delete_unless_kept(name)
        raise


@transaction.atomic
def _write_glimpse(finding: GlimpseFinding, at: datetime, name: str) -> None:
    if not Violation.objects.select_for_update().filter(pk=finding.key).exists():
        transaction.on_commit(lambda: picture_files.drop_replaced(name), robust=True)  # it went meanwhile
        return
    values = {"captured_at": at, "box": list(finding.box), "picture": name}
    found = ViolationGlimpse.objects.filter(violation=finding.key, place=finding.place).first()
    old = found.picture.name if found else ""
    ViolationGlimpse.objects.update_or_create(violation_id=finding.key, place=finding.place, defaults=values)
    if old:
        transaction.on_commit(lambda: picture_files.drop_replaced(old), robust=True)


def _create_violation(finding: ViolationFinding, values: dict[str, Any], reign: Reign) -> Violation:
    if "snapshot" not in values:
        raise RefusedError("it has no picture")
    if not Passage.objects.filter(pk=finding.passage, camera_id=reign.camera_id).exists():
        _check_not_erased(finding.passage)
        raise RefusedError("its passage is gone")
    opened_at = moment(finding.opened_at)
    return Violation.objects.create(
        pk=finding.key,
        passage_id=finding.passage,
        site_id=reign.camera.site_id,
        camera_id=reign.camera_id,
        opened_at=opened_at,
        quiet=finding.demand != REQUIRED or not policy_of(reign.camera.site).alerts_at(opened_at),
        version=0,
        **values,
    )


def _check_not_erased(passage: UUID) -> None:
    """After a row was made, not before: until then, whoever erases this person may not have committed."""
    if ErasedPassage.objects.filter(pk=passage).exists():
        raise ErasedError


def _masked_at(violation: Violation, ended_at: datetime | None) -> datetime | None:
    """When this person put a mask on: it ended, and their passage, recorded first, says that they now wear one."""
    if ended_at is None:
        return None
    masked = Passage.objects.filter(pk=violation.passage_id, label=WearLabel.MASK).exists()
    return ended_at if masked else None


@transaction.atomic
def _record_state(finding: StateFinding, reign: Reign) -> None:
    """Record a state; one from a stale token is ignored."""
    lease = CameraLease.objects.filter(camera_id=reign.camera_id, token=reign.token).exclude(worker="")
    changed = lease.update(state=finding.state, state_since=moment(finding.at), state_detail=finding.detail[:300])
    if changed:
        follow(CameraChange(reign.camera))


@transaction.atomic
def _record_outage(finding: OutageFinding, reign: Reign) -> None:
    """An outage continues across a change of workers: if one is open, it gets the latest reason."""
    if not _holds(reign):
        return
    reason, began_at = finding.reason[:300], moment(finding.began_at)
    of_camera = Outage.objects.filter(camera_id=reign.camera_id)
    if of_camera.filter(began_at=began_at, ended_at__isnull=False).exists():
        return  # told before, and over
    if not of_camera.filter(ended_at__isnull=True).update(reason=reason):
        Outage.objects.create(camera_id=reign.camera_id, began_at=began_at, reason=reason)
    follow(CameraChange(reign.camera))


@transaction.atomic
def _record_recovery(finding: RecoveryFinding, reign: Reign) -> None:
    if _holds(reign):
        end_outage(reign.camera_id, moment(finding.ended_at))
        follow(CameraChange(reign.camera))


@transaction.atomic
def _record_spot(finding: SpotFinding, reign: Reign) -> None:
    """A spot that is doubted becomes a question, once; one that is doubted no more is no question any more."""
    asked = CameraSpot.objects.filter(pk=finding.key, camera_id=reign.camera_id, answer=CameraSpot.Answer.ASKED)
    if not finding.is_doubted:
        asked.delete()
    elif _holds(reign):
        values = {
            "camera": reign.camera, "box": list(finding.box), "visits": finding.visits,
            "first_at": moment(finding.first_at), "last_at": moment(finding.last_at),
        }  # fmt: skip
        CameraSpot.objects.get_or_create(pk=finding.key, defaults=values)


def end_outage(camera_id: int, ended_at: datetime) -> bool:
    """Close the camera's open outage, if there is one; returns whether there was."""
    open_one = Outage.objects.filter(camera_id=camera_id, ended_at__isnull=True)
    return bool(open_one.update(ended_at=Greatest(F("began_at"), Value(ended_at))))


def close_left_open(which: Q, but: Sequence[UUID] = ()) -> int:
    """Close what nobody watches any more, as of the moment it was last seen; returns how many violations there were.

    Args:
        but: passages that go on, and the violations in them.
    """
    Passage.objects.filter(which, ended_at__isnull=True).exclude(pk__in=but).update(ended_at=F("last_seen_at"))
    left_open = Violation.objects.filter(which, ended_at__isnull=True).exclude(passage_id__in=but)
    keys = list(left_open.values_list("pk", flat=True)[:1000])
    for key in keys:
        with transaction.atomic():
            if Violation.objects.filter(pk=key, ended_at__isnull=True).update(ended_at=F("last_seen_at")):
                found = Violation.objects.select_related("camera__site__policy", "camera__voice").get(pk=key)
                follow(ViolationChange(found, found.camera, found.started_at))
    return len(keys)


def close_abandoned() -> int:
    """Close what is open under a token that nobody holds, or no longer holds."""
    held = Q(camera__lease__token=F("token")) & ~Q(camera__lease__worker="")
    return close_left_open(~held)
