"""The form for a camera: its makes, what is typed, and what is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cameras.errors import AddressError
from cameras.models import Camera, Site
from cameras.reach import addresses
from cameras.reach.local import check_assigned
from cameras.reach.place import Place
from cameras.settings import zoning_of
from cameras.setup.makes import makes
from cameras.setup.probe import Typed
from portal.pages.sealed_login import SealedLoginForm
from portal.people import access
from portal.people.access import Right

OTHER = {
    "rtsp": gettext_lazy("Another make (RTSP)"),
    "http": gettext_lazy("Another make (HTTP)"),
    "usb": gettext_lazy("USB camera on the worker's machine"),
    "clip": gettext_lazy("A clip, played as if live"),
}
STREAMS = [("sub", gettext_lazy("Substream (lighter, usually enough)")), ("main", gettext_lazy("Main stream (sharp)"))]
HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


def make_choices() -> list[Any]:
    known = [(make.key, make.name) for make in makes().values()]
    return [(_("Makes"), known), (_("Others"), list(OTHER.items()))]


class CameraForm(SealedLoginForm):
    """A camera. With a make, host and stream form the address; otherwise it is typed in full."""

    make = forms.ChoiceField(label=gettext_lazy("Make"))
    host = forms.CharField(
        label=gettext_lazy("Host"),
        max_length=260,
        required=False,
        help_text=gettext_lazy("The camera's IP address or name in the network, like 192.168.1.20."),
    )
    stream = forms.ChoiceField(label=gettext_lazy("Stream"), choices=STREAMS, required=False, initial="sub")
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Camera
        fields = ("site", "name", "address", "user", "transport", "view", "model", "analyses_per_second")
        widgets = {"user": forms.TextInput(attrs={"autocomplete": "off"})}
        labels = {"analyses_per_second": gettext_lazy("Pictures analysed a second")}
        help_texts = {
            "address": gettext_lazy("The whole address, as the camera's manual gives it."),
            "analyses_per_second": gettext_lazy("Five are enough for a door. Fewer need less computing power."),
        }  # fmt: skip

    instance: Camera
    address_fields = ("address",)

    def login_address(self, values: Mapping[str, Any]) -> str:
        return str(values["address"])

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

    def clean_host(self) -> str:
        host: str = self.cleaned_data["host"].strip()
        if host and not HOST.fullmatch(host):
            raise ValidationError(_("Enter only the host here, like 192.168.1.20 or camera.lan."))
        return host

    def clean_model(self) -> str:
        return self.cleaned_data["model"] or "default"

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        make = cleaned.get("make", "")
        if self.is_device:  # it has no address: the device connects to us
            cleaned |= {"kind": Camera.Kind.DEVICE, "address": "", "transport": Camera.Transport.AUTO}
        elif make in makes():
            self._compose(cleaned, make)
        elif make:
            self._take_written(cleaned, make)
        self._check_name(cleaned)
        self.check_login(cleaned)
        version = cleaned.get("version")
        if self.instance.pk and version is not None and version != self.instance.version:
            self.add_error(None, _("Somebody changed this camera meanwhile. Load the page again, then change it."))
        return cleaned

    def _check_name(self, cleaned: dict[str, Any]) -> None:
        """Django cannot check this by itself: the constraint leaves out deleted cameras."""
        name, site = cleaned.get("name"), cleaned.get("site")
        if name and site and is_taken(name, site, self.instance):
            self.add_error("name", _("There is already a camera with this name at this site. Choose another name."))

    def _compose(self, cleaned: dict[str, Any], key: str) -> None:
        if "host" not in cleaned:
            return
        make, host = makes()[key], cleaned["host"]
        if not host:
            self.add_error("host", _("Enter the camera's IP address or name, like 192.168.1.20."))
            return
        cleaned["kind"] = make.kind
        self._check(cleaned, make.address(host, cleaned.get("stream") or "sub"), "host")

    def _take_written(self, cleaned: dict[str, Any], kind: str) -> None:
        cleaned["kind"] = kind
        address: str = cleaned.get("address") or ""
        if kind in {"rtsp", "http"}:
            try:
                address, user, password = addresses.split_login(address)
            except AddressError as error:
                self.add_error("address", str(error))
                return
            if user and not cleaned.get("user"):
                cleaned["user"], self.moved_login = user, True
            if password and not cleaned.get("password"):
                cleaned["password"] = password
        self._check(cleaned, address, "address")

    def _check(self, cleaned: dict[str, Any], address: str, field: str) -> None:
        """Check what can be known about an address without opening it."""
        try:
            if cleaned["kind"] in {"clip", "usb"}:
                self._check_local(cleaned, address)
            else:
                schemes = ("rtsp",) if cleaned["kind"] == "rtsp" else ("http", "https")
                addresses.parse_address(address, schemes)
        except AddressError as error:
            self.add_error(field, str(error))
        cleaned["address"] = address

    def _check_local(self, cleaned: dict[str, Any], address: str) -> None:
        """The site first: what is not assigned to it says nothing about which files there are."""
        if site := cleaned.get("site"):
            check_assigned(site.pk, address)
        if cleaned["kind"] == "clip":
            addresses.clip_path(address)
        else:
            addresses.device_path(address)

    def store(self) -> Camera:
        """Save; the watch of the camera restarts with the change within seconds."""
        camera = self.instance
        camera.kind, camera.address = self.cleaned_data["kind"], self.cleaned_data["address"]
        camera.user = self.cleaned_data.get("user") or ""
        camera.sealed_password = self.sealed_password
        if camera.pk is None:
            camera.save()
            return camera
        with transaction.atomic():
            camera.version = Camera.objects.select_for_update().values_list("version", flat=True).get(pk=camera.pk) + 1
            camera.save()
        return camera

    def typed(self) -> Typed:
        cleaned = self.cleaned_data
        transport = cleaned.get("transport") or Camera.Transport.AUTO
        return Typed(
            Place(cleaned["kind"], cleaned["address"], cleaned.get("user") or "", self.secret, transport),
            view=int(cleaned.get("view") or 0),
            model=cleaned["model"],
            language=translation.get_language() or "en",
            zones=zoning_of(self.instance).drawn,
        )

    # The form as the page shows it, part by part.

    @property
    def place_fields(self) -> list[forms.BoundField]:
        return [self["site"], self["name"]]

    @property
    def shown_address_fields(self) -> list[forms.BoundField]:
        names = () if self.is_device else ("make", "host", "stream", "address")
        return [self[name] for name in names]

    @property
    def shown_login_fields(self) -> list[forms.BoundField]:
        return [] if self.is_device else [self["user"], self["password"]]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        names = ("view", "model", *(() if self.is_device else ("transport",)), "analyses_per_second")
        return [self[name] for name in names]


def is_taken(name: str, site: Site, camera: Camera) -> bool:
    """Whether another camera of the site has this name; names of deleted cameras are free."""
    same = Camera.objects.filter(site=site, name=name, deleted_at__isnull=True)
    return same.exclude(pk=camera.pk).exists()
