"""The people who sign in, and their roles at which sites."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cameras.models import Site, check_time_zone


class Accounts(BaseUserManager["User"]):
    """Makes users and finds them by e-mail, regardless of case."""

    use_in_migrations = True

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=(username or "").strip())

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A new user; without `password`, they can sign in only after a password link."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class Theme(models.TextChoices):
    """Which colours a person prefers."""

    SYSTEM = "system", _("As set on the device")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")


class User(AbstractUser):
    """A person who signs in by e-mail. What they may do is in Membership, read only by portal/people/access.py."""

    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    name = models.CharField(_("name"), max_length=120)
    email = models.EmailField(_("e-mail"), unique=True)
    language = models.CharField(_("language"), max_length=8, blank=True)
    browser_language = models.CharField(
        _("language of the browser"),
        max_length=8,
        blank=True,
        default="",
        editable=False,
        help_text=_("When they signed in last: that of what is sent to whoever has not chosen one."),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        blank=True,
        validators=[check_time_zone],
        help_text=_("Like Europe/Lisbon. Times of a site in another zone are then marked with its name."),
    )
    theme = models.CharField(_("appearance"), max_length=8, choices=Theme.choices, default=Theme.SYSTEM)
    looked_at = models.DateTimeField(_("last looked at the news"), default=timezone.now, editable=False)
    session_epoch = models.PositiveIntegerField(
        _("session epoch"), default=0, editable=False, help_text=_("Raising it ends all sessions.")
    )

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    objects: ClassVar[Accounts] = Accounts()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        ordering = ("name", "email")
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_unique_in_any_case")]

    def __str__(self) -> str:
        return self.name or self.email

    def clean(self) -> None:
        super().clean()
        self.email = self.email.lower()

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Django's hash, which ends sessions on a new password; this one also ends them on a new epoch."""
        plain = super()._get_session_auth_hash(secret)  # type: ignore[misc]
        return f"{plain}.{self.session_epoch}" if self.session_epoch else str(plain)

    @property
    def reads(self) -> str:
        """The language of what is sent to them."""
        return self.language or self.browser_language or settings.LANGUAGE_CODE

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name.split(" ")[0] if self.name else self.email


class Membership(models.Model):
    """A user's role at a site."""

    class Role(models.TextChoices):
        MANAGER = "manager", _("Manager")
        REVIEWER = "reviewer", _("Reviewer")
        VIEWER = "viewer", _("Viewer")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("user"))
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("site"))
    role = models.CharField(_("role"), max_length=16, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [models.UniqueConstraint(fields=("user", "site"), name="membership_one_role_a_site")]

    def __str__(self) -> str:
        return f"{self.user}: {self.role}"


class Invitation(models.Model):
    """A role at a site, waiting to be accepted through a link. The link's secret is not stored, only its hash."""

    email = models.EmailField(_("e-mail"))
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="invitations", verbose_name=_("site"))
    role = models.CharField(_("role"), max_length=16, choices=Membership.Role.choices, default=Membership.Role.REVIEWER)
    invited_by = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="invitations", verbose_name=_("invited by")
    )
    secret_hash = models.CharField(_("hash of the link's secret"), max_length=64, unique=True)
    expires_at = models.DateTimeField(_("valid until"))
    accepted_at = models.DateTimeField(_("accepted"), null=True, blank=True)

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ("email",)
        constraints = [
            models.UniqueConstraint(
                fields=("email", "site"),
                condition=models.Q(accepted_at__isnull=True),
                name="invitation_one_open_a_person_and_site",
            )
        ]

    def __str__(self) -> str:
        return self.email


class SignedIn(models.Model):
    """A browser in which somebody signed in: for their own list of sessions."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions", verbose_name=_("user"))
    session_key = models.CharField(_("session"), max_length=40, unique=True)
    address = models.CharField(_("address"), max_length=64, blank=True)
    browser = models.CharField(_("browser"), max_length=300, blank=True)
    at = models.DateTimeField(_("signed in"), auto_now_add=True)

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.browser[:40]}"
