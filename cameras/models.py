"""Sites, their cameras, and who watches them."""

from __future__ import annotations

import uuid
import zoneinfo
from datetime import UTC, date, datetime, time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from cameras.hours import Hours, check_hours
from cameras.states import CameraState
from detection import model_names


def check_time_zone(value: str) -> None:
    """Raise ValidationError unless `value` is a time zone in the IANA database."""
    try:
        zoneinfo.ZoneInfo(value)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise ValidationError(
            _("There is no time zone “%(zone)s”. Enter one like Europe/Lisbon."), params={"zone": value}
        ) from error


class Site(models.Model):
    """A place with a lobby and its own local day. What it asks of the portal is the portal's concern (SitePolicy)."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    address = models.CharField(_("address"), max_length=300, blank=True, help_text=_("Street and town."))
    archived_at = models.DateTimeField(_("archived"), null=True, blank=True, editable=False)
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="UTC", validators=[check_time_zone], help_text=_("Like Europe/Lisbon.")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    has_workers = models.BooleanField(
        _("has workers of its own"),
        default=False,
        editable=False,
        help_text=_("Its network cameras are then watched by workers at the site alone (SiteWorker)."),
    )

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
        """When this day begins at this site, in UTC."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def local(self, moment: datetime) -> datetime:
        """`moment` in this site's local time."""
        return moment.astimezone(self.zone)


def model_choices() -> list[tuple[str, str | Promise]]:
    """The detection models that a camera can be watched with."""
    return [(name, _("The portal's own") if name == "default" else name) for name in model_names()]


