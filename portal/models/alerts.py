"""What is told to people elsewhere: a row for each message and receiver, kept until it is known to have arrived."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from cameras.models import Camera, Outage, Site
from portal.models.people import User


class Delivery(models.Model):
    """One message to one receiver. Its id goes along with it, so that a receiver can drop what comes twice."""

    class Event(models.TextChoices):
        OUTAGE_BEGAN = "outage-began", _("A camera is down")
        OUTAGE_HOUR = "outage-hour", _("A camera has been down for an hour")
        OUTAGE_DAY = "outage-day", _("A camera has been down for a day")
        OUTAGE_ENDED = "outage-ended", _("A camera is back")

    class Channel(models.TextChoices):
        EMAIL = "email", _("E-mail")

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Not sent")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("site"))
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("camera"))
    outage = models.ForeignKey(Outage, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("outage"))
    event = models.CharField(_("what happened"), max_length=16, choices=Event.choices)
    channel = models.CharField(_("by what"), max_length=16, choices=Channel.choices)
    receiver = models.ForeignKey(User, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("to whom"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(_("tries"), default=0)
    created_at = models.DateTimeField(_("decided"), default=timezone.now)
    next_at = models.DateTimeField(_("next try"), default=timezone.now)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    why = models.CharField(_("why not"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ("-created_at", "-id")
        indexes = [
            models.Index(fields=("site", "-created_at", "-id"), name="delivery_newest_of_site"),
            models.Index(
                fields=("channel", "receiver", "created_at"),
                name="delivery_waiting",
                condition=models.Q(state="waiting"),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=("outage", "event", "channel", "receiver"), name="delivery_once_a_receiver")
        ]

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.event} {self.state}"
