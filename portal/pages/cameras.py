"""Cameras: their list, the test before saving, and the actions on one."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from cameras import tasks
from cameras.models import Camera, CameraZone, Outage, ProbeRequest, Site
from cameras.reach import addresses
from cameras.redis import Errors
from cameras.setup import probe
from cameras.setup.makes import makes
from cameras.setup.probe import Status, Step
from cameras.sources import device_frames
from cameras.watching.leases import living_workers, why_waiting
from portal import demo
from portal.demo import seed
from portal.devices import pairing
from portal.events import messages as live_messages
from portal.models import Purpose
from portal.pages.camera_form import OTHER, CameraForm, is_taken
from portal.pages.camera_health import health_of
from portal.pages.undo import undo_by
from portal.people import access, audit
from portal.people.access import Right
from portal.people.audit import Action
from portal.server import throttling

MOST_OUTAGES = 10
SHOWN_REMINDERS = 5
TESTS_A_MINUTE = 10

# -- pages ----------------------------------------------------------------------------------------------------------


@require_safe
def cameras(request: HttpRequest) -> HttpResponse:
    """All cameras of this person's sites, with their states; for managers."""
    access.sites_to_set_up(request.user)
    rows = access.cameras(request.user, Right.SET_UP).order_by("site__name", "name")
    context = {"cameras": [{"camera": row, "state": live_messages.worded(live_messages.camera(row))} for row in rows]}
    return render(request, "cameras/cameras.html", context)


def add_camera(request: HttpRequest) -> HttpResponse:
    """A new camera: make, host, login; a test before it is saved."""
    here = access.sites_to_set_up(request.user)
    site = here.filter(pk=request.GET["site"]).first() if request.GET.get("site", "").isdecimal() else None
    sites = list(here[:2])
    only = site or (sites[0] if len(sites) == 1 else None)
    form = CameraForm(request, request.POST or None, initial={"site": only.pk if only else None})
    if request.method == "POST" and form.is_valid():
        camera = form.store()
        audit.note(request, Action.CAMERA_ADDED, camera.name, camera.site)
        if why := why_not_watched(camera):
            told = _("%(camera)s is saved, but not watched. %(why)s") % {"camera": camera, "why": why}
            messages.warning(request, told)
        else:
            told = _("%(camera)s is saved. Its picture comes within seconds.") % {"camera": camera}
            messages.success(request, told)
        return redirect("dashboard")
    is_first = not Camera.objects.exists()
    first = is_first and request.user.is_superuser
    return show_form(request, form, {"first": first, "site_now": only})


def why_not_watched(camera: Camera) -> str:
    """Why none of the workers takes this camera just now; empty if one will, or if that is not known."""
    try:
        living = living_workers()
        return why_waiting(camera.site_id, camera.is_at_site, living) if living else ""
    except Errors:
        return ""


def camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    """One camera: its state, outages and settings."""
    found = access.get_camera(request, camera_id)
    form = CameraForm(request, request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        changed = [name for name in form.changed_data if name not in {"version"}]
        form.store()
        audit.note(request, Action.CAMERA_CHANGED, f"{found.name}: {', '.join(changed)}", found.site)
        messages.success(request, _("%(camera)s is saved, and watched again within seconds.") % {"camera": found})
        return redirect("camera", found.pk)
    as_stored = access.get_camera(request, camera_id)
    context = {
        "camera": as_stored,
        "state": live_messages.worded(live_messages.camera(as_stored)),
        "outages": Outage.objects.filter(camera=found)[:MOST_OUTAGES],
        "paired": pairing.paired_as(found, Purpose.CAMERA) if form.is_device else None,
        "voice": getattr(as_stored, "voice", None),
        "zone_count": as_stored.zones.count(),
        "reminders": as_stored.reminders.all()[:SHOWN_REMINDERS],
    } | health_of(as_stored)
    return show_form(request, form, context)


def show_form(request: HttpRequest, form: CameraForm, context: dict[str, Any]) -> HttpResponse:
    if form.moved_login:
        messages.info(
            request, _("The address contained a login: it moved into its own fields. Type the password once more.")
        )
        shown = request.POST.copy()  # the address is shown as it will be stored
        shown["address"], shown["user"] = form.cleaned_data["address"], form.cleaned_data["user"]
        form.data = shown
    context |= {"form": form, "makes": list(makes().values()), "steps": Step, "others": list(OTHER)}
    return render(request, "cameras/camera.html", context, status=422 if form.errors else 200)


# -- the test -------------------------------------------------------------------------------------------------------


@require_POST
def test_camera(request: HttpRequest) -> HttpResponse:
    """Start a test of what is typed, by a worker that serves the site; the answer says where its report is."""
    access.sites_to_set_up(request.user)
    instance = None
    if request.POST.get("camera", "").isdecimal():
        instance = access.get_camera(request, int(request.POST["camera"]))
    form = CameraForm(request, request.POST, instance=instance)
    form.fields["name"].required = False
    if not form.is_valid():
        errors = {name: " ".join(map(str, found)) for name, found in form.errors.items() if name != "name"}
        if errors:
            return JsonResponse({"errors": errors}, status=422)
    site: Site = form.cleaned_data["site"]
    person = access.person(request)
    may = throttling.allow("camera-test", str(person.pk), TESTS_A_MINUTE)
    if not may or not throttling.allow_each("camera-test", person.email, request):
        return problem(_("Too many tests. Wait a minute, then test again."), 429)
    typed = form.typed()
    try:
        asked = probe.ask(site.pk, person.pk, typed)
        if not tasks.send_probe(asked.pk, site.pk, site.has_workers):
            probe.fail(
                asked.pk,
                _(
                    "No worker serves this site now, so no test can run. Ask the operator of this portal "
                    "to start one, then test again."
                ),
            )
    except (*Errors, ConnectionError):
        return problem(_("The portal cannot test at the moment. Try again soon."), 503)
    audit.note(request, Action.CAMERA_TESTED, addresses.mask_login(typed.place.address), site)
    moved = {"address": typed.place.address, "user": typed.place.user} if form.moved_login else {}
    return JsonResponse({"report": reverse("probe", args=[asked.pk]), "moved": moved}, status=202)


def problem(text: str, status: int) -> JsonResponse:
    return JsonResponse({"errors": {"__all__": text}}, status=status)


def get_report(request: HttpRequest, probe_id: UUID) -> probe.Report:
    asked = ProbeRequest.objects.filter(pk=probe_id, asked_by=access.person(request).pk).first()
    if asked is None:
        raise Http404
    access.require(request.user, Right.SET_UP, asked.site_id)
    report = probe.read_report(probe_id)
    if report is None:
        raise Http404
    return report


@require_safe
def show_probe(request: HttpRequest, probe_id: UUID) -> HttpResponse:
    """The current report of a test, as part of a page; X-Done says whether it is complete."""
    report = get_report(request, probe_id)
    steps = [
        {"name": Step(step.name).label, "status": step.status, "said": said_of(step, report), "text": step.text}
        for step in report.steps
    ]
    context = {"steps": steps, "last_status": report.steps[-1].status, "report": report, "probe_id": probe_id}
    answer = render(request, "cameras/probe.html", context)
    answer["X-Done"] = "1" if report.done else "0"
    answer["Cache-Control"] = "no-store"
    return answer


def said_of(step: probe.StepReport, report: probe.Report) -> str:
    """How a step went, in a word; steps after a failure were not tried."""
    return _("not tried") if report.done and step.status == Status.WAITING else str(Status(step.status).label)


@require_safe
def show_probe_picture(request: HttpRequest, probe_id: UUID) -> HttpResponse:
    """The picture of a test, with boxes; it is kept for minutes, and only in Redis."""
    get_report(request, probe_id)
    picture = probe.read_picture(probe_id)
    if picture is None:
        raise Http404
    return HttpResponse(picture, content_type="image/jpeg", headers={"Cache-Control": "private, no-store"})


# -- actions on one -------------------------------------------------------------------------------------------------


@require_POST
def add_demo_camera(request: HttpRequest) -> HttpResponse:
    """For a first look without a camera: a clip of the demo's, which shows nobody real, played as if it were live."""
    here = access.sites_to_set_up(request.user)
    site = here.filter(pk=request.POST["site"]).first() if request.POST.get("site", "").isdecimal() else here.first()
    if site is None:
        raise Http404
    seed.copy_clips()
    name = pairing.free_name(site, _("Demo clip"))
    camera = Camera.objects.create(site=site, name=name, kind=Camera.Kind.CLIP, address=demo.CLIPS[0])
    audit.note(request, Action.CAMERA_ADDED, camera.name, site)
    messages.success(request, _("%(camera)s is saved. Its picture comes within seconds.") % {"camera": camera})
    return redirect("dashboard")


@require_POST
def duplicate_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    """Make a paused copy under a name of its own; the password is copied too."""
    found = access.get_camera(request, camera_id)
    names = set(Camera.objects.filter(site=found.site, deleted_at__isnull=True).values_list("name", flat=True))
    copies = (f"{found.name[:100]} {number}" for number in range(2, 1000))
    copy = Camera.objects.get(pk=found.pk)
    copy.pk, copy.version, copy.paused = None, 1, True
    copy._state.adding = True
    copy.name = next(name for name in copies if name not in names)
    with transaction.atomic():
        copy.save()
        drawn = CameraZone.objects.filter(camera=found)  # what is private there is private here
        CameraZone.objects.bulk_create(
            [
                CameraZone(
                    camera=copy,
                    kind=each.kind,
                    points=each.points,
                    aspect=each.aspect,
                    demand=each.demand,
                    hours=each.hours,
                )
                for each in drawn
            ]
        )
    audit.note(request, Action.CAMERA_ADDED, copy.name, copy.site)
    messages.success(request, _("This is the copy. It is paused: change what differs, then resume it."))
    return redirect("camera", copy.pk)


@require_POST
def pause_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    found = access.get_camera(request, camera_id)
    Camera.objects.filter(pk=found.pk).update(paused=True)
    audit.note(request, Action.CAMERA_PAUSED, found.name, found.site)
    undo = undo_by(reverse("camera_resume", args=[found.pk]))
    messages.success(request, _("%(camera)s is paused: it sees nobody.") % {"camera": found}, extra_tags=undo)
    return redirect("cameras")


@require_POST
def resume_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    found = access.get_camera(request, camera_id)
    Camera.objects.filter(pk=found.pk).update(paused=False, version=F("version") + 1)  # out of quarantine, too
    audit.note(request, Action.CAMERA_RESUMED, found.name, found.site)
    messages.success(request, _("%(camera)s will be watching again within seconds.") % {"camera": found})
    return redirect("cameras")


@require_POST
def delete_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    """It is no longer watched and gone from every list; what it saw is kept for its days. Ten seconds to undo."""
    found = access.get_camera(request, camera_id)
    Camera.objects.filter(pk=found.pk).update(deleted_at=timezone.now(), version=F("version") + 1)
    with contextlib.suppress(*Errors):
        device_frames.shut(found.pk)
    audit.note(request, Action.CAMERA_DELETED, found.name, found.site)
    undo = undo_by(reverse("camera_restore", args=[found.pk]))
    messages.success(
        request, _("%(camera)s is deleted. What it saw stays listed.") % {"camera": found}, extra_tags=undo
    )
    return redirect("cameras")


@require_POST
def restore_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    """Undo `delete_camera`, as long as retention has not deleted its password."""
    found = Camera.objects.select_related("site").filter(pk=camera_id, site__in=access.sites(request.user)).first()
    if found is None:
        raise Http404
    access.require(request.user, Right.SET_UP, found.site)
    if is_taken(found.name, found.site, found):
        messages.error(
            request, _("There is another %(camera)s now. Give that one a new name first.") % {"camera": found}
        )
        return redirect("cameras")
    Camera.objects.filter(pk=found.pk).update(deleted_at=None, version=F("version") + 1)
    with contextlib.suppress(*Errors):
        device_frames.open_again(found.pk)
    audit.note(request, Action.CAMERA_RESTORED, found.name, found.site)
    messages.success(request, _("%(camera)s is back.") % {"camera": found})
    return redirect("cameras")