class Camera(models.Model):
    """One stream of pictures, watched by at most one worker at a time."""

    class Kind(models.TextChoices):
        RTSP = "rtsp", _("Network camera (RTSP)")
        HTTP = "http", _("Network camera (HTTP)")
        USB = "usb", _("USB camera on the worker's machine")
        DEVICE = "device", _("Phone, computer or program that sends its pictures")
        CLIP = "clip", _("Clip, played as if live")

    class Transport(models.TextChoices):
        AUTO = "auto", _("Automatic (TCP, or UDP if the camera refuses it)")
        TCP = "tcp", _("TCP (nothing is lost)")
        UDP = "udp", _("UDP (some old cameras)")

    class View(models.IntegerChoices):
        NEAR = 320, _("Near door: faces are large (320 px)")
        WIDE = 512, _("Wide lobby: faces are small, needs twice the computing power (512 px)")

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="cameras", verbose_name=_("site"))
    name = models.CharField(_("name"), max_length=120, help_text=_("Like “Front door”. It is shown below the picture."))
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices, default=Kind.CLIP)
    address = models.CharField(
        _("address"), max_length=500, blank=True, help_text=_("For a clip: the name of a file in DATA_DIR/clips.")
    )
    user = models.CharField(_("user"), max_length=120, blank=True)
    sealed_password = models.TextField(_("sealed password"), blank=True, editable=False)
    transport = models.CharField(_("connection type"), max_length=4, choices=Transport.choices, default=Transport.AUTO)
    view = models.PositiveSmallIntegerField(_("what it looks at"), choices=View.choices, default=View.NEAR)
    model = models.CharField(_("model"), max_length=80, choices=model_choices, default="default")
    analyses_per_second = models.FloatField(
        _("analyses a second"), default=5.0, validators=[MinValueValidator(1), MaxValueValidator(30)]
    )
    reminder_after_s = models.FloatField(
        _("seconds until the reminder"),
        default=2.0,
        validators=[MinValueValidator(0), MaxValueValidator(60)],
        help_text=_("How long a person is without a mask before the door says something."),
    )
    paused = models.BooleanField(_("paused"), default=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)
    version = models.PositiveIntegerField(_("version of its settings"), default=1, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("camera")
        verbose_name_plural = _("cameras")
        ordering = ("site", "name")
        constraints = [
            models.UniqueConstraint(
                fields=("site", "name"),
                name="camera_name_unique_in_site",
                condition=models.Q(deleted_at__isnull=True),
                violation_error_message=_("There is already a camera with this name at this site."),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_at_site(self) -> bool:
        """Whether only a worker at its site reaches it. A device sends its pictures to the portal from anywhere."""
        return self.site.has_workers and self.kind != self.Kind.DEVICE

    @staticmethod
    def wanted(prefix: str = "") -> models.Q:
        """Cameras that should be watched; `prefix` leads to the camera, like "camera__"."""
        conditions = {"paused": False, "deleted_at__isnull": True, "site__archived_at__isnull": True}
        return models.Q(**{prefix + name: value for name, value in conditions.items()})


class CameraZone(models.Model):
    """A part of a camera's picture that is watched, ignored, or kept from everybody."""

    class Kind(models.TextChoices):
        WATCH = "watch", _("Watch: only what happens here counts")
        IGNORE = "ignore", _("Ignore: a poster, a screen, the street behind glass")
        PRIVACY = "privacy", _("Privacy: black in every picture, live and stored")

    class Demand(models.TextChoices):
        REQUIRED = "required", _("Required: anyone without a mask is asked to put one on, and somebody is notified")
        RECOMMENDED = "recommended", _("Recommended: anyone without a mask is asked to put one on; nobody is notified")
        NOT_REQUIRED = "none", _("Not required: nobody is asked, and people there do not count in the figures")

    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="zones", verbose_name=_("camera"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices, default=Kind.WATCH)
    points: models.JSONField[Any, Any] = models.JSONField(
        _("points"), help_text=_("[[x, y], …], relative to the picture, from 0 to 1.")
    )
    aspect = models.FloatField(
        _("aspect"), default=0.0, help_text=_("Width by height of the picture that it was drawn on; 0: not known.")
    )
    demand = models.CharField(
        _("masks here are"),
        max_length=12,
        choices=Demand.choices,
        default=Demand.REQUIRED,
        help_text=_("Of a zone that is watched."),
    )
    hours: models.JSONField[Hours, Hours] = models.JSONField(
        _("hours"),
        default=dict,
        blank=True,
        validators=[check_hours],
        help_text=_("Outside of them masks are not required in a watched zone, and an ignored one is not ignored."),
    )
    made_at = models.DateTimeField(_("made"), auto_now_add=True)

    class Meta:
        verbose_name = _("zone")
        verbose_name_plural = _("zones")
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.camera_id}: {self.kind}"


class CameraSpot(models.Model):
    """A place at which a camera sees pictures of faces, as it seems, and no people.

    Until a person answers, nobody there is accused (detection/spots.py); if people can be there after all, they count.
    """

    class Answer(models.TextChoices):
        ASKED = "asked", _("nobody has answered yet")
        PEOPLE = "people", _("people can be there")

    id = models.UUIDField(primary_key=True, editable=False)
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="spots", verbose_name=_("camera"))
    box: models.JSONField[Any, Any] = models.JSONField(_("box"), help_text=_("x1, y1, x2, y2, from 0 to 1."))
    visits = models.PositiveIntegerField(_("times seen"))
    first_at = models.DateTimeField(_("first seen"))
    last_at = models.DateTimeField(_("last seen"))
    answer = models.CharField(_("answer"), max_length=8, choices=Answer.choices, default=Answer.ASKED)

    class Meta:
        verbose_name = _("spot")
        verbose_name_plural = _("spots")
        ordering = ("first_at", "pk")

    def __str__(self) -> str:
        return f"{self.camera_id}: {self.answer}"


class Outage(models.Model):
    """A time without pictures from a camera that should be watched; open while `ended_at` is null."""

    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="outages", verbose_name=_("camera"))
    began_at = models.DateTimeField(_("began"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("outage")
        verbose_name_plural = _("outages")
        ordering = ("-began_at", "-pk")
        indexes = [models.Index(fields=("camera", "-began_at"), name="outage_newest_of_camera")]
        constraints = [
            models.UniqueConstraint(
                fields=("camera",), condition=models.Q(ended_at__isnull=True), name="outage_one_open_a_camera"
            )
        ]

    def __str__(self) -> str:
        return f"{self.began_at:%Y-%m-%d %H:%M:%S} {self.reason}"


class SiteWorker(models.Model):
    """A stream worker at a site, behind its firewall: it calls the portal, with a key for this one site.

    The key is not stored, only its hash.
    """

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="workers", verbose_name=_("site"))
    name = models.CharField(_("name"), max_length=80, help_text=_("Like the name of its machine."))
    key_hash = models.CharField(_("hash of its key"), max_length=64, unique=True, editable=False)
    made_at = models.DateTimeField(_("made"), auto_now_add=True)
    last_seen_at = models.DateTimeField(_("last seen"), null=True, blank=True)
    version = models.CharField(_("version"), max_length=40, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("worker at a site")
        verbose_name_plural = _("workers at sites")
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name

    @property
    def worker_name(self) -> str:
        """Its name among all stream workers."""
        return f"site:{self.site_id}:{self.pk}"  # leases.AT_SITE


class ProbeRequest(models.Model):
    """What somebody typed into a camera's form, sealed, for the one worker that tests it; dropped after 15 minutes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+", verbose_name=_("site"))
    asked_by = models.PositiveBigIntegerField(_("asked by"))
    sealed = models.TextField(_("sealed"))
    asked_at = models.DateTimeField(_("asked"), auto_now_add=True)

    class Meta:
        verbose_name = _("test of a camera")
        verbose_name_plural = _("tests of cameras")

    def __str__(self) -> str:
        return str(self.pk)


class CameraLease(models.Model):
    """Who watches a camera now. `token` only grows; it is taken by compare-and-swap (see cameras/watching/leases.py).

    The time-to-live is not here but in Redis: a row says which worker was given the camera, Redis whether it is alive.
    """

    camera = models.OneToOneField(Camera, on_delete=models.CASCADE, primary_key=True, related_name="lease")
    token = models.PositiveBigIntegerField(_("token"), default=0)
    worker = models.CharField(_("worker"), max_length=200, blank=True, help_text=_("Empty: no worker watches it."))
    taken_at = models.DateTimeField(_("taken"), null=True, blank=True)
    state = models.CharField(_("state"), max_length=16, choices=CameraState.choices, default=CameraState.WAITING)
    state_since = models.DateTimeField(_("since"), null=True, blank=True)
    state_detail = models.CharField(_("reason"), max_length=300, blank=True)
    crashes = models.PositiveSmallIntegerField(
        _("crashes"), default=0, help_text=_("How often its stream made a worker crash lately.")
    )
    crashed_at = models.DateTimeField(_("crashed"), null=True, blank=True)
    crashed_version = models.PositiveIntegerField(_("version of its settings when it crashed"), default=0)

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        return f"{self.camera_id}/{self.token} {self.worker or '–'}"


class Reign(models.Model):
    """The time during which one token held the camera: [taken_at, ended_at), open while `ended_at` is null.

    A finding is accepted when its frame was taken before the reign ended, however late it arrives: by the machine's
    uptime if both were noted since the same start, as the wall's clock may have been set meanwhile.
    """

    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="reigns")
    token = models.PositiveBigIntegerField(_("token"))
    worker = models.CharField(_("worker"), max_length=200)
    taken_at = models.DateTimeField(_("taken"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    ended_boot = models.CharField(_("start of the machine"), max_length=36, blank=True, editable=False)
    ended_uptime_s = models.FloatField(_("ended, by uptime"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("reign")
        verbose_name_plural = _("reigns")
        constraints = [models.UniqueConstraint(fields=("camera", "token"), name="reign_token_unique_for_camera")]

    def __str__(self) -> str:
        return f"{self.camera_id}/{self.token} {self.worker}"
