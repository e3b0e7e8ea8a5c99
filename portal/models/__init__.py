from portal.models.alerts import CameraQuiet, Delivery, Destination, PushSubscription, Rule, Topic
from portal.models.audit import AuditEntry
from portal.models.devices import DeviceToken, Pairing, Purpose
from portal.models.events import ErasedPassage, Passage, SiteFeed, Violation, ViolationGlimpse
from portal.models.figures import Figures, FiguresState, LateHour, Pause
from portal.models.heartbeat import Heartbeat
from portal.models.people import Invitation, Membership, SignedIn, Theme, User
from portal.models.policy import SitePolicy, policy_of
from portal.models.programs import Program
from portal.models.reminders import Phrase, Reminder, Silence, SitePhrase, Voice
from portal.models.reviews import BulkReview

__all__ = [
    "AuditEntry",
    "BulkReview",
    "CameraQuiet",
    "Delivery",
    "Destination",
    "DeviceToken",
    "ErasedPassage",
    "Figures",
    "FiguresState",
    "Heartbeat",
    "Invitation",
    "LateHour",
    "Membership",
    "Pairing",
    "Passage",
    "Pause",
    "Phrase",
    "Program",
    "Purpose",
    "PushSubscription",
    "Reminder",
    "Rule",
    "SignedIn",
    "Silence",
    "SiteFeed",
    "SitePhrase",
    "SitePolicy",
    "Theme",
    "Topic",
    "User",
    "Violation",
    "ViolationGlimpse",
    "Voice",
    "policy_of",
]
