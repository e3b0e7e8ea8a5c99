"""What the device itself sees: where its pairing link leads, and its own page as a camera. No account needed.

The link's secret is in the address after “#”, which browsers do not send: a page's script posts it. So a preview of the
link, which only loads the page, uses nothing up.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from cameras.models import Camera
from cameras.states import DeviceWord
from portal import auditing, pairing
from portal.auditing import Action
from portal.pairing import PairingError

ASK_AGAIN_S = 30
COOKIE_S = 400 * 24 * 3600  # as long as browsers keep any (RFC 6265bis, section 5.5)


@never_cache
@login_not_required
@ensure_csrf_cookie
@require_safe
def pair(request: HttpRequest) -> HttpResponse:
    """Where a pairing link leads."""
    return render(request, "door/pair.html")


@never_cache
@login_not_required
@require_POST
def look_at_pairing(request: HttpRequest) -> HttpResponse:
    """Which site asks for this device; uses nothing up."""
    found = pairing.find(request.POST.get("secret", ""))
    if found is None:
        return refuse(request, pairing.gone())
    name = found.camera.name if found.camera else ""
    return JsonResponse({"site": found.site.name, "by": found.made_by.name, "name": name})


@never_cache
@login_not_required
@require_POST
def redeem_pairing(request: HttpRequest) -> HttpResponse:
    """This browser becomes a camera."""
    secret, name = request.POST.get("secret", ""), request.POST.get("name", "")
    try:
        camera, token = pairing.redeem(secret, name, request.headers.get("User-Agent", ""))
    except PairingError as error:
        return refuse(request, str(error))
    auditing.note(request, Action.DEVICE_PAIRED, camera.name, camera.site)
    response = JsonResponse({"next": reverse("door")})
    response.set_cookie(pairing.COOKIE, token, COOKIE_S, secure=settings.HTTPS, httponly=True, samesite="Strict")
    return response


def refuse(request: HttpRequest, why: str) -> HttpResponse:
    """A link that is none. Who tries many is slowed down; who has a good one never is."""
    if pairing.may_try_again(auditing.address_of(request)):
        return JsonResponse({"error": why}, status=410)
    return JsonResponse({"error": _("That was a try too many. Wait a minute.")}, status=429)


@never_cache
@login_not_required
@ensure_csrf_cookie
@require_safe
def door(request: HttpRequest) -> HttpResponse:
    """The device as a camera: its own picture, what the portal finds in it, and the door mode."""
    camera = own_camera(request)
    if camera is None:
        response = render(request, "door/unpaired.html", status=404)
        if pairing.COOKIE in request.COOKIES:  # its camera may come back, and nobody stands there to load the page
            response["Refresh"] = str(ASK_AGAIN_S)
        return response
    return render(request, "door/door.html", {"camera": camera, "words": DeviceWord})


@never_cache
@login_not_required
@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """Whoever holds the device may end its being a camera."""
    camera = own_camera(request)
    if camera is not None:
        pairing.revoke(camera)
        auditing.note(request, Action.DEVICE_UNPAIRED, camera.name, camera.site)
    response = redirect("door")
    response.delete_cookie(pairing.COOKIE, samesite="Strict")
    return response


def own_camera(request: HttpRequest) -> Camera | None:
    token = request.COOKIES.get(pairing.COOKIE, "")
    return pairing.camera_of(token) if token else None
