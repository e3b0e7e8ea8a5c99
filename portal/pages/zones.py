"""Zones on a camera's picture: drawn, listed and deleted by managers. Spots are in spots.py."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from cameras.models import Camera, CameraSpot, CameraZone
from cameras.redis import Errors, connection, looked_at_key, preview_key, subscription
from cameras.watching.preview import read_header, read_picture
from detection import Box, decode_picture
from detection import zones as geometry
from portal.pages.hours import HoursFields
from portal.people import access, audit
from portal.people.audit import Action

MOST_ZONES = 20  # of a camera
MOST_POINTS = 40
PICTURE_WITHIN_S = 3.0
LOOKED_AT_S = 4
FRESH_S = 2.0
EVERYTHING = 0.95  # of the picture
SPOT_MARGIN = 0.25  # of a face's sides, around a spot
Kind, Demand = CameraZone.Kind, CameraZone.Demand


class ZoneForm(HoursFields):
    """One zone: what it is for, its corners, what is asked of people there, and its hours."""

    points = forms.CharField(
        label=gettext_lazy("Corners, in percent from the left and the top"),
        max_length=2000,
        help_text=gettext_lazy("Like “10,20 60,20 60,90”. Drawing on the picture fills this in."),
        error_messages={"required": gettext_lazy("Draw at least three corners.")},
    )
    aspect = forms.FloatField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = CameraZone
        fields = ("kind", "points", "aspect", "demand")
        labels = {"kind": gettext_lazy("What it is for"), "demand": gettext_lazy("Masks here are")}
        widgets = {"kind": forms.RadioSelect, "demand": forms.RadioSelect}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_hours(self.instance.hours)
        self.fields["demand"].required = False
        if self.instance.pk:
            self.initial["points"] = " ".join(f"{x * 100:g},{y * 100:g}" for x, y in self.instance.points)
            self.initial["aspect"] = self.instance.aspect or ""

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

    def clean_demand(self) -> str:
        return self.cleaned_data["demand"] or Demand.REQUIRED

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        points, kind = cleaned.get("points"), cleaned.get("kind")
        if points and kind != Kind.WATCH and geometry.area([(x, y) for x, y in points]) > EVERYTHING:
            self.add_error("points", _("This covers everything: nothing would be watched. Pause the camera instead."))
        if kind == Kind.WATCH:
            self.instance.hours = self.read_hours(cleaned)
        else:
            cleaned["demand"] = Demand.REQUIRED
            self.instance.hours = self.read_hours(cleaned) if kind == Kind.IGNORE else {}
        return cleaned


def zones(request: HttpRequest, camera_id: int) -> HttpResponse:
    """The camera's picture with its zones, and a new one to draw."""
    return _page(request, access.get_camera(request, camera_id), None)


def zone(request: HttpRequest, zone_id: int) -> HttpResponse:
    """The same, with one of its zones to change."""
    camera, found = _get_zone(request, zone_id)
    return _page(request, camera, found)


def _get_zone(request: HttpRequest, zone_id: int) -> tuple[Camera, CameraZone]:
    found = CameraZone.objects.filter(pk=zone_id).first()
    if found is None:
        raise Http404
    return access.get_camera(request, found.camera_id), found


def _page(request: HttpRequest, camera: Camera, changed: CameraZone | None) -> HttpResponse:
    form = ZoneForm(request.POST if request.method == "POST" else None, instance=changed)
    drawn = list(camera.zones.all())
    if form.is_bound:
        _check(form, camera, is_full=changed is None and len(drawn) >= MOST_ZONES)
        if form.is_valid():
            form.instance.camera = camera
            save_zone(request, camera, form.instance)
            messages.success(request, _("The zone has been saved, and takes effect within seconds."))
            return redirect("zones", camera.pk)
    context = {
        "camera": camera,
        "form": form,
        "changed": changed,
        "zones": [shown(zone) for zone in drawn],
        "spots": [shown_spot(spot) for spot in camera.spots.filter(answer=CameraSpot.Answer.ASKED)],
    }
    return render(request, "cameras/zones.html", context, status=422 if form.is_bound else 200)


def _check(form: ZoneForm, camera: Camera, is_full: bool) -> None:
    """What a form alone cannot know: the shape of the camera's picture, and how many zones it has."""
    if form.is_valid() and not form.cleaned_data["aspect"]:
        form.instance.aspect = aspect_now(camera.pk)
        if form.cleaned_data["kind"] == Kind.PRIVACY and not form.instance.aspect:
            form.add_error("kind", _("A privacy zone needs the camera's picture. Draw it when one comes."))
    if is_full:
        form.add_error(None, _("A camera has at most %(most)d zones. Delete one first.") % {"most": MOST_ZONES})


def shown(zone: CameraZone) -> dict[str, Any]:
    """A zone as the page shows it: its corners in thousandths of the picture."""
    more = []
    if zone.kind == Kind.WATCH and zone.demand != Demand.REQUIRED:
        more.append(str(zone.get_demand_display()).partition(":")[0].strip().lower())
    if zone.hours:
        more.append(_("at certain hours"))
    return {
        "pk": zone.pk,
        "kind": zone.kind,
        "name": str(zone.get_kind_display()).partition(":")[0].strip(),
        "more": ", ".join(more),
        "corners": corners_of(zone.points),
    }


def shown_spot(spot: CameraSpot) -> dict[str, Any]:
    """A spot about which the page asks."""
    return {"pk": spot.pk, "corners": corners_of(around(box_of(spot.box))), "since": spot.first_at}


def box_of(box: Sequence[Any]) -> Box:
    """As it is stored."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2


def around(box: Box) -> list[list[float]]:
    """The corners of the place of a face, with some room around it."""
    x1, y1, x2, y2 = box
    wide, tall = SPOT_MARGIN * (x2 - x1), SPOT_MARGIN * (y2 - y1)
    left, top = max(0.0, x1 - wide), max(0.0, y1 - tall)
    right, bottom = min(1.0, x2 + wide), min(1.0, y2 + tall)
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return [[round(x, 4), round(y, 4)] for x, y in corners]


def corners_of(points: Sequence[Sequence[float]]) -> str:
    """In thousandths of the picture, as SVG has them."""
    return " ".join(f"{round(x * 1000)},{round(y * 1000)}" for x, y in points)


@transaction.atomic
def save_zone(request: HttpRequest, camera: Camera, zone: CameraZone) -> None:
    """Store it; the camera is watched anew with it."""
    action = Action.ZONE_CHANGED if zone.pk else Action.ZONE_ADDED
    zone.save()
    Camera.objects.filter(pk=camera.pk).update(version=F("version") + 1)
    audit.note(request, action, f"{camera.name}: {zone.kind} {json.dumps(zone.points)}", camera.site)


@require_POST
def delete_zone(request: HttpRequest, zone_id: int) -> HttpResponse:
    camera, found = _get_zone(request, zone_id)
    with transaction.atomic():
        found.delete()
        Camera.objects.filter(pk=camera.pk).update(version=F("version") + 1)
        audit.note(request, Action.ZONE_DELETED, f"{camera.name}: {found.kind}", camera.site)
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
