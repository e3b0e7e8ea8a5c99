"""Who is told what elsewhere: a site's rules, where they lead, and a row for each message and receiver.

Only portal/alerts makes deliveries. Secrets of destinations are sealed, as the passwords of cameras are.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid4, uuid7

from cameras.hours import Hours, check_hours, lies_in
from cameras.models import Camera, Outage, Site
from portal.models.events import Violation
from portal.models.people import User
from portal.models.policy import policy_of


class Topic(models.TextChoices):
    """What a rule may be about."""

    NO_MASK = "no_mask", _("Somebody has no mask")
    INCORRECT = "incorrect", _("A mask is worn wrongly")
    REPEATED = "repeated", _("One camera sees it again and again")
    OUTAGE = "outage", _("A camera is down, or back")
    NO_WORKER = "no-worker", _("The cameras are not being watched")
    PORTAL = "portal", _("The portal itself needs attention")
    DAILY = "daily", _("The day's figures")
    WEEKLY = "weekly", _("The week's figures")


class Destination(models.Model):
    """A place outside the portal to which a site's rules may lead: another system's address, or a chat."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", _("Webhook, signed (Standard Webhooks)")
        NTFY = "ntfy", "ntfy"
        GOTIFY = "gotify", "Gotify"
        MATRIX = "matrix", "Matrix"
        TEAMS = "teams", "Microsoft Teams (Workflows)"
        OWN = "own", _("A request that you write")
        VENDOR = "vendor", _("Slack, Telegram, Discord, Pushover and others")

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="destinations", verbose_name=_("site"))
    name = models.CharField(_("name"), max_length=80)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices, default=Kind.WEBHOOK)
    sealed_address = models.TextField(_("address, sealed"))
    shown_address = models.CharField(_("address, without its secrets"), max_length=200, blank=True)
    sealed_secret = models.TextField(_("secret, sealed"), blank=True)
    body = models.TextField(_("body"), max_length=4000, blank=True)

    class Meta:
        verbose_name = _("destination")
        verbose_name_plural = _("destinations")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def is_machine(self) -> bool:
        """Whether it gets every event as data; the others get sentences for people."""
        return self.kind == self.Kind.WEBHOOK


class Rule(models.Model):
    """What is told of a site, when, to whom, and by what."""

    class During(models.TextChoices):
        OPEN = "open", _("While the site is open")
        ALWAYS = "always", _("At any time")
        OWN = "own", _("During its own hours")

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="rules", verbose_name=_("site"))
    name = models.CharField(_("name"), max_length=80)
    is_on = models.BooleanField(_("on"), default=True)
    topics: models.JSONField[list[str], list[str]] = models.JSONField(_("what"), default=list)
    cameras = models.ManyToManyField(
        Camera, related_name="+", blank=True, verbose_name=_("cameras"), help_text=_("None chosen: all of the site.")
    )
    during = models.CharField(_("when"), max_length=8, choices=During.choices, default=During.OPEN)
    hours: models.JSONField[Hours, Hours] = models.JSONField(
        _("hours"), default=dict, blank=True, validators=[check_hours]
    )
    roles: models.JSONField[list[str], list[str]] = models.JSONField(_("roles"), default=list, blank=True)
    people = models.ManyToManyField(User, related_name="+", blank=True, verbose_name=_("people"))
    by_email = models.BooleanField(_("e-mail"), default=True)
    by_push = models.BooleanField(_("push"), default=True)
    destinations = models.ManyToManyField(Destination, related_name="rules", blank=True, verbose_name=_("destinations"))
    repeats = models.PositiveSmallIntegerField(
        _("times an hour"), default=5, validators=[MinValueValidator(2), MaxValueValidator(100)]
    )
    next_after_min = models.PositiveSmallIntegerField(
        _("minutes until the next person is asked"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 60)],
    )
    next_people: models.JSONField[list[int], list[int]] = models.JSONField(
        _("the next people"), default=list, blank=True
    )
    stopped_by = models.ManyToManyField(User, related_name="stopped_rules", blank=True, verbose_name=_("stopped by"))

    class Meta:
        verbose_name = _("rule")
        verbose_name_plural = _("rules")
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name

    def is_due(self, moment: datetime) -> bool:
        """Whether anything that happens at this moment is told."""
        if self.during == self.During.OWN:
            return lies_in(self.hours, self.site.local(moment))
        return self.during == self.During.ALWAYS or policy_of(self.site).alerts_at(moment)

    @property
    def topic_names(self) -> list[str]:
        return [str(Topic(value).label) for value in self.topics]


