"""Who was seen. Only portal/events/recording.py makes rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cameras.models import Camera, CameraZone, Site


class WearLabel(models.TextChoices):
    """What a person's face showed, as decided by the votes over the track."""

    MASK = "mask", _("Mask")
    NO_MASK = "no_mask", _("No mask")
    INCORRECT = "incorrect", _("Mask worn wrongly")
    UNSURE = "unsure", _("Unsure")


class SiteFeed(models.Model):
    """The number of a site's last event.

    It is raised inside the transaction that records the event, and so in the order of commits: a page that has
    seen number n has seen everything up to n, and asks for anything above it. The row also counts the violations to
    review, so that no page or message has to count them.
    """

    site = models.OneToOneField(Site, on_delete=models.CASCADE, primary_key=True, related_name="feed")
    number = models.PositiveBigIntegerField(_("number"), default=0)
    to_review = models.PositiveIntegerField(_("violations to review"), default=0)

    class Meta:
        verbose_name = _("feed")
        verbose_name_plural = _("feeds")

    def __str__(self) -> str:
        return f"{self.site_id}: {self.number}"


class Passage(models.Model):
    """One person, seen once, from arriving to leaving."""

    id = models.UUIDField(primary_key=True, editable=False, help_text=_("The track's key, made where it was seen."))
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="passages", verbose_name=_("site"))
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="passages", verbose_name=_("camera"))
    token = models.PositiveBigIntegerField(_("token of the lease"))
    seq = models.PositiveIntegerField(_("last finding applied"), default=0)
    label = models.CharField(_("label"), max_length=16, choices=WearLabel.choices, default=WearLabel.UNSURE)
    confidence = models.FloatField(_("confidence"), default=0.0)
    started_at = models.DateTimeField(_("came"))
    last_seen_at = models.DateTimeField(_("last seen"))
    ended_at = models.DateTimeField(_("left"), null=True, blank=True)
    demand = models.CharField(
        _("masks there are"),
        max_length=12,
        choices=CameraZone.Demand.choices,
        default=CameraZone.Demand.REQUIRED,
        help_text=_("The strictest of the zones in which they were. Where none are required, nobody is counted."),
    )

    class Meta:
        verbose_name = _("passage")
        verbose_name_plural = _("passages")
        indexes = [
            models.Index(fields=("site", "started_at"), name="passage_by_site_and_time"),
            models.Index(
                fields=("camera", "token"), name="passage_still_open", condition=models.Q(ended_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M:%S} {self.label}"

    @classmethod
    def asked(cls) -> models.QuerySet[Passage]:
        """Those who were where masks are required, or recommended."""
        return cls.objects.exclude(demand=CameraZone.Demand.NOT_REQUIRED)


class ErasedPassage(models.Model):
    """A person who was erased: what a worker still reports of them is dropped (portal/events/recording.py).

    It is kept for as long as their passage would have been.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+", verbose_name=_("site"))
    erased_at = models.DateTimeField(_("erased"), default=timezone.now)

    class Meta:
        verbose_name = _("erased person")
        verbose_name_plural = _("erased people")

    def __str__(self) -> str:
        return f"{self.erased_at:%Y-%m-%d %H:%M:%S}"


def newer_than(started_at: datetime, key: UUID) -> models.Q:
    """Violations before this position, newest first. The bound stands outside, as in portal/events/keyset.py."""
    return models.Q(started_at__gte=started_at) & (models.Q(started_at__gt=started_at) | models.Q(pk__gt=key))


class Violation(models.Model):
    """One person's spell without a mask, or with one worn wrongly, and what a reviewer decides about it."""

    class Status(models.TextChoices):
        OPEN = "open", _("To review")
        CONFIRMED = "confirmed", _("Confirmed")
        DISMISSED = "dismissed", _("Dismissed")

    class Reason(models.TextChoices):
        """Why it was dismissed. Figures count who was masked after all as such."""

        NOBODY = "nobody", _("Not a person")
        MASKED = "masked", _("Wearing a mask")
        EXEMPT = "exempt", _("Allowed without a mask")
        UNCLEAR = "unclear", _("Not clearly visible")

    id = models.UUIDField(primary_key=True, editable=False)
    passage = models.ForeignKey(Passage, on_delete=models.CASCADE, related_name="violations", verbose_name=_("passage"))
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="violations", verbose_name=_("site"))
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="violations", verbose_name=_("camera"))
    token = models.PositiveBigIntegerField(_("token of the lease"))
    seq = models.PositiveIntegerField(_("last finding applied"), default=0)
    label = models.CharField(_("label"), max_length=16, choices=WearLabel.choices)
    confidence = models.FloatField(_("confidence"))
    started_at = models.DateTimeField(_("began"))
    last_seen_at = models.DateTimeField(_("last seen"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    masked_at = models.DateTimeField(
        _("masked"), null=True, blank=True, help_text=_("When this person put a mask on, if it was seen.")
    )
    opened_at = models.DateTimeField(_("reported"), help_text=_("When the vote was sure."))
    quiet = models.BooleanField(
        _("quiet"),
        default=False,
        help_text=_("Outside opening hours, or masks are only recommended there: kept and listed, nobody was alerted."),
    )
    box: models.JSONField[Any, Any] = models.JSONField(
        _("box"), default=list, help_text=_("The face in the snapshot: x1, y1, x2, y2, from 0 to 1.")
    )
    snapshot = models.FileField(_("snapshot"), max_length=200, blank=True)
    snapshot_at = models.DateTimeField(_("snapshot taken"), null=True, blank=True)

    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.OPEN)
    reason = models.CharField(
        _("reason"),
        max_length=8,
        choices=Reason.choices,
        blank=True,
        default="",
        db_default="",  # so that a million rows get the column at once
        help_text=_("Of a dismissal."),
    )
    note = models.TextField(_("note"), max_length=2000, blank=True)
    reviewed_by = models.ForeignKey(
        "portal.User", on_delete=models.SET_NULL, null=True, blank=True, verbose_name=_("reviewed by")
    )
    reviewed_at = models.DateTimeField(_("reviewed"), null=True, blank=True)
    version = models.PositiveIntegerField(
        _("version"), default=1, help_text=_("Grows with every change, by the pipeline or by a person.")
    )
    review_version = models.PositiveIntegerField(
        _("version of the review"), default=0, help_text=_("Grows with every review; a review names the one it saw.")
    )
    event_number = models.PositiveBigIntegerField(
        _("event number"), default=0, help_text=_("Of its site's feed, when it last changed.")
    )
    opened_number = models.PositiveBigIntegerField(
        _("first event number"), default=0, help_text=_("Of its site's feed, when it was recorded.")
    )

    class Meta:
        verbose_name = _("violation")
        verbose_name_plural = _("violations")
        ordering = ("-started_at", "-id")
        indexes = [
            models.Index(fields=("site", "-started_at", "-id"), name="violation_newest_of_site"),
            models.Index(fields=("site", "status", "-started_at", "-id"), name="violation_by_status"),
            models.Index(fields=("-started_at", "-id"), name="violation_newest"),
            models.Index(fields=("site", "event_number"), name="violation_by_event"),
            models.Index(fields=("site",), name="violation_to_review", condition=models.Q(status="open")),
            models.Index(
                fields=("camera", "token"), name="violation_still_going", condition=models.Q(ended_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M:%S} {self.label}"


class ViolationGlimpse(models.Model):
    """One small picture of a violation's filmstrip: how this person looked before, during and after.

    What its place means is in detection/filmstrip.py.
    """

    violation = models.ForeignKey(
        Violation, on_delete=models.CASCADE, related_name="glimpses", verbose_name=_("violation")
    )
    place = models.PositiveSmallIntegerField(_("place"))
    captured_at = models.DateTimeField(_("taken"))
    box: models.JSONField[Any, Any] = models.JSONField(
        _("box"), default=list, help_text=_("The face in this picture: x1, y1, x2, y2, from 0 to 1.")
    )
    picture = models.FileField(_("picture"), max_length=200)

    class Meta:
        verbose_name = _("glimpse")
        verbose_name_plural = _("glimpses")
        constraints = [models.UniqueConstraint(fields=("violation", "place"), name="one_glimpse_a_place")]
        indexes = [models.Index(fields=("picture",), name="glimpse_by_picture")]

    def __str__(self) -> str:
        return f"{self.captured_at:%Y-%m-%d %H:%M:%S}"
