"""What the door says: where it sounds, and each time it spoke or why it did not."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from cameras.models import Camera, Site
from portal.models.events import Passage, Violation
from portal.models.policy import LANGUAGES

CONFIRMED_WITHIN = timedelta(seconds=30)  # a door that reports nothing for this long never will


class Phrase(models.TextChoices):
    """What can be said at a door. A site may reword each."""

    NO_MASK = "no_mask", _("To anyone without a mask")
    NO_MASK_AGAIN = "no_mask_again", _("To anyone still without one")
    INCORRECT = "incorrect", _("To anyone wearing it wrongly")
    INCORRECT_AGAIN = "incorrect_again", _("To anyone still wearing it wrongly")
    THANKS = "thanks", _("To anyone wearing a mask")


class SitePhrase(models.Model):
    """A site's own wording in a language; without a row, the portal's own phrase is said."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="phrases", verbose_name=_("site"))
    language = models.CharField(_("language"), max_length=8, choices=LANGUAGES)
    phrase = models.CharField(_("phrase"), max_length=16, choices=Phrase.choices)
    text = models.CharField(_("text"), max_length=200)

    class Meta:
        verbose_name = _("phrase")
        verbose_name_plural = _("phrases")
        constraints = [models.UniqueConstraint(fields=("site", "language", "phrase"), name="phrase_once_a_site")]

    def __str__(self) -> str:
        return f"{self.phrase}: {self.text}"


class Voice(models.Model):
    """Where a camera's reminders sound. A camera without a row is silent."""

    class Output(models.TextChoices):
        NOWHERE = "nowhere", _("Nowhere: the door stays silent")
        DEVICE = "device", _("On the phone or computer that is this camera")
        LOUDSPEAKER = "loudspeaker", _("On a page that is open at the door")
        CALL = "call", _("On a camera or loudspeaker in the network (HTTP)")
        LOCAL = "local", _("On the worker's own machine")
        MQTT = "mqtt", _("On whatever listens to the MQTT broker")

    class Method(models.TextChoices):
        GET = "GET", "GET"
        POST = "POST", "POST"
        PUT = "PUT", "PUT"

    camera = models.OneToOneField(
        Camera, on_delete=models.CASCADE, primary_key=True, related_name="voice", verbose_name=_("camera")
    )
    output = models.CharField(_("where it sounds"), max_length=16, choices=Output.choices, default=Output.NOWHERE)
    is_muted = models.BooleanField(
        _("silent for now"), default=False, help_text=_("The settings stay. Home Assistant's switch does the same.")
    )
    preset = models.CharField(
        _("make"), max_length=16, blank=True, help_text=_("Empty: you write the request yourself.")
    )
    host = models.CharField(_("host"), max_length=260, blank=True)
    channel = models.CharField(_("channel"), max_length=120, blank=True)
    method = models.CharField(_("method"), max_length=4, choices=Method.choices, default=Method.GET)
    url = models.CharField(_("URL"), max_length=500, blank=True)
    content_type = models.CharField(
        _("content type"),
        max_length=80,
        blank=True,
        validators=[
            RegexValidator(
                r"^[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.-]+)*$", _("Enter one like application/json."), flags=re.A
            )
        ],
    )
    body = models.TextField(_("body"), max_length=2000, blank=True)
    user = models.CharField(_("user"), max_length=120, blank=True)
    sealed_password = models.TextField(_("sealed password"), blank=True, editable=False)
    sound_device = models.CharField(
        _("sound device"),
        max_length=80,
        blank=True,
        validators=[RegexValidator(r"^[\w:,.=-]+$", _("Enter it as `aplay -L` lists it, like plughw:1,0."))],
        help_text=_("As `aplay -L` lists it there; empty for the default one."),
    )

    class Meta:
        verbose_name = _("voice")
        verbose_name_plural = _("voices")

    def __str__(self) -> str:
        return f"{self.camera_id}: {self.output}"


class Silence(models.TextChoices):
    """Why a reminder was not said, or not confirmed."""

    LATE = "late", _("It came too late")
    HOURS = "hours", _("Outside the reminder hours")
    COOLDOWN = "cooldown", _("The door had just spoken")
    NOBODY = "nobody", _("No page is open at the door")
    LOCKED = "locked", _("The sound is off at the door")
    UNPLAYED = "unplayed", _("The device could not play it")
    UNREACHED = "unreached", _("The loudspeaker could not be reached")
    NO_WORKER = "no-worker", _("No worker watches the camera")

    @property
    def remedy(self) -> str | Promise:
        return _REMEDIES[self]


