"""Where workers at sites call, each with its key (portal/site_workers). Not for other programs, so not in /api/docs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import DatabaseError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Router, Status
from ninja.security import HttpBearer

from cameras.models import SiteWorker
from cameras.redis import Errors, connection
from portal.api.problems import Problem
from portal.people import site_workers
from portal.server import throttling
from portal.site_workers import intake, rounds
from portal.site_workers.intake import IntakeError
from portal.site_workers.messages import NotYet, Reported, Round, RoundAnswer, SpokenReminders

CALLS_A_MINUTE = 600
PREVIEWS_A_MINUTE = 12_000  # of forty cameras, five a second
BATCH_S = 60  # after which a batch counts as lost
AGAIN_S = 2


class WorkerKey(HttpBearer):
    """The key of a worker, from the site's page “Workers”."""

    def authenticate(self, request: HttpRequest, token: str) -> SiteWorker | None:
        return site_workers.worker_of(token)


router = Router(auth=WorkerKey())


def caller(request: HttpRequest, what: str = "site-worker", most: int = CALLS_A_MINUTE) -> SiteWorker:
    """Which worker calls; raises Problem if it calls too often, as no worker of ours does."""
    worker: SiteWorker = request.auth  # type: ignore[attr-defined]  # ninja's
    try:
        if not throttling.allow(what, str(worker.pk), most):
            raise Problem(429, _("Too many calls. Wait a little."), AGAIN_S)
    except Errors as error:
        raise away() from error
    return worker


def away() -> Problem:
    return Problem(503, _("The portal's Redis or database does not answer. Try again soon."), AGAIN_S)


@router.post("/round", response=RoundAnswer, include_in_schema=False)
def take_round(request: HttpRequest, told: Round) -> RoundAnswer:
    """The worker is alive, and asks what is new."""
    worker = caller(request)
    try:
        return rounds.carry_out(worker, told)
    except rounds.TakenError as error:
        text = _("Another machine uses this key, or has just ended. Each worker needs a key of its own.")
        raise Problem(409, text, AGAIN_S) from error
    except (*Errors, DatabaseError) as error:
        raise away() from error


@router.post("/findings", include_in_schema=False)
def take_findings(request: HttpRequest) -> dict[str, int]:
    """A batch of records, as they are in its spool."""
    worker = caller(request)
    key = f"site-worker-batch:{worker.pk}"
    try:
        if not connection().set(key, b"1", nx=True, ex=BATCH_S):
            raise Problem(429, _("The batch before is still being recorded."), AGAIN_S)
        try:
            return {"recorded": intake.take_findings(worker, request.body)}
        finally:
            connection().delete(key)
    except IntakeError as error:
        raise Problem(422, str(error)) from error
    except (*Errors, DatabaseError) as error:
        raise away() from error


@router.post("/previews/{camera_id}", response={204: None}, include_in_schema=False)
def take_preview(request: HttpRequest, camera_id: int, pixelated: bool = False) -> Status[Any]:
    """A live picture, for who looks now."""
    worker = caller(request, "site-worker-previews", PREVIEWS_A_MINUTE)
    try:
        intake.take_preview(worker, camera_id, pixelated, request.body)
    except IntakeError as error:
        raise Problem(422, str(error)) from error
    except Errors as error:
        raise away() from error
    return Status(204, None)


@router.post("/tests/{test}", response={204: None}, include_in_schema=False)
def take_report(request: HttpRequest, test: UUID, told: Reported) -> Status[Any]:
    """How a camera's test goes."""
    return _report(request, test, told.report, b"")


@router.post("/tests/{test}/picture", response={204: None}, include_in_schema=False)
def take_test_picture(request: HttpRequest, test: UUID) -> Status[Any]:
    """What the camera showed in its test."""
    return _report(request, test, "", request.body)


def _report(request: HttpRequest, test: UUID, report: str, picture: bytes) -> Status[Any]:
    try:
        intake.take_report(caller(request), test, report, picture)
    except IntakeError as error:
        raise Problem(422, str(error)) from error
    except Errors as error:
        raise away() from error
    return Status(204, None)


@router.post("/reminders", response=NotYet, include_in_schema=False)
def take_reminders(request: HttpRequest, told: SpokenReminders) -> NotYet:
    """What its doors said."""
    return NotYet(reminders=intake.take_reminders(caller(request), told.reminders))
