"""What the device itself sees: the page of its pairing link, and its own page as a camera. No account needed.

The link's secret is in the address after “#”, which browsers do not send: a page's script posts it. So a preview of the
link, which only loads the page, does not use it up.
"""

from __future__ import annotations

import io
import logging
from typing import Any

from csp.constants import SELF
from csp.decorators import csp_replace
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe
from whitenoise.responders import StaticFile

from cameras.models import Camera, Site
from cameras.states import DeviceWord
from portal.devices import pairing
from portal.devices.pairing import PairingError
from portal.models import Purpose, Reminder, policy_of
from portal.people import audit
from portal.people.audit import Action
from portal.voice import phrases, speech
from portal.voice.base import AUDIO_GOOD_FOR_S, SALT
from portal.voice.speech import SpeechError

log = logging.getLogger(__name__)

MAY_SOUND = csp_replace({"media-src": [SELF]})  # no other page may play anything
PAGES = {Purpose.CAMERA: "door", Purpose.LOUDSPEAKER: "speaker"}
ASK_AGAIN_S = 30
COOKIE_S = 400 * 24 * 3600  # as long as browsers keep any cookie (RFC 6265bis, section 5.5)


@never_cache
@login_not_required
@ensure_csrf_cookie
@require_safe
def pair(request: HttpRequest) -> HttpResponse:
    """The page of a pairing link."""
    return render(request, "door/pair.html")


@never_cache
@login_not_required
@require_POST
def look_at_pairing(request: HttpRequest) -> HttpResponse:
    """Which site is asking for this device; does not use up the link."""
    found = pairing.find(request.POST.get("secret", ""))
    if found is None:
        return refuse(request, pairing.gone())
    name = found.camera.name if found.camera else ""
    asked = {"site": found.site.name, "by": found.made_by.name, "name": name, "purpose": found.purpose}
    return JsonResponse(asked)


@never_cache
@login_not_required
@require_POST
def redeem_pairing(request: HttpRequest) -> HttpResponse:
    """This browser becomes a camera, or the loudspeaker beside one."""
    secret, name, agent = (
        request.POST.get("secret", ""),
        request.POST.get("name", ""),
        request.headers.get("User-Agent", ""),
    )
    found = pairing.find(secret)
    purpose = Purpose(found.purpose) if found else Purpose.CAMERA
    try:
        if purpose is Purpose.LOUDSPEAKER:
            camera, token = pairing.redeem_loudspeaker(secret, agent)
        else:
            camera, token = pairing.redeem(secret, name, agent)
    except PairingError as error:
        return refuse(request, str(error))
    audit.note(request, Action.DEVICE_PAIRED, camera.name, camera.site)
    response = JsonResponse({"next": reverse(PAGES[purpose])})
    cookie = pairing.COOKIES[purpose]
    response.set_cookie(cookie, token, COOKIE_S, secure=settings.HTTPS, httponly=True, samesite="Strict")
    return response


def refuse(request: HttpRequest, why: str) -> HttpResponse:
    """Answer to an invalid link. Anyone who tries many is slowed down; anyone with a valid one never is."""
    if pairing.may_try_again(audit.address_of(request)):
        return JsonResponse({"error": why}, status=410)
    return JsonResponse({"error": _("Too many attempts. Wait a minute.")}, status=429)


@never_cache
@login_not_required
@ensure_csrf_cookie
@require_safe
@MAY_SOUND
def door(request: HttpRequest) -> HttpResponse:
    """The device as a camera: its own picture, what the portal finds in it, and the door mode."""
    camera = own_camera(request)
    if camera is None:
        return unpaired(request, Purpose.CAMERA)
    return render(request, "door/door.html", {"camera": camera, "words": DeviceWord} | spoken_at(camera.site))


@never_cache
@login_not_required
@ensure_csrf_cookie
@require_safe
@MAY_SOUND
def speaker(request: HttpRequest) -> HttpResponse:
    """The device as the loudspeaker beside a camera."""
    camera = own_camera(request, Purpose.LOUDSPEAKER)
    if camera is None:
        return unpaired(request, Purpose.LOUDSPEAKER)
    return render(request, "door/speaker.html", {"camera": camera} | spoken_at(camera.site))


def unpaired(request: HttpRequest, purpose: Purpose) -> HttpResponse:
    response = render(request, "door/unpaired.html", {"purpose": purpose.value}, status=404)
    if pairing.COOKIES[purpose] in request.COOKIES:  # its camera may come back, and nobody is there to reload the page
        response["Refresh"] = str(ASK_AGAIN_S)
    return response


def spoken_at(site: Site) -> dict[str, Any]:
    """What the door says, in its site's language."""
    language = policy_of(site).language
    return {
        "phrases": phrases.phrases_of(site),
        "welcome": phrases.WELCOME[language],
        "language": language,
        "direction": "rtl" if language in phrases.RIGHT_TO_LEFT else "ltr",
    }


@login_not_required
@require_safe
def voice_audio(request: HttpRequest, signed: str) -> HttpResponse:
    """The sound of a reminder, for whoever was sent its address, which is valid for some minutes."""
    try:
        found = Reminder.objects.filter(pk=signing.loads(signed, salt=SALT, max_age=AUDIO_GOOD_FOR_S)).first()
    except signing.BadSignature as error:
        raise Http404 from error
    if found is None:
        raise Http404
    try:
        path = speech.render(found.text, found.language)
    except (SpeechError, OSError):
        log.exception("a reminder could not be rendered")
        return HttpResponse(status=503)
    file = StaticFile(str(path), [("Content-Type", "audio/wav"), ("Cache-Control", "private, max-age=300")])
    part = file.get_response(request.method, request.META)  # some browsers play nothing that is served without ranges
    with part.file or io.BytesIO() as content:
        return HttpResponse(content.read(), status=part.status, headers=dict(part.headers))


@never_cache
@login_not_required
@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """Whoever holds the device may stop it being a camera, or a loudspeaker."""
    wanted = request.POST.get("purpose", "")
    purpose = Purpose(wanted) if wanted in Purpose.values else Purpose.CAMERA
    camera = own_camera(request, purpose)
    if camera is not None:
        pairing.revoke(camera, purpose)
        audit.note(request, Action.DEVICE_UNPAIRED, camera.name, camera.site)
    response = redirect(PAGES[purpose])
    response.delete_cookie(pairing.COOKIES[purpose], samesite="Strict")
    return response


def own_camera(request: HttpRequest, purpose: Purpose = Purpose.CAMERA) -> Camera | None:
    """The camera that this browser is, or beside which it speaks, by its cookie."""
    token = request.COOKIES.get(pairing.COOKIES[purpose], "")
    return pairing.camera_of(token, purpose) if token else None
