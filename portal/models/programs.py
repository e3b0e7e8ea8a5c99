"""Programs that read a site's figures or violations through the API, each with a token of its own."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cameras.models import Site
from portal.models.people import User


class Program(models.Model):
    """A program that may use the API at one site. Its token is not stored, only its hash."""

    class May(models.TextChoices):
        FIGURES = "figures", _("Read figures, cameras and outages")
        VIOLATIONS = "violations", _("Read people and violations, with pixelated pictures")
        PICTURES = "pictures", _("See pictures with faces")
        REVIEW = "review", _("Confirm and dismiss violations")

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="programs", verbose_name=_("site"))
    name = models.CharField(_("name"), max_length=80, help_text=_("Like “Screen in the canteen”."))
    rights: models.JSONField[Any, Any] = models.JSONField(_("may"), default=list)
    token_hash = models.CharField(_("hash of its token"), max_length=64, unique=True, editable=False)
    made_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("made by"))
    made_at = models.DateTimeField(_("made"), default=timezone.now)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("program")
        verbose_name_plural = _("programs")
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None

    @property
    def may_words(self) -> list[str]:
        """What it may do, in words."""
        return [str(right.label) for right in self.May if right in self.rights]
