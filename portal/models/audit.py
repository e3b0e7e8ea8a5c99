"""Who did what, and who looked at what. Rows are only ever added: the database refuses to change or delete one."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class AuditEntry(models.Model):
    """One entry of the audit log. It holds names, not links: it outlives the people and sites that it is about."""

    class Action(models.TextChoices):
        SIGNED_IN = "signed-in", _("signed in")
        SIGN_IN_FAILED = "sign-in-failed", _("failed to sign in")
        SIGNED_OUT = "signed-out", _("signed out")
        SIGNED_OUT_EVERYWHERE = "signed-out-everywhere", _("signed out everywhere else")
        PASSWORD_CHANGED = "password-changed", _("set a new password")  # noqa: S105
        TWO_FACTOR_ON = "two-factor-on", _("turned two-factor on")
        TWO_FACTOR_OFF = "two-factor-off", _("turned two-factor off")
        RECOVERY_CODES = "recovery-codes", _("created new recovery codes")
        PROFILE_CHANGED = "profile-changed", _("changed their profile")
        VIEWED = "viewed", _("opened")
        SAW_PICTURE = "saw-picture", _("looked at")
        PERSON_ERASED = "person-erased", _("erased for good")
        LIVE_STARTED = "live-started", _("started watching live")
        LIVE_STOPPED = "live-stopped", _("stopped watching live")
        REVIEWED = "reviewed", _("reviewed")
        EXPORTED = "exported", _("exported")
        CAMERA_ADDED = "camera-added", _("added a camera")
        CAMERA_CHANGED = "camera-changed", _("changed a camera")
        CAMERA_PAUSED = "camera-paused", _("paused a camera")
        CAMERA_RESUMED = "camera-resumed", _("resumed a camera")
        CAMERA_DELETED = "camera-deleted", _("deleted a camera")
        CAMERA_RESTORED = "camera-restored", _("brought a camera back")
        CAMERA_TESTED = "camera-tested", _("tested a camera's address")
        ZONE_ADDED = "zone-added", _("drew a zone on the picture of")
        ZONE_CHANGED = "zone-changed", _("changed a zone of")
        SPOT_ANSWERED = "spot-answered", _("said that people can be at a spot of")
        ZONE_DELETED = "zone-deleted", _("deleted a zone of")
        VOICE_CHANGED = "voice-changed", _("changed the voice of")
        VOICE_PLAYED = "voice-played", _("played a reminder at")
        WORKER_DRAINED = "worker-drained", _("emptied the worker")
        WORKER_USED_AGAIN = "worker-used-again", _("gave cameras to the worker again:")
        SITE_WORKER_ADDED = "site-worker-added", _("made a key for a worker at the site")
        SITE_WORKER_REVOKED = "site-worker-revoked", _("revoked the key of a worker at the site")
        PROGRAM_ADDED = "program-added", _("gave a program access")
        PROGRAM_REVOKED = "program-revoked", _("revoked the token of")
        READ_BY_API = "read-by-api", _("read through the API")
        PAIRING_MADE = "pairing-made", _("created a pairing link")
        DEVICE_PAIRED = "device-paired", _("paired a device as")
        DEVICE_UNPAIRED = "device-unpaired", _("revoked the pairing of")
        SITE_ADDED = "site-added", _("created a site")
        SITE_CHANGED = "site-changed", _("changed a site")
        SITE_ARCHIVED = "site-archived", _("archived a site")
        SITE_RESTORED = "site-restored", _("brought a site back")
        SITE_DELETED = "site-deleted", _("deleted a site")
        INVITED = "invited", _("invited")
        INVITATION_WITHDRAWN = "invitation-withdrawn", _("withdrew the invitation of")
        JOINED = "joined", _("joined")
        ROLE_CHANGED = "role-changed", _("changed the role of")
        REMOVED = "removed", _("removed the access of")
        BROUGHT_BACK = "brought-back", _("gave access back to")
        TRANSFERRED = "transferred", _("handed the site over to")
        PASSWORD_LINK = "password-link", _("created a password link for")  # noqa: S105
        SENT_AGAIN = "sent-again", _("sent again to")
        SENT_PICTURE = "sent-picture", _("was sent the picture of")
        RULE_CHANGED = "rule-changed", _("changed who is notified at")
        CAMERA_QUIET = "camera-quiet", _("muted alerts about")
        CAMERA_LOUD = "camera-loud", _("turned alerts back on for")
        ADMINISTERED = "administered", _("changed in the administration")

    at = models.DateTimeField(_("when"), default=timezone.now)
    actor_id = models.PositiveBigIntegerField(_("number of the person"), null=True)
    actor = models.CharField(_("who"), max_length=300, blank=True)
    action = models.CharField(_("what"), max_length=32, choices=Action.choices)
    subject = models.CharField(_("of what"), max_length=400, blank=True)
    site_id = models.PositiveBigIntegerField(_("number of the site"), null=True)
    site = models.CharField(_("site"), max_length=120, blank=True)
    address = models.CharField(_("from which address"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("entry of the audit log")
        verbose_name_plural = _("audit log")
        ordering = ("-pk",)
        indexes = [
            models.Index(fields=("site_id", "-id"), name="audit_of_site"),
            models.Index(fields=("actor_id", "-id"), name="audit_of_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action} {self.subject}"
