"""A phone or computer as a camera: its pairing link, and the actions on a paired one. For managers."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from cameras.models import Camera, Site
from portal.devices import pairing
from portal.models import Pairing, Purpose
from portal.pages.qr import qr_picture
from portal.people import access, audit
from portal.people.access import Right
from portal.people.audit import Action
from portal.server import throttling

MOST_ADDRESSES = 4  # that a link is shown for


class DeviceForm(forms.Form):
    """The site at which the device will be a camera."""

    site = forms.ModelChoiceField(Site.objects.none(), label=gettext_lazy("Site"))

    def __init__(self, request: HttpRequest) -> None:
        here = access.sites_to_set_up(request.user)
        sites = list(here[:2])
        super().__init__(request.POST or None, initial={"site": sites[0].pk if len(sites) == 1 else None})
        field = self.fields["site"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset, field.empty_label = here, _("Choose one")


@never_cache
def add_device(request: HttpRequest) -> HttpResponse:
    """Choose a site; then show the link and its QR code, only once."""
    form = DeviceForm(request)
    if request.method == "POST" and form.is_valid():
        return show_link(request, form.cleaned_data["site"])
    return render(request, "devices/add.html", {"form": form}, status=422 if form.errors else 200)


@never_cache
@require_POST
def pair_again(request: HttpRequest, camera_id: int) -> HttpResponse:
    """A new link for a device's camera; the previous device is unpaired when the link is used."""
    camera = get_device(request, camera_id)
    return show_link(request, camera.site, camera)


def addresses_for(request: HttpRequest) -> list[str]:
    """The addresses of this portal that another device may reach, first the one that this person came by."""
    found = sorted(settings.REACHABLE, key=lambda address: urlsplit(address).netloc != request.get_host())
    return found[:MOST_ADDRESSES] or [settings.BASE_URL]


def is_only_here(link: str) -> bool:
    """Whether a link leads to the portal from its own machine alone: another device would look at itself."""
    host = urlsplit(link).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def show_link(
    request: HttpRequest, site: Site, camera: Camera | None = None, purpose: Purpose = Purpose.CAMERA
) -> HttpResponse:
    if not throttling.allow_each("pairing", access.person(request).email, request):
        messages.error(
            request, _("Too many pairing links were created within the last hour. Wait a while, then try again.")
        )
        return redirect("cameras")
    made, secret = pairing.invite(site, access.person(request), camera, purpose)
    audit.note(request, Action.PAIRING_MADE, camera.name if camera else "", site)
    link, *others = [f"{address}{reverse('pair')}#{secret}" for address in addresses_for(request)]
    insecure = purpose is Purpose.CAMERA and not settings.HTTPS
    can_be_scanned = not insecure and not is_only_here(link)
    context = {
        "link": link,
        "picture": qr_picture(link) if can_be_scanned else "",
        "others": [(urlsplit(each).netloc, each, qr_picture(each)) for each in others] if can_be_scanned else [],
        "only_here": is_only_here(link),
        "pairing": made,
        "camera": camera,
        "minutes": int(pairing.GOOD_FOR.total_seconds() // 60),
    }
    return render(request, "devices/link.html", context)


@never_cache
@require_safe
def show_pairing(request: HttpRequest, pairing_id: int) -> HttpResponse:
    """Whether a link was used; the page that shows it polls this."""
    made = Pairing.objects.select_related("camera").filter(pk=pairing_id).first()
    if made is None:
        raise Http404
    access.require(request.user, Right.SET_UP, made.site_id)
    if made.redeemed_at is None or made.camera is None:
        return JsonResponse({"used": False})
    address = reverse("camera", args=[made.camera.pk])
    return JsonResponse({"used": True, "camera": made.camera.name, "address": address})


@require_POST
def unpair(request: HttpRequest, camera_id: int) -> HttpResponse:
    """Revoke a device's token; its page says so within seconds."""
    camera = get_device(request, camera_id)
    pairing.revoke(camera)
    audit.note(request, Action.DEVICE_UNPAIRED, camera.name, camera.site)
    messages.success(request, _("%(camera)s is no longer paired with a device.") % {"camera": camera})
    return redirect("camera", camera.pk)


def get_device(request: HttpRequest, camera_id: int) -> Camera:
    """A device that this person may set up; raises as access.require does."""
    camera = access.get_camera(request, camera_id)
    if camera.kind != Camera.Kind.DEVICE:
        raise Http404
    return camera
