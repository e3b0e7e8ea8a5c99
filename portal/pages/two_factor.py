"""The second factor: asked for after the password, set up and turned off in the profile."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import django_otp
from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from portal.models import SignedIn, User
from portal.pages.qr import qr_picture
from portal.pages.sign_in import code_wait_s, slow_down, wait_in_words
from portal.people import access, audit, two_factor
from portal.people.audit import Action
from portal.server import throttling

JUST_NOW = timedelta(minutes=10)


class CodeForm(forms.Form):
    """Six digits from the app, or a recovery code."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=20,
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "one-time-code", "inputmode": "text"}),
        help_text=gettext_lazy("Six digits from your app, or one of your recovery codes."),
    )


WRONG = gettext_lazy("This code is wrong. Wait for the next one in your app, and check that its clock is right.")


def second_factor(request: HttpRequest) -> HttpResponse:
    """Asks people who have given their password for the code."""
    if not request.user.is_authenticated:
        return redirect("login")
    onward = safe_next(request)
    if getattr(request, "is_complete", False):
        return redirect(onward)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if wait := code_wait_s(request, request.user.email):
            return slow_down(request, wait)
        device = two_factor.matching_device(request.user, form.cleaned_data["code"])
        if device is not None:
            django_otp.login(request, device)
            answer = redirect(onward)
            throttling.was_right("code", request, request.user.email)
            throttling.remember(request, answer, request.user.email)
            return answer
        audit.note(request, Action.SIGN_IN_FAILED, _("wrong code"))
        form.add_error("code", WRONG)
    return render(request, "people/second_factor.html", {"form": form, "next": onward})


def safe_next(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    fine = wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if fine else reverse("dashboard")


@never_cache
def set_up(request: HttpRequest) -> HttpResponse:
    """Turn the second factor on: a picture to scan, then a code to prove that it works."""
    user = request.user
    if not user.is_authenticated:
        return redirect("login")
    has = two_factor.has_second_factor(user)
    if has and not getattr(request, "is_complete", False):
        return redirect("second_factor")
    if has:
        return redirect("profile")
    device = two_factor.begin(user)
    form = SetUpForm(request.POST or None, asks_password=not signed_in_just_now(request))
    fault = check_proof(request, user, form) if request.method == "POST" and form.is_valid() else ""
    if fault:
        form.add_error("proof", fault)
    if request.method == "POST" and form.is_valid():
        codes = two_factor.confirm(user, form.cleaned_data["code"].replace(" ", ""))
        if codes is not None:
            end_other_sessions(request, user)
            django_otp.login(request, two_factor.app_of(user))
            audit.note(request, Action.TWO_FACTOR_ON)
            return render(request, "people/recovery_codes.html", {"codes": codes, "first": True})
        form.add_error("code", WRONG)
    context = {
        "form": form,
        "picture": qr_picture(device.config_url),
        "secret": base64.b32encode(device.bin_key).decode(),
        "required": two_factor.must_have(user),
    }
    return render(request, "people/two_factor.html", context)


def end_other_sessions(request: HttpRequest, user: User) -> None:
    """End all sessions of this person except this one within seconds, including sockets."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    user.refresh_from_db(fields=["session_epoch"])
    update_session_auth_hash(request, user)
    user.sessions.exclude(session_key=request.session.session_key).delete()
    user.sessions.get_or_create(
        session_key=request.session.session_key,
        defaults={"address": audit.address_of(request), "browser": request.META.get("HTTP_USER_AGENT", "")[:300]},
    )


class ProofForm(forms.Form):
    """The password, or a code, as proof of identity before anything about the second factor changes."""

    proof = forms.CharField(
        label=gettext_lazy("Your password, or a code from your app"),
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class SetUpForm(ProofForm, CodeForm):
    """The app's first code; and the password, if it was given some time ago: the page may have been left open."""

    def __init__(self, *args: Any, asks_password: bool) -> None:
        super().__init__(*args)
        self.fields["code"].help_text = _("The six digits that the app shows now.")
        self.fields["proof"].label = _("Your password")
        if not asks_password:
            del self.fields["proof"]


def signed_in_just_now(request: HttpRequest) -> bool:
    """Whether the password was given within the last minutes in this session."""
    since = timezone.now() - JUST_NOW
    return SignedIn.objects.filter(session_key=request.session.session_key, at__gt=since).exists()


def check_proof(request: HttpRequest, user: User, form: forms.Form) -> str:
    """Why the proof that was typed is not accepted; empty if it is, or none was asked for. Guesses are slowed down."""
    if "proof" not in form.fields:
        return ""
    text = str(form.cleaned_data.get("proof", ""))
    if wait := code_wait_s(request, user.email):
        return wait_in_words(wait)
    if user.check_password(text) or two_factor.matching_device(user, text[:20]) is not None:
        throttling.was_right("code", request, user.email)
        return ""
    audit.note(request, Action.SIGN_IN_FAILED, _("wrong proof"))
    return _("This is neither your password nor a code from your app.")


@require_POST
def turn_off(request: HttpRequest) -> HttpResponse:
    """Turn the second factor off, with the password or a code."""
    user, form = access.person(request), ProofForm(request.POST)
    form.is_valid()
    if two_factor.must_have(user):
        messages.error(request, _("The operator of this portal requires you to keep two-factor on."))
    elif fault := check_proof(request, user, form):
        messages.error(request, f"{fault} " + _("Two-factor stays on."))
    else:
        two_factor.turn_off(user)
        end_other_sessions(request, user)
        audit.note(request, Action.TWO_FACTOR_OFF)
        messages.success(request, _("Two-factor is off. Your password alone now signs you in."))
    return redirect("profile")


@require_POST
def new_recovery_codes(request: HttpRequest) -> HttpResponse:
    """Ten new recovery codes, shown once."""
    user, form = access.person(request), ProofForm(request.POST)
    form.is_valid()
    if not two_factor.has_second_factor(user):
        return redirect("profile")
    if fault := check_proof(request, user, form):
        messages.error(request, f"{fault} " + _("Your recovery codes stay as they are."))
        return redirect("profile")
    codes = two_factor.make_recovery_codes(user)
    audit.note(request, Action.RECOVERY_CODES)
    answer = render(request, "people/recovery_codes.html", {"codes": codes})
    answer["Cache-Control"] = "no-store"
    return answer
