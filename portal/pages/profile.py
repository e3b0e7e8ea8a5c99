"""A person's own page: name, language, time zone, appearance, password, second factor, sessions."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from portal.alerts.channels import push
from portal.models import PushSubscription, SignedIn, User
from portal.pages import told
from portal.pages.sign_in import ShortHelpMixin, code_wait_s, slow_down
from portal.pages.two_factor import ProofForm, end_other_sessions
from portal.people import access, audit, two_factor
from portal.people.audit import Action

MOST_SESSIONS = 20


@cache
def zone_names() -> tuple[str, ...]:
    """The time zones that people choose from, by their usual names."""
    return tuple(sorted(name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/")))


class ZoneField(forms.ChoiceField):
    """A time zone from the list; the browser itself narrows it as one types."""

    def __init__(self, *, empty: Any = None, **kwargs: Any) -> None:
        choices = [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in zone_names())]
        super().__init__(choices=[("", empty), *choices] if empty is not None else choices, **kwargs)


class ProfileForm(forms.ModelForm[User]):
    """What people set for themselves."""

    time_zone = ZoneField(
        label=gettext_lazy("Time zone"),
        required=False,
        empty=gettext_lazy("Each site's own"),
        help_text=gettext_lazy("Times of a site in another zone are marked with its name."),
    )
    language = forms.ChoiceField(label=gettext_lazy("Language"), required=False)

    class Meta:
        model = User
        fields = ("name", "language", "time_zone", "theme")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["language"].choices = [("", _("As set in the browser")), *settings.LANGUAGES]  # type: ignore[attr-defined]


class ChangePasswordForm(ShortHelpMixin, PasswordChangeForm):
    """Django's form, but without autofocus on a page with several forms."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].widget.attrs.pop("autofocus", None)


def profile(request: HttpRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None, instance=User.objects.get(pk=access.person(request).pk))
    if request.method == "POST" and form.is_valid():
        form.save()
        audit.note(request, Action.PROFILE_CHANGED, ", ".join(form.changed_data))
        messages.success(request, _("Saved."))
        return redirect("profile")
    return show(request, form, ChangePasswordForm(access.person(request)), 422 if form.errors else 200)


def show(request: HttpRequest, form: ProfileForm, password_form: PasswordChangeForm, status: int) -> HttpResponse:
    has = two_factor.has_second_factor(request.user)
    context = {
        "form": form,
        "password_form": password_form,
        "off_form": ProofForm(auto_id="id_off_%s"),
        "codes_form": ProofForm(auto_id="id_codes_%s"),
        "has_second_factor": has,
        "codes_left": two_factor.codes_left(access.person(request)) if has else 0,
        "must_have": two_factor.must_have(request.user),
        "sessions": own_sessions(request),
        "reaching": reaching(access.person(request)),
        "browsers": PushSubscription.objects.filter(user=access.person(request)),
        "push_key": push.public_key(),
        "can_mail": bool(settings.EMAIL_URL),
    }
    return render(request, "people/profile.html", context, status=status)


def reaching(person: User) -> list[dict[str, Any]]:
    """The rules that tell this person something, and whether they stopped them. Four queries."""
    stopped = set(person.stopped_rules.values_list("pk", flat=True))
    return [
        {
            "rule": rule,
            "stopped": rule.pk in stopped,
            "label": f"{_('Start again') if rule.pk in stopped else _('Stop')}: {rule.name}, {rule.site}",
        }
        for rule in told.reaching(person)
    ]


def own_sessions(request: HttpRequest) -> list[SignedIn]:
    """This person's sessions that are still active, the current one first. Two queries."""
    rows = list(SignedIn.objects.filter(user=access.person(request))[: 3 * MOST_SESSIONS])
    keys = [row.session_key for row in rows]
    live = set(
        Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now()).values_list(
            "session_key", flat=True
        )
    )
    found = [row for row in rows if row.session_key in live]
    return sorted(found, key=lambda row: row.session_key != request.session.session_key)[:MOST_SESSIONS]


@require_POST
def change_password(request: HttpRequest) -> HttpResponse:
    person = access.person(request)
    if wait := code_wait_s(request, person.email):
        return slow_down(request, wait)
    form = ChangePasswordForm(person, request.POST)
    if not form.is_valid():
        return show(request, ProfileForm(instance=User.objects.get(pk=person.pk)), form, 422)
    form.save()
    update_session_auth_hash(request, form.user)
    audit.note(request, Action.PASSWORD_CHANGED)
    messages.success(request, _("Your password is changed. All your other sessions are signed out."))
    return redirect("profile")


@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End all sessions of this person except this one."""
    end_other_sessions(request, access.person(request))
    audit.note(request, Action.SIGNED_OUT_EVERYWHERE)
    messages.success(request, _("You are now signed out everywhere but here."))
    return redirect("profile")


@receiver(user_logged_in)
def remember_session(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    if request.session.session_key is None:
        request.session.save()
    SignedIn.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={
            "user": user,
            "address": audit.address_of(request),
            "browser": request.META.get("HTTP_USER_AGENT", "")[:300],
        },
    )
    if (language := translation.get_language_from_request(request)) != user.browser_language:
        User.objects.filter(pk=user.pk).update(browser_language=language)
    stale = SignedIn.objects.filter(user=user).order_by("-at").values_list("pk", flat=True)[3 * MOST_SESSIONS :]
    SignedIn.objects.filter(pk__in=list(stale)).delete()
