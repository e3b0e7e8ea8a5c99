"""Zones on a camera's picture: drawn, listed and deleted by managers; and "nothing ever happens at this spot"."""

from __future__ import annotations

import json
import math
import time
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from cameras.models import Camera, CameraZone
from cameras.redis import Errors, connection, looked_at_key, preview_key, subscription
from cameras.watching.preview import read_header, read_picture
from detection import Box, decode_picture
from detection import zones as geometry
from detection.tracks import overlap
from portal.models import Violation
from portal.people import access, audit
from portal.people.access import Right
from portal.people.audit import Action

MOST_ZONES = 20  # of a camera
MOST_POINTS = 40
PICTURE_WITHIN_S = 3.0
LOOKED_AT_S = 4
FRESH_S = 2.0
EVERYTHING = 0.95  # of the picture
SPOT_MARGIN = 0.25  # of a face's sides, around a spot
SAME_SPOT = 0.4  # intersection over union
LOOKED_BACK = 200  # dismissed violations of a camera
OFFERED_FROM = 3  # dismissed at one spot: then ignoring it is offered by itself
Kind = CameraZone.Kind


class ZoneForm(forms.Form):
    """One zone: what it is for, and its corners."""

    kind = forms.ChoiceField(
        label=gettext_lazy("What it is for"), choices=Kind.choices, widget=forms.RadioSelect, initial=Kind.WATCH
    )
    points = forms.CharField(
        label=gettext_lazy("Corners, in percent from the left and the top"),
        max_length=2000,
        help_text=gettext_lazy("Like “10,20 60,20 60,90”. Drawing on the picture fills this in."),
        error_messages={"required": gettext_lazy("Draw at least three corners.")},
    )
    aspect = forms.FloatField(required=False, widget=forms.HiddenInput)

    def clean_points(self) -> list[list[float]]:
        try:
            pairs = [pair.split(",") for pair in self.cleaned_data["points"].split()]
            points = [(float(x) / 100, float(y) / 100) for x, y in pairs]
        except ValueError as error:
            raise forms.ValidationError(_("Write corners like “10,20 60,20 60,90”.")) from error
        if not 3 <= len(points) <= MOST_POINTS:
            raise forms.ValidationError(_("A zone has 3 to %(most)d corners.") % {"most": MOST_POINTS})
        if not all(math.isfinite(value) and 0 <= value <= 1 for point in points for value in point):
            raise forms.ValidationError(_("A corner lies outside of the picture: use 0 to 100."))
        if geometry.extent(points) < geometry.LEAST_AREA:
            raise forms.ValidationError(_("This zone has no area. Move its corners apart."))
        if geometry.crosses_itself(points):
            raise forms.ValidationError(_("Its sides cross. Set the corners one after the other, all the way around."))
        return [[round(x, 4), round(y, 4)] for x, y in points]

    def clean_aspect(self) -> float:
        aspect = self.cleaned_data.get("aspect") or 0.0
        return round(aspect, 4) if math.isfinite(aspect) and 0.05 < aspect < 20 else 0.0

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        points, kind = cleaned.get("points"), cleaned.get("kind")
        if points and kind != Kind.WATCH and geometry.area([(x, y) for x, y in points]) > EVERYTHING:
            self.add_error("points", _("This covers everything: nothing would be watched. Pause the camera instead."))
        return cleaned


def zones(request: HttpRequest, camera_id: int) -> HttpResponse:
    """The camera's picture with its zones, and a new one to draw."""
    camera = access.get_camera(request, camera_id)
    form = ZoneForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid() and not form.cleaned_data["aspect"]:
        form.cleaned_data["aspect"] = aspect_now(camera.pk)
        if form.cleaned_data["kind"] == Kind.PRIVACY and not form.cleaned_data["aspect"]:
            form.add_error("kind", _("A privacy zone needs the camera's picture. Draw it when one comes."))
    drawn = list(camera.zones.all())
    if form.is_bound:
        if len(drawn) >= MOST_ZONES:
            form.add_error(None, _("A camera has at most %(most)d zones. Delete one first.") % {"most": MOST_ZONES})
        if form.is_valid():
            add_zone(
                request, camera, form.cleaned_data["kind"], form.cleaned_data["points"], form.cleaned_data["aspect"]
            )
            messages.success(request, _("The zone is saved, and holds within seconds."))
            return redirect("zones", camera.pk)
    context = {"camera": camera, "form": form, "zones": [shown(zone) for zone in drawn]}
    return render(request, "cameras/zones.html", context, status=422 if form.is_bound else 200)


def shown(zone: CameraZone) -> dict[str, Any]:
    """A zone as the page shows it: its corners in thousandths of the picture."""
    corners = " ".join(f"{round(x * 1000)},{round(y * 1000)}" for x, y in zone.points)
    name = str(zone.get_kind_display()).split(":")[0]
    return {"pk": zone.pk, "kind": zone.kind, "name": name, "corners": corners, "count": len(zone.points)}


