"""Cameras: their list, the form with its makes, the test before saving, and what is done with one."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from cameras import tasks
from cameras.errors import AddressError
from cameras.models import Camera, Outage, ProbeRequest, Site
from cameras.reach import addresses
from cameras.reach.credentials import SealError, seal, unseal
from cameras.reach.place import Place
from cameras.redis import Errors
from cameras.setup import probe
from cameras.setup.makes import makes
from cameras.setup.probe import Status, Step, Typed
from portal.devices import pairing
from portal.events import messages as live_messages
from portal.models import Purpose
from portal.pages.undo import undo_by
from portal.people import access, audit
from portal.people.access import Right
from portal.people.audit import Action
from portal.server import throttling

OTHER = {
    "rtsp": gettext_lazy("Another make (RTSP)"),
    "http": gettext_lazy("Another make (HTTP)"),
    "usb": gettext_lazy("USB camera of the worker's machine"),
    "clip": gettext_lazy("A clip, played as if live"),
}
STREAMS = [("sub", gettext_lazy("Substream (lighter, mostly enough)")), ("main", gettext_lazy("Main stream (sharp)"))]
HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
MOST_OUTAGES = 10
SHOWN_REMINDERS = 5
TESTS_A_MINUTE = 10


def make_choices() -> list[Any]:
    known = [(make.key, make.name) for make in makes().values()]
    return [(_("Makes"), known), (_("Others"), list(OTHER.items()))]


class CameraForm(forms.ModelForm[Camera]):
    """A camera. With a make, host and stream make the address; otherwise it is written as a whole."""

    make = forms.ChoiceField(label=gettext_lazy("Make"))
    host = forms.CharField(
        label=gettext_lazy("Host"),
        max_length=260,
        required=False,
        help_text=gettext_lazy("The camera's number or name in the network, like 192.168.1.20."),
    )
    stream = forms.ChoiceField(label=gettext_lazy("Stream"), choices=STREAMS, required=False, initial="sub")
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=200,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Camera
        fields = ("site", "name", "address", "user", "transport", "view", "model", "analyses_per_second")
        widgets = {"user": forms.TextInput(attrs={"autocomplete": "off"})}
        labels = {"analyses_per_second": gettext_lazy("Looks a second")}
        help_texts = {
            "address": gettext_lazy("The whole address, as the camera's manual gives it."),
            "analyses_per_second": gettext_lazy("Five are good for a door. Fewer cost less computing."),
        }  # fmt: skip

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        site = self.fields["site"]
        if isinstance(site, forms.ModelChoiceField):
            site.queryset = access.sites(request.user, Right.SET_UP)
            site.empty_label = _("Choose one")
        self.is_device = self.instance.kind == Camera.Kind.DEVICE
        self.fields["make"].choices = make_choices()  # type: ignore[attr-defined]
        self.fields["make"].required = self.fields["transport"].required = not self.is_device
        self.fields["address"].required = self.fields["model"].required = False
        self.moved_login = False
        editing = self.instance.pk is not None
        if editing:
            self.fields["site"].disabled = True  # what it saw belongs there
            self.initial["make"], self.initial["version"] = self.instance.kind, self.instance.version
        elif not self.initial.get("make"):
            self.initial["make"] = "rtsp"
        if editing and self.instance.sealed_password:
            self.fields["password"].help_text = _("One is kept, and never shown. Leave this empty to keep it.")

    def clean_host(self) -> str:
        host: str = self.cleaned_data["host"].strip()
        if host and not HOST.fullmatch(host):
            raise ValidationError(_("Write only the host here, like 192.168.1.20 or camera.lan."))
        return host

    def clean_model(self) -> str:
        return self.cleaned_data["model"] or "default"

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        make = cleaned.get("make", "")
        if self.is_device:  # it has no address: it comes by itself
            cleaned |= {"kind": Camera.Kind.DEVICE, "address": "", "transport": Camera.Transport.TCP}
        elif make in makes():
            self._compose(cleaned, make)
        elif make:
            self._take_written(cleaned, make)
        self._check_name(cleaned)
        self._check_kept_password(cleaned)
        version = cleaned.get("version")
        if self.instance.pk and version is not None and version != self.instance.version:
            self.add_error(None, _("Somebody changed this camera meanwhile. Load the page again, then change it."))
        return cleaned

    def _check_name(self, cleaned: dict[str, Any]) -> None:
        """Django cannot check it by itself: the constraint leaves deleted cameras out."""
        name, site = cleaned.get("name"), cleaned.get("site")
        if name and site and is_taken(name, site, self.instance):
            self.add_error("name", _("There is a camera of this name at this site already. Choose another name."))

    def _check_kept_password(self, cleaned: dict[str, Any]) -> None:
        """A kept password goes only to the host for which it was typed: else one could have it sent to oneself."""
        if not self.instance.pk or cleaned.get("password") or not cleaned.get("user") or not cleaned.get("address"):
            return
        address, sealed = Camera.objects.values_list("address", "sealed_password").get(pk=self.instance.pk)
        if sealed and addresses.authority_of(address) != addresses.authority_of(cleaned["address"]):
            self.add_error("password", _("The address leads to another host now. Type the password again."))

    def _compose(self, cleaned: dict[str, Any], key: str) -> None:
        if "host" not in cleaned:
            return
        make, host = makes()[key], cleaned["host"]
        if not host:
            self.add_error("host", _("Write the camera's number or name, like 192.168.1.20."))
            return
        cleaned["kind"] = make.kind
        self._check(cleaned, make.address(host, cleaned.get("stream") or "sub"), "host")

    def _take_written(self, cleaned: dict[str, Any], kind: str) -> None:
        cleaned["kind"] = kind
        address: str = cleaned.get("address") or ""
        if kind in {"rtsp", "http"}:
            address, user, password = addresses.split_login(address)
            if user and not cleaned.get("user"):
                cleaned["user"], self.moved_login = user, True
            if password and not cleaned.get("password"):
                cleaned["password"] = password
        self._check(cleaned, address, "address")

    def _check(self, cleaned: dict[str, Any], address: str, field: str) -> None:
        """What can be known of an address without opening it."""
        try:
            if cleaned["kind"] == "clip":
                addresses.clip_path(address)
            elif cleaned["kind"] == "usb":
                addresses.device_path(address)
            else:
                schemes = ("rtsp",) if cleaned["kind"] == "rtsp" else ("http", "https")
                addresses.parse_address(address, schemes)
        except AddressError as error:
            self.add_error(field, str(error))
        cleaned["address"] = address

    @property
    def secret(self) -> str:
        """What was typed; for a camera that is there already, and an empty field, what is kept."""
        typed: str = self.cleaned_data.get("password") or ""
        if typed or not self.instance.pk or not self.cleaned_data.get("user"):
            return typed
        try:
            return unseal(Camera.objects.values_list("sealed_password", flat=True).get(pk=self.instance.pk))
        except SealError:
            return ""

    def store(self) -> Camera:
        """Save; what watches the camera begins anew with it within seconds."""
        camera = self.instance
        camera.kind, camera.address = self.cleaned_data["kind"], self.cleaned_data["address"]
        camera.user = self.cleaned_data.get("user") or ""
        camera.sealed_password = seal(self.secret)
        if camera.pk is None:
            camera.save()
            return camera
        with transaction.atomic():
            camera.version = Camera.objects.select_for_update().values_list("version", flat=True).get(pk=camera.pk) + 1
            camera.save()
        return camera

    def typed(self) -> Typed:
        cleaned = self.cleaned_data
        transport = cleaned.get("transport") or Camera.Transport.TCP
        return Typed(
            Place(cleaned["kind"], cleaned["address"], cleaned.get("user") or "", self.secret, transport),
            view=int(cleaned.get("view") or 0),
            model=cleaned["model"],
            language=translation.get_language() or "en",
        )

    # The form as the page shows it, part by part.

    @property
    def place_fields(self) -> list[forms.BoundField]:
        return [self["site"], self["name"]]

    @property
    def address_fields(self) -> list[forms.BoundField]:
        names = () if self.is_device else ("make", "host", "stream", "address")
        return [self[name] for name in names]

    @property
    def login_fields(self) -> list[forms.BoundField]:
        return [] if self.is_device else [self["user"], self["password"]]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        names = ("view", "model", *(() if self.is_device else ("transport",)), "analyses_per_second")
        return [self[name] for name in names]


def is_taken(name: str, site: Site, camera: Camera) -> bool:
    """Whether another camera of the site than this one has the name; deleted ones gave theirs free."""
    same = Camera.objects.filter(site=site, name=name, deleted_at__isnull=True)
    return same.exclude(pk=camera.pk).exists()


# -- pages ----------------------------------------------------------------------------------------------------------


@require_safe
def cameras(request: HttpRequest) -> HttpResponse:
    """All cameras of one's sites, with their states; for managers."""
    access.sites_to_set_up(request.user)
    rows = access.cameras(request.user, Right.SET_UP).order_by("site__name", "name")
    context = {"cameras": [{"camera": row, "state": live_messages.camera(row)} for row in rows]}
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
        told = _("%(camera)s is saved. Its picture comes within seconds.") % {"camera": camera}
        messages.success(request, told)
        return redirect("dashboard")
    is_first = not Camera.objects.exists()
    return show_form(request, form, {"first": is_first and request.user.is_superuser})


def camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    """One camera: how it is, its outages, its settings."""
    found = access.get_camera(request, camera_id)
    form = CameraForm(request, request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        changed = [name for name in form.changed_data if name not in {"version"}]
        form.store()
        audit.note(request, Action.CAMERA_CHANGED, f"{found.name}: {', '.join(changed)}", found.site)
        messages.success(request, _("%(camera)s is saved, and watched anew within seconds.") % {"camera": found})
        return redirect("camera", found.pk)
    as_stored = access.get_camera(request, camera_id)
    context = {
        "camera": as_stored,
        "state": live_messages.camera(as_stored),
        "outages": Outage.objects.filter(camera=found)[:MOST_OUTAGES],
        "paired": pairing.paired_as(found, Purpose.CAMERA) if form.is_device else None,
        "voice": getattr(as_stored, "voice", None),
        "reminders": as_stored.reminders.all()[:SHOWN_REMINDERS],
    }
    return show_form(request, form, context)


def show_form(request: HttpRequest, form: CameraForm, context: dict[str, Any]) -> HttpResponse:
    if form.moved_login:
        messages.info(
            request, _("The address held a login: it moved into its own fields. Type the password once more.")
        )
        shown = request.POST.copy()  # the address is shown as it will be kept
        shown["address"], shown["user"] = form.cleaned_data["address"], form.cleaned_data["user"]
        form.data = shown
    context |= {"form": form, "makes": list(makes().values()), "steps": Step, "others": list(OTHER)}
    return render(request, "cameras/camera.html", context, status=422 if form.errors else 200)


# -- the test -------------------------------------------------------------------------------------------------------


@require_POST
def test_camera(request: HttpRequest) -> HttpResponse:
    """Begin a test of what is typed, by a worker that serves the site; answers where its report is."""
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
    if not throttling.allow("camera-test", str(request.user.pk), TESTS_A_MINUTE):
        return refuse(_("That was a test too many. Wait a minute, then test again."), 429)
    typed = form.typed()
    try:
        asked = probe.ask(site.pk, access.person(request).pk, typed)
        if not tasks.send_probe(asked.pk, site.pk):
            probe.fail(asked.pk, _("No worker serves this site now, so nobody can look. Start one, then test again."))
    except (*Errors, ConnectionError):
        return refuse(_("The portal cannot test at the moment. Try again soon."), 503)
    audit.note(request, Action.CAMERA_TESTED, addresses.mask_login(typed.place.address), site)
    moved = {"address": typed.place.address, "user": typed.place.user} if form.moved_login else {}
    return JsonResponse({"report": reverse("probe", args=[asked.pk]), "moved": moved}, status=202)


def refuse(text: str, status: int) -> JsonResponse:
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
    """The report of a test as it now is, as a part of a page; X-Done says whether more comes."""
    report = get_report(request, probe_id)
    steps = [
        {"name": Step(step.name).label, "status": step.status, "said": said_of(step, report), "text": step.text}
        for step in report.steps
    ]
    answer = render(request, "cameras/probe.html", {"steps": steps, "report": report, "probe_id": probe_id})
    answer["X-Done"] = "1" if report.done else "0"
    answer["Cache-Control"] = "no-store"
    return answer


def said_of(step: probe.StepReport, report: probe.Report) -> str:
    """How a step went, in a word; what comes after a failure was not tried."""
    return _("not tried") if report.done and step.status == Status.WAITING else str(Status(step.status).label)


@require_safe
def show_probe_picture(request: HttpRequest, probe_id: UUID) -> HttpResponse:
    """The picture of a test, with boxes; it lives for minutes, in Redis alone."""
    get_report(request, probe_id)
    picture = probe.read_picture(probe_id)
    if picture is None:
        raise Http404
    return HttpResponse(picture, content_type="image/jpeg", headers={"Cache-Control": "private, no-store"})


# -- what is done with one ------------------------------------------------------------------------------------------


@require_POST
def duplicate_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    """A copy, paused, under a name of its own; its password comes along."""
    found = access.get_camera(request, camera_id)
    names = set(Camera.objects.filter(site=found.site, deleted_at__isnull=True).values_list("name", flat=True))
    copies = (f"{found.name[:100]} {number}" for number in range(2, 1000))
    copy = Camera.objects.get(pk=found.pk)
    copy.pk, copy.version, copy.paused = None, 1, True
    copy._state.adding = True
    copy.name = next(name for name in copies if name not in names)
    copy.save()
    audit.note(request, Action.CAMERA_ADDED, copy.name, copy.site)
    messages.success(request, _("This is the copy. It is paused: change what differs, then resume it."))
    return redirect("camera", copy.pk)


@require_POST
def pause_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    found = access.get_camera(request, camera_id)
    Camera.objects.filter(pk=found.pk).update(paused=True)
    audit.note(request, Action.CAMERA_PAUSED, found.name, found.site)
    undo = undo_by(reverse("camera_resume", args=[found.pk]))
    messages.success(request, _("%(camera)s is paused: nobody is seen by it.") % {"camera": found}, extra_tags=undo)
    return redirect("cameras")


@require_POST
def resume_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    found = access.get_camera(request, camera_id)
    Camera.objects.filter(pk=found.pk).update(paused=False)
    audit.note(request, Action.CAMERA_RESUMED, found.name, found.site)
    messages.success(request, _("%(camera)s watches again within seconds.") % {"camera": found})
    return redirect("cameras")


@require_POST
def delete_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    """It is watched no more, and gone from every list; what it saw stays for its days. Ten seconds to undo."""
    found = access.get_camera(request, camera_id)
    Camera.objects.filter(pk=found.pk).update(deleted_at=timezone.now(), version=F("version") + 1)
    audit.note(request, Action.CAMERA_DELETED, found.name, found.site)
    undo = undo_by(reverse("camera_restore", args=[found.pk]))
    messages.success(
        request, _("%(camera)s is deleted. What it saw stays listed.") % {"camera": found}, extra_tags=undo
    )
    return redirect("cameras")


@require_POST
def restore_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    """Undo `delete_camera`, as long as retention has not forgotten its password."""
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
    audit.note(request, Action.CAMERA_RESTORED, found.name, found.site)
    messages.success(request, _("%(camera)s is back.") % {"camera": found})
    return redirect("cameras")
