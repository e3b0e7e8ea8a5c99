"""Spots of a camera's picture where nothing ever happens: what managers say of a poster, a screen, or a dismissal."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from cameras.models import Camera, CameraSpot, CameraZone
from detection.tracks import overlap
from portal.models import Violation
from portal.pages.zones import MOST_ZONES, around, box_of, save_zone
from portal.people import access, audit
from portal.people.access import Right
from portal.people.audit import Action

SAME_SPOT = 0.4  # intersection over union
LOOKED_BACK = 200  # dismissed violations of a camera
OFFERED_FROM = 3  # dismissed at one spot: then ignoring it is offered by itself


def dismissed_at_spot(violation: Violation) -> int:
    """How many of the camera's newest dismissed violations lie where this one does, itself included. One query."""
    if len(violation.box) != 4:
        return 0
    own = box_of(violation.box)
    rows = Violation.objects.filter(camera_id=violation.camera_id, status=Violation.Status.DISMISSED)
    boxes = rows.order_by("-started_at").values_list("box", flat=True)[:LOOKED_BACK]
    return sum(len(box) == 4 and overlap(box_of(box), own) >= SAME_SPOT for box in boxes)


@require_POST
def ignore_spot(request: HttpRequest, violation_id: UUID) -> HttpResponse:
    """Nothing ever happens at this spot: from now on the camera ignores it."""
    found = access.get_violation(request.user, violation_id)
    access.require(request.user, Right.SET_UP, found.site_id)
    return _ignore(request, access.get_camera(request, found.camera_id), found.box)


@require_POST
def answer_spot(request: HttpRequest, spot_id: UUID) -> HttpResponse:
    """What a manager says of a spot where the camera sees pictures, as it seems: ignore it, or people can be there."""
    spot = CameraSpot.objects.filter(pk=spot_id).first()
    if spot is None:
        raise Http404
    camera = access.get_camera(request, spot.camera_id)
    if request.POST.get("answer") == "ignore":
        answer = _ignore(request, camera, spot.box)
        spot.delete()
        return answer
    with transaction.atomic():
        CameraSpot.objects.filter(pk=spot.pk).update(answer=CameraSpot.Answer.PEOPLE)
        Camera.objects.filter(pk=camera.pk).update(version=F("version") + 1)
        audit.note(request, Action.SPOT_ANSWERED, f"{camera.name}: {spot.box}", camera.site)
    messages.success(request, _("People there count as everywhere else."))
    return redirect("zones", camera.pk)


def _ignore(request: HttpRequest, camera: Camera, box: list[Any]) -> HttpResponse:
    if len(box) != 4 or camera.zones.count() >= MOST_ZONES:
        messages.error(request, _("This spot cannot be ignored. Draw a zone on the camera's picture instead."))
        return redirect("zones", camera.pk)
    save_zone(request, camera, CameraZone(camera=camera, kind=CameraZone.Kind.IGNORE, points=around(box_of(box))))
    messages.success(request, _("%(camera)s ignores this spot from now on.") % {"camera": camera})
    return redirect("zones", camera.pk)