@transaction.atomic
def add_zone(request: HttpRequest, camera: Camera, kind: str, points: list[list[float]], aspect: float) -> CameraZone:
    """Add it; the camera is watched anew with it."""
    made = CameraZone.objects.create(camera=camera, kind=kind, points=points, aspect=aspect)
    Camera.objects.filter(pk=camera.pk).update(version=F("version") + 1)
    audit.note(request, Action.ZONE_ADDED, f"{camera.name}: {kind} {json.dumps(points)}", camera.site)
    return made


@require_POST
def delete_zone(request: HttpRequest, zone_id: int) -> HttpResponse:
    found = CameraZone.objects.filter(pk=zone_id).values_list("camera_id", "kind").first()
    if found is None:
        raise Http404
    camera = access.get_camera(request, found[0])
    with transaction.atomic():
        CameraZone.objects.filter(pk=zone_id).delete()
        Camera.objects.filter(pk=camera.pk).update(version=F("version") + 1)
        audit.note(request, Action.ZONE_DELETED, f"{camera.name}: {found[1]}", camera.site)
    messages.success(request, _("The zone is deleted."))
    return redirect("zones", camera.pk)


@require_safe
def picture_now(request: HttpRequest, camera_id: int) -> HttpResponse:
    """What the camera sees now, to draw on; Http404 if no picture comes within three seconds. A look of its own."""
    camera = access.get_camera(request, camera_id)
    try:
        preview = newest_preview(camera.pk)
    except Errors as error:
        raise Http404 from error
    if preview is None:
        raise Http404
    audit.note_look(request, Action.SAW_PICTURE, camera.name, camera.site)
    return HttpResponse(
        read_picture(preview), content_type="image/jpeg", headers={"Cache-Control": "private, no-store"}
    )


def newest_preview(camera_id: int) -> bytes | None:
    """A preview of the last two seconds; a worker that makes none yet is asked to."""
    key = preview_key(camera_id)
    connection().set(looked_at_key(camera_id), "1", ex=LOOKED_AT_S)
    pubsub, deadline = subscription(key), time.monotonic() + PICTURE_WITHIN_S
    try:
        while True:
            preview = cast("bytes | None", connection().get(key))
            if preview is not None and time.time() - read_header(preview)["captured_at"] < FRESH_S:
                return preview
            if (left := deadline - time.monotonic()) <= 0:
                return None
            pubsub.get_message(timeout=left)
    finally:
        pubsub.close()


def aspect_now(camera_id: int) -> float:
    """Width by height of what the camera sees now; 0 if nothing comes."""
    try:
        preview = newest_preview(camera_id)
    except Errors:
        return 0.0
    if preview is None:
        return 0.0
    height, width = decode_picture(read_picture(preview)).shape[:2]
    return float(round(width / height, 4))


# -- spots ------------------------------------------------------------------------------------------------------------


def spot_of(violation: Violation) -> list[list[float]]:
    """The place of a violation's face, with some room around it."""
    x1, y1, x2, y2 = (float(value) for value in violation.box)
    wide, tall = SPOT_MARGIN * (x2 - x1), SPOT_MARGIN * (y2 - y1)
    left, top = max(0.0, x1 - wide), max(0.0, y1 - tall)
    right, bottom = min(1.0, x2 + wide), min(1.0, y2 + tall)
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return [[round(x, 4), round(y, 4)] for x, y in corners]


def dismissed_at_spot(violation: Violation) -> int:
    """How many of the camera's newest dismissed violations lie where this one does, itself included. One query."""
    if len(violation.box) != 4:
        return 0
    own = box_of(violation.box)
    rows = Violation.objects.filter(camera_id=violation.camera_id, status=Violation.Status.DISMISSED)
    boxes = rows.order_by("-started_at").values_list("box", flat=True)[:LOOKED_BACK]
    return sum(len(box) == 4 and overlap(box_of(box), own) >= SAME_SPOT for box in boxes)


def box_of(box: list[Any]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2


@require_POST
def ignore_spot(request: HttpRequest, violation_id: UUID) -> HttpResponse:
    """Nothing ever happens at this spot: from now on the camera ignores it."""
    found = access.get_violation(request.user, violation_id)
    access.require(request.user, Right.SET_UP, found.site_id)
    camera = access.get_camera(request, found.camera_id)
    if len(found.box) != 4 or camera.zones.count() >= MOST_ZONES:
        messages.error(request, _("This spot cannot be ignored. Draw a zone on the camera's picture instead."))
        return redirect("zones", camera.pk)
    add_zone(request, camera, Kind.IGNORE, spot_of(found), 0.0)
    messages.success(request, _("%(camera)s ignores this spot from now on.") % {"camera": camera})
    return redirect("zones", camera.pk)