class Delivery(models.Model):
    """One message to one receiver. Its key goes along with it, so that a receiver can drop what comes twice."""

    class Event(models.TextChoices):
        VIOLATION_OPENED = "violation.opened", _("No mask")
        VIOLATION_UPDATED = "violation.updated", _("No mask: update")
        VIOLATION_CLOSED = "violation.closed", _("No mask: over")
        VIOLATION_REVIEWED = "violation.reviewed", _("No mask: reviewed")
        REPEATED = "repeated", _("Again and again without a mask")
        OUTAGE_BEGAN = "outage.began", _("A camera is down")
        OUTAGE_HOUR = "outage.hour", _("A camera has been down for an hour")
        OUTAGE_DAY = "outage.day", _("A camera has been down for a day")
        OUTAGE_ENDED = "outage.ended", _("A camera is back")
        NO_WORKER = "no-worker", _("The cameras are not being watched")
        PORTAL = "portal", _("The portal needs attention")
        DAILY = "daily", _("The day's figures")
        WEEKLY = "weekly", _("The week's figures")
        TEST = "test", _("A test")

    class Channel(models.TextChoices):
        EMAIL = "email", _("e-mail")
        PUSH = "push", _("push")
        DESTINATION = "destination", _("web request")
        MQTT = "mqtt", "MQTT"

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Not sent")

    id = models.BigAutoField(primary_key=True, help_text=_("In the order in which they were decided."))
    key = models.UUIDField(default=uuid7, unique=True, editable=False)
    lane = models.CharField(max_length=48, help_text=_("Channel and receiver: each gets its messages in order."))
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("site"))
    camera = models.ForeignKey(
        Camera, on_delete=models.CASCADE, null=True, related_name="deliveries", verbose_name=_("camera")
    )
    violation = models.ForeignKey(
        Violation, on_delete=models.CASCADE, null=True, related_name="deliveries", verbose_name=_("violation")
    )
    outage = models.ForeignKey(
        Outage, on_delete=models.CASCADE, null=True, related_name="deliveries", verbose_name=_("outage")
    )
    rule = models.ForeignKey(
        Rule, on_delete=models.SET_NULL, null=True, related_name="deliveries", verbose_name=_("rule")
    )
    event = models.CharField(_("what happened"), max_length=20, choices=Event.choices)
    about = models.CharField(max_length=80, help_text=_("Which happening: told once in each lane."))
    body: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(
        _("what is told"), default=dict, help_text=_("As it was then.")
    )
    channel = models.CharField(_("by what"), max_length=12, choices=Channel.choices)
    receiver = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, related_name="deliveries", verbose_name=_("to whom")
    )
    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, null=True, related_name="deliveries", verbose_name=_("where to")
    )
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(_("tries"), default=0)
    happened_at = models.DateTimeField(_("happened"), default=timezone.now)
    created_at = models.DateTimeField(_("decided"), default=timezone.now)
    next_at = models.DateTimeField(_("next try"), default=timezone.now)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    seen_at = models.DateTimeField(_("seen"), null=True, blank=True, help_text=_("When its receiver opened its link."))
    why = models.CharField(_("why not"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ("-id",)
        indexes = [
            models.Index(fields=("site", "-id"), name="delivery_newest_of_site"),
            models.Index(fields=("created_at", "site"), name="delivery_by_age"),
            models.Index(fields=("receiver", "-id"), name="delivery_newest_of_person"),
            models.Index(fields=("lane", "id"), name="delivery_waiting", condition=models.Q(state="waiting")),
            models.Index(fields=("lane", "camera", "created_at"), name="delivery_of_lane_and_camera"),
        ]
        constraints = [models.UniqueConstraint(fields=("lane", "event", "about"), name="delivery_once_in_a_lane")]

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.event} {self.state}"

    @property
    def to_whom(self) -> str:
        return str(self.receiver or self.destination or "MQTT")


class CameraQuiet(models.Model):
    """Nobody is told of this camera until then. It goes on watching, and other systems still get its data."""

    camera = models.OneToOneField(Camera, on_delete=models.CASCADE, primary_key=True, related_name="quiet")
    until = models.DateTimeField(_("until"))
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("by"))

    class Meta:
        verbose_name = _("quiet camera")
        verbose_name_plural = _("quiet cameras")

    def __str__(self) -> str:
        return f"{self.camera_id} {self.until:%Y-%m-%d %H:%M:%S}"


QUIET_FOR = timedelta(hours=1)


class PushSubscription(models.Model):
    """A browser, or an installed phone, that gets notifications while it is closed (RFC 8030)."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="push", verbose_name=_("user"))
    endpoint = models.URLField(_("endpoint"), max_length=1000, unique=True)
    p256dh = models.CharField(max_length=120)
    auth = models.CharField(max_length=60)
    browser = models.CharField(_("browser"), max_length=300, blank=True)
    with_picture = models.BooleanField(
        _("with the picture"), default=False, help_text=_("Notifications then show the face on a locked screen, too.")
    )
    created_at = models.DateTimeField(_("added"), default=timezone.now)

    class Meta:
        verbose_name = _("push subscription")
        verbose_name_plural = _("push subscriptions")
        ordering = ("created_at",)

    def __str__(self) -> str:
        return self.browser or str(self.pk)


def add_first_rules(site: Site) -> None:
    """What is told of a new site, so that nobody has to set up anything to hear that a camera died."""
    managers, reviewers = "manager", "reviewer"
    always = Rule.During.ALWAYS
    Rule.objects.bulk_create(
        [
            Rule(
                site=site, name=str(_("Trouble")), topics=[Topic.OUTAGE, Topic.NO_WORKER, Topic.PORTAL],
                during=always, roles=[managers],
            ),
            Rule(
                site=site, name=str(_("The day's figures")), topics=[Topic.DAILY], during=always, roles=[managers],
                by_push=False,
            ),
            Rule(
                site=site, name=str(_("People without a mask")), topics=[Topic.NO_MASK, Topic.INCORRECT],
                roles=[managers, reviewers], by_email=False,
            ),
        ]
    )  # fmt: skip


def with_site(sender: Any, instance: Site, created: bool, raw: bool, **kwargs: Any) -> None:
    """A signal's receiver: wherever a site is made, its first rules are made with it."""
    if created and not raw:
        add_first_rules(instance)


models.signals.post_save.connect(with_site, sender=Site, dispatch_uid="first-rules")
