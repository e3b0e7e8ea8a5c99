"""A review of many violations at once, which is carried out in steps."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.models.events import Violation
from portal.models.people import User


class BulkReview(models.Model):
    """One decision of a person about all that fitted their filter. Kept for a day, so that it can be undone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", verbose_name=_("person"))
    status = models.CharField(_("status"), max_length=16, choices=Violation.Status.choices)
    reason = models.CharField(_("reason"), max_length=8, choices=Violation.Reason.choices, blank=True)
    undoes = models.OneToOneField(
        "self", on_delete=models.CASCADE, null=True, related_name="undone_by", verbose_name=_("undoes")
    )
    count = models.PositiveIntegerField(_("how many"), default=0)
    chosen: models.JSONField[Any, Any] = models.JSONField(
        _("chosen"),
        default=list,
        help_text=_("[violation, version that was seen; status, reason, by whom and when before], …"),
    )
    position = models.PositiveIntegerField(_("how far it has come"), default=0)
    done = models.PositiveIntegerField(_("done"), default=0)
    late: models.JSONField[Any, Any] = models.JSONField(
        _("late"),
        default=list,
        help_text=_("Places of those that others had decided, or that are gone."),
    )
    made_at = models.DateTimeField(_("made"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("review of many")
        verbose_name_plural = _("reviews of many")
        ordering = ("-made_at",)

    def __str__(self) -> str:
        return f"{self.made_at:%Y-%m-%d %H:%M:%S} {self.status} {self.position}/{len(self.chosen)}"
