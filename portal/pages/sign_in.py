"""Signing in, password links, and the first user."""

from __future__ import annotations

from typing import Any

from axes.decorators import axes_dispatch
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm, BaseUserCreationForm, SetPasswordForm
from django.contrib.auth.tokens import default_token_generator
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from cameras.redis import Errors
from portal.models import User
from portal.people import audit, two_factor
from portal.people.audit import Action
from portal.server import throttling

FIRST_USER_SALT = "portal.first-user"
FIRST_USER_LINK_S = 24 * 3600
REDIS_AWAY_S = 30


PASSWORD_HELP = _("At least 10 characters, not a common password, not similar to your name.")


class ShortHelpMixin:
    """States the rules for a password in one line."""

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for first, again in (("password1", "password2"), ("new_password1", "new_password2")):
            if first in self.fields:
                self.fields[first].help_text = PASSWORD_HELP
                self.fields[again].help_text = ""


class SignInForm(AuthenticationForm):
    """E-mail and password."""

    username = forms.EmailField(
        label=_("E-mail"), widget=forms.EmailInput(attrs={"autofocus": True, "autocomplete": "username"})
    )
    error_messages = {
        "invalid_login": _("This e-mail and password do not match. Check both, then try again."),
        "inactive": _("This account is disabled. Ask your manager."),
    }


@method_decorator([login_not_required, axes_dispatch], name="dispatch")
class SignIn(auth_views.LoginView):
    template_name = "people/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if wait := password_wait_s(request, attempted_name(request)):
            return slow_down(request, wait)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        answer = super().form_valid(form)
        user = form.get_user()
        throttling.was_right("password", self.request, user.email)
        if not two_factor.needs_code(user):
            throttling.remember(self.request, answer, user.email)
        return answer


def password_wait_s(request: HttpRequest, account: str) -> int:
    """For how long no password of this account may be tried from here. While Redis is away, only django-axes counts."""
    try:
        return throttling.guess("password", request, account)
    except Errors:
        return 0


def code_wait_s(request: HttpRequest, account: str) -> int:
    """The same for codes and other proofs. While Redis is away nothing can be counted, so nothing is accepted."""
    try:
        return throttling.guess("code", request, account)
    except Errors:
        return REDIS_AWAY_S


def slow_down(request: HttpRequest, seconds: int) -> HttpResponse:
    context = {"title": _("Too many attempts"), "advice": wait_in_words(seconds)}
    answer = render(request, "error.html", context, status=429)
    answer["Retry-After"] = str(seconds)
    return answer


def wait_in_words(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return ngettext(
        "For safety, no more attempts are possible from here for a minute. Then try again.",
        "For safety, no more attempts are possible from here for %(minutes)d minutes. Then try again.",
        minutes,
    ) % {"minutes": minutes}


def is_known_browser(request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
    """For django-axes: a browser from which this account signs in has a bound of its own, which nobody else uses up."""
    return bool(throttling.known_as(request, attempted_name(request, credentials)))


def attempted_name(request: HttpRequest | None, credentials: dict[str, Any] | None = None) -> str:
    """For django-axes: e-mails are compared regardless of case, or each spelling would have five tries of its own."""
    given = (credentials or {}).get("username") or (request.POST.get("username", "") if request else "")
    return str(given).strip().lower()


def too_many_attempts(request: HttpRequest, credentials: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
    """The response of django-axes after a name was tried too often from one address."""
    context = {
        "title": _("Too many attempts"),
        "advice": _(
            "For safety, this e-mail address cannot be used to sign in from here for 15 minutes. Then try again."
        ),
    }
    return render(request, "error.html", context, status=429)


@method_decorator(login_not_required, name="dispatch")
class PasswordReset(auth_views.PasswordResetView):
    """Sends a link by e-mail; if no e-mail is set up, says who can help instead."""

    template_name = "people/password_reset.html"
    email_template_name = "people/password_reset_mail.txt"
    subject_template_name = "people/password_reset_subject.txt"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs, can_mail=bool(settings.EMAIL_URL))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not settings.EMAIL_URL:
            return self.get(request)
        if not throttling.allow_each("reset-mail", request.POST.get("email", "").strip(), request):
            return slow_down(request, 3600)
        self.extra_email_context = {"base_url": settings.BASE_URL}
        return super().post(request, *args, **kwargs)


@method_decorator(login_not_required, name="dispatch")
class PasswordResetDone(auth_views.PasswordResetDoneView):
    template_name = "people/password_reset_done.html"


class ResetPasswordForm(ShortHelpMixin, SetPasswordForm):  # type: ignore[type-arg]  # generic only in the stubs
    """A new password; with a second factor its code is needed too: a mailbox alone must not open an account."""

    code = forms.CharField(
        label=_("Code"),
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}),
        help_text=_("Six digits from your app, or one of your recovery codes."),
    )

    def __init__(self, user: User, *args: Any, request: HttpRequest | None = None, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request = request
        if user is None or not two_factor.has_second_factor(user):
            del self.fields["code"]

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if self.request is not None and (wait := code_wait_s(self.request, self.user.email)):
            raise ValidationError(wait_in_words(wait))
        if two_factor.matching_device(self.user, code) is None:
            raise ValidationError(_("This code is wrong. Wait for the next one in your app."))
        return code


@method_decorator(login_not_required, name="dispatch")
class PasswordResetConfirm(auth_views.PasswordResetConfirmView):
    template_name = "people/password_set.html"
    form_class = ResetPasswordForm
    post_reset_login = True
    post_reset_login_backend = "django.contrib.auth.backends.ModelBackend"

    def get_success_url(self) -> str:
        return reverse("dashboard")

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def form_valid(self, form: Any) -> HttpResponse:
        answer = super().form_valid(form)
        throttling.remember(self.request, answer, form.user.email)
        audit.note(self.request, Action.PASSWORD_CHANGED, actor=form.user)
        return answer


def password_link(user: User) -> str:
    """A link for `user` to set a new password: valid once, for PASSWORD_RESET_TIMEOUT."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    path = reverse("password_reset_confirm", args=[uid, default_token_generator.make_token(user)])
    return f"{settings.BASE_URL}{path}"


class FirstUserForm(ShortHelpMixin, BaseUserCreationForm):  # type: ignore[type-arg]  # generic only in the stubs
    """Name, e-mail and password of the person who sets up the portal."""

    class Meta:
        model = User
        fields = ("name", "email")

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()


def first_user_link() -> str:
    """The link to make the first user: signed, valid for a day, and only while there is no user."""
    token = signing.dumps("first", salt=FIRST_USER_SALT)
    return f"{settings.BASE_URL}{reverse('first_user', args=[token])}"


@login_not_required
def first_user(request: HttpRequest, token: str) -> HttpResponse:
    """Make the first user, a superuser. Without a valid token, or once there is a user, the page does not exist."""
    try:
        signing.loads(token, salt=FIRST_USER_SALT, max_age=FIRST_USER_LINK_S)
    except signing.BadSignature as error:
        raise Http404 from error
    form = FirstUserForm(request.POST or None)
    with transaction.atomic():
        if User.objects.exists():
            raise Http404
        if request.method == "POST" and form.is_valid():
            user = form.save(commit=False)
            user.is_staff = user.is_superuser = True
            user.save()
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
            messages.success(request, _("Welcome. You are the first here."))
            return redirect("dashboard")
    return render(request, "people/first_user.html", {"form": form})
