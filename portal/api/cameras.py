"""Pairing a program, pushing frames, and reading the state of a camera."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Field, Router, Schema, Status
from ninja.security import HttpBearer

from cameras.models import Camera
from cameras.redis import Errors
from cameras.sources import device_frames
from portal.api.problems import Problem, ProblemBody
from portal.devices import pairing, pushing
from portal.devices.pairing import PairingError
from portal.devices.pushing import FrameError
from portal.events import messages
from portal.people import audit
from portal.people.audit import Action

ANSWER_WITHIN_S = 2.0
RETRY_AFTER_S = 2

router = Router(tags=["cameras"])


class CameraToken(HttpBearer):
    """The token of one camera, as issued by pairing."""

    def authenticate(self, request: HttpRequest, token: str) -> Camera | None:
        return pairing.camera_of(token)


class PairBody(Schema):
    """The secret of a pairing link, and a name for the camera."""

    secret: str = Field(max_length=100)
    name: str = Field("", max_length=120)


class PairedBody(Schema):
    """The new camera and its token, which is shown only once."""

    camera: int
    name: str
    site: str
    token: str


class FaceBody(Schema):
    """One face: x1, y1, x2, y2 from 0 to 1 of the frame; `key` stays the same while that person is in view."""

    box: tuple[float, float, float, float]
    label: str
    confidence: float
    key: str


class FoundBody(Schema):
    """What was found in the frame."""

    number: int
    faces: list[FaceBody]


class StateBody(Schema):
    """A camera, its state as one word, what that means and what to do."""

    camera: int
    name: str
    site: str
    state: str
    since: str | None
    detail: str
    meaning: str
    remedy: str
    frames_per_second: float


REFUSALS: dict[Any, Any] = dict.fromkeys((401, 403, 409, 413, 415, 422, 429, 503), ProblemBody)


@router.post("/pair", response={201: PairedBody, 410: ProblemBody, 429: ProblemBody})
def pair(request: HttpRequest, body: PairBody) -> Status[dict[str, Any]]:
    """Redeem a pairing link: this program becomes a camera of the link's site."""
    try:
        camera, token = pairing.redeem(body.secret, body.name, request.headers.get("User-Agent", ""))
    except PairingError as error:
        raise refused(request, str(error)) from error
    audit.note(request, Action.DEVICE_PAIRED, camera.name, camera.site)
    return Status(201, {"camera": camera.pk, "name": camera.name, "site": camera.site.name, "token": token})


def refused(request: HttpRequest, why: str) -> Problem:
    """Anyone who tries many links is slowed down; anyone with a valid one never is."""
    if pairing.may_try_again(audit.address_of(request)):
        return Problem(410, why)
    return Problem(429, _("Too many attempts. Wait a minute."), 60)


@router.post("/cameras/{camera_id}/frames", auth=CameraToken(), response={200: FoundBody, **REFUSALS})
def push_frame(request: HttpRequest, camera_id: int) -> dict[str, Any]:
    """Push one JPEG, as the body, and get what was found in it.

    At most 512 KB and 3840x2160 pixels, and at most as many frames a second as the camera is set to analyse.
    """
    camera = own_camera(request, camera_id)
    if camera.paused:
        raise Problem(409, _("This camera is paused. Its manager can resume it."))
    try:
        pushing.check_size(int(request.headers.get("Content-Length") or 0))
        pushing.check_frame(request.body)
        pushing.check_pace(camera.pk, camera.analyses_per_second)
        found = device_frames.ask(camera.pk, request.body, ANSWER_WITHIN_S)
    except FrameError as error:
        raise Problem(error.status, str(error), 1 if error.status == 429 else 0) from error
    except Errors as error:
        raise Problem(503, _("The portal's Redis does not answer. Try again soon."), RETRY_AFTER_S) from error
    if found is None:
        raise Problem(503, _("No worker looked at this frame within 2 s. Try again soon."), RETRY_AFTER_S)
    if found.fault:
        raise Problem(429, found.fault, RETRY_AFTER_S) if found.ends else Problem(422, found.fault)
    return {"number": found.number, "faces": [vars(face) for face in found.faces]}


@router.get("/cameras/{camera_id}", auth=CameraToken(), response={200: StateBody, 401: ProblemBody, 403: ProblemBody})
def read_camera(request: HttpRequest, camera_id: int) -> dict[str, Any]:
    """The state of the camera: whether it is watched, and if not, why and what to do."""
    camera = own_camera(request, camera_id)
    told = messages.camera(camera)
    return told | {"name": camera.name, "site": camera.site.name, "frames_per_second": camera.analyses_per_second}


def own_camera(request: HttpRequest, camera_id: int) -> Camera:
    """The camera of the request's token, if it is this one."""
    camera: Camera = request.auth  # type: ignore[attr-defined]  # ninja's
    if camera.pk != camera_id:
        raise Problem(403, _("This token is valid for another camera only."))
    return camera
