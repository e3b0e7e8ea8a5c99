"""Sites, their cameras, and who watches them."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, time

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from cameras.states import CameraState


def check_time_zone(value: str) -> None:
    """Raise ValidationError unless `value` is a zone of the IANA database."""
    try:
        zoneinfo.ZoneInfo(value)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise ValidationError(
            _("There is no time zone “%(zone)s”. Write one like Europe/Lisbon."), params={"zone": value}
        ) from error


class Site(models.Model):
    """A place with a lobby. Its day, its pictures' lifetime and its people are its own."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="UTC", validators=[check_time_zone], help_text=_("Like Europe/Lisbon.")
    )
    retention_days = models.PositiveSmallIntegerField(
        _("days to keep"),
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text=_("Violations, their pictures and passages are deleted after so many days."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("site")
        verbose_name_plural = _("sites")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.time_zone)

    def midnight(self, day: date) -> datetime:
        """When this day begins here, in UTC."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def local(self, moment: datetime) -> datetime:
        """`moment` as the clock on this site's wall shows it."""
        return moment.astimezone(self.zone)


class Camera(models.Model):
    """One stream of pictures, watched by at most one worker at a time."""

    class Kind(models.TextChoices):
        CLIP = "clip", _("Clip, played as if live")

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="cameras", verbose_name=_("site"))
    name = models.CharField(_("name"), max_length=120)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices, default=Kind.CLIP)
    address = models.CharField(
        _("address"), max_length=500, help_text=_("For a clip: the name of a file in DATA_DIR/clips.")
    )
    analyses_per_second = models.FloatField(
        _("analyses a second"), default=5.0, validators=[MinValueValidator(1), MaxValueValidator(30)]
    )
    paused = models.BooleanField(_("paused"), default=False)
    version = models.PositiveIntegerField(_("version of its settings"), default=1, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("camera")
        verbose_name_plural = _("cameras")
        ordering = ("site", "name")
        constraints = [models.UniqueConstraint(fields=("site", "name"), name="camera_name_unique_in_site")]

    def __str__(self) -> str:
        return self.name


class CameraLease(models.Model):
    """Who watches a camera now. `token` only grows; it is taken by compare-and-swap (see cameras/leases.py).

    The time-to-live is not here but in Redis: a row says who was given the camera, Redis whether they are alive.
    """

    camera = models.OneToOneField(Camera, on_delete=models.CASCADE, primary_key=True, related_name="lease")
    token = models.PositiveBigIntegerField(_("token"), default=0)
    worker = models.CharField(_("worker"), max_length=200, blank=True, help_text=_("Empty: nobody watches."))
    taken_at = models.DateTimeField(_("taken"), null=True, blank=True)
    state = models.CharField(_("state"), max_length=16, choices=CameraState.choices, default=CameraState.WAITING)
    state_since = models.DateTimeField(_("since"), null=True, blank=True)
    state_detail = models.CharField(_("reason"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        return f"{self.camera_id}/{self.token} {self.worker or '–'}"


class Reign(models.Model):
    """The time in which one token was the camera's: [taken_at, ended_at), open while `ended_at` is null.

    A finding is accepted when its `captured_at` lies in its token's reign, however late it comes.
    """

    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="reigns")
    token = models.PositiveBigIntegerField(_("token"))
    worker = models.CharField(_("worker"), max_length=200)
    taken_at = models.DateTimeField(_("taken"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("reign")
        verbose_name_plural = _("reigns")
        constraints = [models.UniqueConstraint(fields=("camera", "token"), name="reign_token_unique_for_camera")]

    def __str__(self) -> str:
        return f"{self.camera_id}/{self.token} {self.worker}"
