"""The second factor: a code from an app (TOTP, RFC 6238), or one of ten recovery codes. django-otp does the checking.

People who have it, or must have it (REQUIRE_TWO_FACTOR), and have not yet given a code in this session are not signed
in anywhere: pages, Django's admin, pictures and sockets alike. A new password by link needs the code too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django_otp import DEVICE_ID_SESSION_KEY, match_token
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from portal.models import Membership, User
from portal.people.access import AnyUser

RECOVERY_CODES = 10
OPEN_WITHOUT = frozenset(
    {"logout", "second_factor", "two_factor", "healthz", "readyz", "authority", "connect", "login", "password_reset",
     "password_reset_done", "password_reset_confirm", "invitation", "first_user",
     "review",  # keeps what was decided until the code is given
     "pair", "pair_look", "pair_redeem", "door", "door_leave",
     "try", "try_manifest", "try_model"}
)  # fmt: skip


def has_second_factor(user: AnyUser) -> bool:
    """Whether this person signs in with a code. One query."""
    return user.pk is not None and TOTPDevice.objects.filter(user_id=user.pk, confirmed=True).exists()


def must_have(user: AnyUser) -> bool:
    """Whether the operator requires this person to have a second factor."""
    if not user.is_authenticated or settings.REQUIRE_TWO_FACTOR == "nobody":
        return False
    if settings.REQUIRE_TWO_FACTOR == "everybody" or user.is_superuser:
        return True
    return Membership.objects.filter(user_id=user.pk, role=Membership.Role.MANAGER).exists()


def is_complete(user: AnyUser, session: SessionBase) -> bool:
    """Whether this session has all the factors that it needs. For sockets; pages ask the middleware."""
    device_id = session.get(DEVICE_ID_SESSION_KEY)
    if device_id:
        device = Device.from_persistent_id(device_id)
        if device is not None and device.user_id == user.pk and device.confirmed:
            return True
    return not needs_code(user)


def needs_code(user: AnyUser) -> bool:
    """Whether the password alone is not enough for this person. Two queries at most."""
    return has_second_factor(user) or must_have(user)


class SecondFactorMiddleware:
    """Sends people who have not given a code yet to where it is asked for or set up; nothing else is open to them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.is_complete = self._is_complete(request)  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        match = request.resolver_match
        if request.is_complete or (match is not None and match.url_name in OPEN_WITHOUT):  # type: ignore[attr-defined]
            return None
        step = "second_factor" if has_second_factor(request.user) else "two_factor"
        onward = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
        return redirect(f"{reverse(step)}?{onward}" if onward else reverse(step))

    @staticmethod
    def _is_complete(request: HttpRequest) -> bool:
        user = request.user
        if not user.is_authenticated or user.is_verified():  # type: ignore[attr-defined]
            return True
        return not needs_code(user)


# -- set up ---------------------------------------------------------------------------------------------------------


def begin(user: User) -> TOTPDevice:
    """The secret that the person is setting up: the same one as before, if they reload the page."""
    device = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    return device or TOTPDevice.objects.create(user=user, name="app", confirmed=False)


@transaction.atomic
def confirm(user: User, code: str) -> list[str] | None:
    """Turn it on if the code is right; returns the recovery codes, or None. All other sessions end."""
    device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
    if device is None or not device.verify_token(code):
        return None
    TOTPDevice.objects.filter(user=user, confirmed=True).delete()
    device.confirmed = True
    device.save(update_fields=["confirmed"])
    return make_recovery_codes(user)


@transaction.atomic
def make_recovery_codes(user: User) -> list[str]:
    """Ten new codes, each valid once; older ones become invalid."""
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="recovery")
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


@transaction.atomic
def turn_off(user: User) -> None:
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()


def matching_device(user: User, code: str) -> Device | None:
    """The device that this code is right for. Callers bound the guesses (portal/server/throttling.py)."""
    found: Device | None = match_token(user, code.replace(" ", "").lower())
    return found


def app_of(user: User) -> TOTPDevice:
    """The app that is turned on."""
    return TOTPDevice.objects.get(user=user, confirmed=True)


def codes_left(user: User) -> int:
    return int(StaticToken.objects.filter(device__user=user).count())
