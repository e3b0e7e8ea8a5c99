"""One row that /healthz writes: a database that can only be read looks well."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Heartbeat(models.Model):
    """When the portal was last asked how it is; there is one row."""

    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"

    @classmethod
    def beat(cls) -> None:
        """Write the row. Raises DatabaseError if the database does not take it."""
        if not cls.objects.filter(pk=1).update(at=timezone.now()):
            cls.objects.update_or_create(pk=1, defaults={"at": timezone.now()})
