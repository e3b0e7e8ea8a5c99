"""How well masks were worn, in rows of hours and days: counts without a face, which outlive what was counted.

Only portal/figures/hours.py makes them. They can be thrown away and counted anew from passages, violations and outages.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from cameras.models import Camera, Site


class Figures(models.Model):
    """What one camera, or a whole site, saw in one hour or one day of the site's own clock."""

    class Span(models.TextChoices):
        HOUR = "hour", _("hour")
        DAY = "day", _("day")

    COUNTS = (
        "mask", "no_mask", "incorrect", "unsure", "dismissed", "reminded", "reminded_masked", "unasked",
        "unasked_masked", "watched_s", "lost_s",
    )  # fmt: skip

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="figures", verbose_name=_("site"))
    camera = models.ForeignKey(
        Camera, on_delete=models.CASCADE, null=True, related_name="figures", help_text=_("Empty: the whole site.")
    )
    span = models.CharField(max_length=4, choices=Span.choices)
    start = models.DateTimeField(_("from"))
    day = models.DateField(_("day"), help_text=_("Of the site's own calendar."))
    hour = models.PositiveSmallIntegerField(_("hour"), default=0, help_text=_("Of the site's own clock."))
    weekday = models.PositiveSmallIntegerField(_("weekday"), help_text=_("Monday is 0."))
    mask = models.PositiveIntegerField(_("with a mask"), default=0)
    no_mask = models.PositiveIntegerField(_("without"), default=0)
    incorrect = models.PositiveIntegerField(_("worn wrongly"), default=0)
    unsure = models.PositiveIntegerField(_("unsure"), default=0)
    dismissed = models.PositiveIntegerField(
        _("dismissed"), default=0, help_text=_("A reviewer said that this was no violation: counted as nothing else.")
    )
    reminded = models.PositiveIntegerField(_("reminded"), default=0)
    reminded_masked = models.PositiveIntegerField(_("masked after a reminder"), default=0)
    unasked = models.PositiveIntegerField(_("not reminded"), default=0)
    unasked_masked = models.PositiveIntegerField(_("masked without a reminder"), default=0)
    watched_s = models.PositiveIntegerField(_("seconds watched"), default=0)
    lost_s = models.PositiveIntegerField(_("seconds lost"), default=0)

    class Meta:
        verbose_name = _("figures")
        verbose_name_plural = _("figures")
        indexes = [
            models.Index(fields=("span", "site", "day"), name="figures_by_day"),
            # What a page needs of whole sites, without reading the rows themselves.
            models.Index(
                fields=("span", "site", "day", "weekday", "hour", "mask", "no_mask", "incorrect"),
                name="figures_of_sites",
                condition=models.Q(camera__isnull=True),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("camera", "span", "start"),
                condition=models.Q(camera__isnull=False),
                name="figures_once_a_camera",
            ),
            models.UniqueConstraint(
                fields=("site", "span", "start"), condition=models.Q(camera__isnull=True), name="figures_once_a_site"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.span} {self.start:%Y-%m-%d %H:%M}"


class FiguresState(models.Model):
    """Until when a site's hours were counted."""

    site = models.OneToOneField(Site, on_delete=models.CASCADE, primary_key=True, related_name="figures_state")
    until = models.DateTimeField(_("until"))

    class Meta:
        verbose_name = _("state of the figures")
        verbose_name_plural = _("states of the figures")

    def __str__(self) -> str:
        return f"{self.site_id}: {self.until:%Y-%m-%d %H:%M}"


class LateHour(models.Model):
    """An hour that was counted and has changed since: a finding came late, or a violation was reviewed."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")
    start = models.DateTimeField(_("from"))

    class Meta:
        verbose_name = _("late hour")
        verbose_name_plural = _("late hours")

    def __str__(self) -> str:
        return f"{self.site_id}: {self.start:%Y-%m-%d %H:%M}"


class Pause(models.Model):
    """A time in which a camera was paused on purpose: it neither watched nor lost anything."""

    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="pauses", verbose_name=_("camera"))
    began_at = models.DateTimeField(_("began"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("pause")
        verbose_name_plural = _("pauses")
        indexes = [models.Index(fields=("camera", "-began_at"), name="pause_newest_of_camera")]
        constraints = [
            models.UniqueConstraint(
                fields=("camera",), condition=models.Q(ended_at__isnull=True), name="pause_one_open_a_camera"
            )
        ]

    def __str__(self) -> str:
        return f"{self.camera_id}: {self.began_at:%Y-%m-%d %H:%M}"
