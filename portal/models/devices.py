"""Devices that send their own pictures: how they are let in, and what they show at the door."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cameras.models import Camera, Site
from portal.models.people import User


class Purpose(models.TextChoices):
    """What a device is paired for."""

    CAMERA = "camera", _("Camera")
    LOUDSPEAKER = "loudspeaker", _("Loudspeaker")


class Pairing(models.Model):
    """A link by which one device becomes a camera of a site, or the loudspeaker beside one.

    The secret is not stored, only its hash.
    """

    purpose = models.CharField(_("for"), max_length=16, choices=Purpose.choices, default=Purpose.CAMERA)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="pairings", verbose_name=_("site"))
    secret_hash = models.CharField(_("hash of the link's secret"), max_length=64, unique=True)
    made_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", verbose_name=_("made by"))
    made_at = models.DateTimeField(_("made"), default=timezone.now)
    expires_at = models.DateTimeField(_("valid until"))
    redeemed_at = models.DateTimeField(_("redeemed"), null=True, blank=True)
    camera = models.ForeignKey(
        Camera, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("camera")
    )

    class Meta:
        verbose_name = _("pairing link")
        verbose_name_plural = _("pairing links")
        ordering = ("-made_at",)

    def __str__(self) -> str:
        return f"{self.site} {self.made_at:%Y-%m-%d %H:%M}"


class DeviceToken(models.Model):
    """What a device shows to send pictures as one camera, or to speak beside it.

    Only its hash is stored; once revoked, it is no longer valid.
    """

    purpose = models.CharField(_("for"), max_length=16, choices=Purpose.choices, default=Purpose.CAMERA)
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="tokens", verbose_name=_("camera"))
    token_hash = models.CharField(_("hash of the token"), max_length=64, unique=True)
    agent = models.CharField(_("device"), max_length=300, blank=True)
    made_at = models.DateTimeField(_("paired"), default=timezone.now)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("device's token")
        verbose_name_plural = _("devices' tokens")
        ordering = ("-made_at",)

    def __str__(self) -> str:
        return f"{self.camera} {self.made_at:%Y-%m-%d %H:%M}"