_REMEDIES: dict[Silence, str | Promise] = {
    Silence.LATE: _("The person was seen over three seconds earlier. If it happens often, the worker is too busy."),
    Silence.HOURS: _("The site's settings say when its doors may speak."),
    Silence.COOLDOWN: _("A door speaks at most once every twenty seconds; anyone there has heard it."),
    Silence.NOBODY: _("Open the door's page on its device again, and leave it in the foreground."),
    Silence.LOCKED: _("Browsers play nothing on a page that was never touched: tap “Switch the sound on” there."),
    Silence.UNPLAYED: _("Check the device's sound, or try another browser there."),
    Silence.UNREACHED: _("Try “Play it now” in the camera's settings; it says what went wrong."),
    Silence.NO_WORKER: _("Ask the operator of this portal to start a worker that serves the site."),
}


class Reminder(models.Model):
    """One time that a door spoke to somebody, or why it did not. Made only by portal/voice/reminding.py."""

    class Step(models.TextChoices):
        FIRST = "first", _("Reminder")
        AGAIN = "again", _("Second reminder")
        THANKS = "thanks", _("Thanks")
        TRIAL = "trial", _("Played by hand")

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="reminders", verbose_name=_("site"))
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="reminders", verbose_name=_("camera"))
    passage = models.ForeignKey(
        Passage, on_delete=models.CASCADE, null=True, related_name="reminders", verbose_name=_("passage")
    )
    violation = models.ForeignKey(
        Violation, on_delete=models.SET_NULL, null=True, related_name="reminders", verbose_name=_("violation")
    )
    step = models.CharField(_("step"), max_length=8, choices=Step.choices)
    text = models.CharField(_("text"), max_length=200)
    language = models.CharField(_("language"), max_length=8, choices=LANGUAGES)
    output = models.CharField(_("where it sounds"), max_length=16, choices=Voice.Output.choices)
    decided_at = models.DateTimeField(_("decided"), default=timezone.now)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    played_at = models.DateTimeField(_("played"), null=True, blank=True, help_text=_("When its last word was said."))
    why_not = models.CharField(_("why not"), max_length=16, choices=Silence.choices, blank=True)
    detail = models.CharField(_("detail"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("reminder")
        verbose_name_plural = _("reminders")
        ordering = ("-decided_at",)
        indexes = [models.Index(fields=("camera", "-decided_at"), name="reminder_newest_of_camera")]
        constraints = [
            models.UniqueConstraint(
                fields=("passage", "step"), name="reminder_once_a_person", condition=models.Q(passage__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.decided_at:%Y-%m-%d %H:%M:%S} {self.step} {self.why_not or 'said'}"

    @property
    def remedy(self) -> str | Promise:
        """What to do about its silence; empty if it was said."""
        return Silence(self.why_not).remedy if self.why_not else ""

    @staticmethod
    def said() -> models.Q:
        """Reminders that somebody at the door could hear: played to the end, or accepted by a loudspeaker."""
        taken = models.Q(output=Voice.Output.CALL, sent_at__isnull=False)
        return models.Q(why_not="") & (models.Q(played_at__isnull=False) | taken)

    @property
    def was_said(self) -> bool:
        """Whether this reminder is one of `said`."""
        taken = self.output == Voice.Output.CALL and self.sent_at is not None
        return not self.why_not and (self.played_at is not None or taken)

    @property
    def is_under_way(self) -> bool:
        """Whether it may still be confirmed."""
        return not self.why_not and not self.was_said and timezone.now() - self.decided_at < CONFIRMED_WITHIN

    @property
    def outcome(self) -> str:
        """How it went, in a few words."""
        if self.why_not:
            return str(self.get_why_not_display())
        if self.played_at:
            return str(_("Played"))
        if self.is_under_way:
            return str(_("Sent; waiting for it to finish")) if self.sent_at else str(_("Being sent"))
        if self.sent_at is None:
            return str(_("Never sent"))
        if self.output == Voice.Output.CALL:
            return str(_("Accepted by the loudspeaker"))
        return str(_("Sent; the door did not report whether it played"))
