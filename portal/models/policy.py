"""What a site decides and no camera needs to know: its language, hours, goal, and how long things are kept."""

from __future__ import annotations

from datetime import datetime

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from cameras.hours import Hours, check_hours, lies_in
from cameras.models import Site

LANGUAGES = [
    ("en", "English"),
    ("zh", "中文"),
    ("es", "Español"),
    ("fr", "Français"),
    ("de", "Deutsch"),
    ("he", "עברית"),
    ("ar", "العربية"),
    ("ru", "Русский"),
]


class SitePolicy(models.Model):
    """The policy of one site. Use `policy_of`: a site without a row has the defaults."""

    site = models.OneToOneField(
        Site, on_delete=models.CASCADE, primary_key=True, related_name="policy", verbose_name=_("site")
    )
    language = models.CharField(
        _("language"),
        max_length=8,
        choices=LANGUAGES,
        default="en",
        help_text=_("Its doors speak this language."),
    )
    opening_hours: models.JSONField[Hours, Hours] = models.JSONField(
        _("opening hours"), default=dict, blank=True, validators=[check_hours]
    )
    alert_when_closed = models.BooleanField(
        _("alert outside the opening hours, too"),
        default=False,
        help_text=_("Without it, what is seen then is kept and listed, but nobody is alerted."),
    )
    reminder_hours: models.JSONField[Hours, Hours] = models.JSONField(
        _("reminder hours"), default=dict, blank=True, validators=[check_hours]
    )
    thanks = models.BooleanField(
        _("thank people who wear a mask"),
        default=False,
        help_text=_("The door thanks people who wear a mask, or put one on."),
    )
    mask_goal = models.PositiveSmallIntegerField(
        _("goal"),
        default=95,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("What the reports compare against."),
    )
    retention_days = models.PositiveSmallIntegerField(
        _("days to keep"),
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text=_("Violations, their pictures and passages are deleted after this many days."),
    )
    mqtt_commands = models.BooleanField(
        _("take commands by MQTT"),
        default=False,
        help_text=_("Whoever may write to the broker may then pause and silence this site's cameras."),
    )
    mqtt_pictures = models.BooleanField(
        _("send pictures by MQTT"),
        default=False,
        help_text=_("The picture of the last violation of each camera, faces included, for whoever reads the broker."),
    )

    class Meta:
        verbose_name = _("site's policy")
        verbose_name_plural = _("sites' policies")

    def __str__(self) -> str:
        return str(self.site)

    def is_open(self, moment: datetime) -> bool:
        """Whether people are expected here. A site without hours is always open."""
        return lies_in(self.opening_hours, self.site.local(moment))

    def reminds_at(self, moment: datetime) -> bool:
        """Whether the door may speak. At a site without reminder hours it may at any time."""
        return lies_in(self.reminder_hours, self.site.local(moment))

    def alerts_at(self, moment: datetime) -> bool:
        """Whether anybody should be alerted to what happens at this moment."""
        return self.alert_when_closed or self.is_open(moment)


def policy_of(site: Site) -> SitePolicy:
    """The site's policy, or the defaults. No query if `policy` was selected with the site."""
    return getattr(site, "policy", None) or SitePolicy(site=site)
