from portal.models.audit import AuditEntry
from portal.models.devices import DeviceToken, Pairing
from portal.models.events import Passage, SiteFeed, Violation
from portal.models.people import Invitation, Membership, SignedIn, Theme, User

__all__ = [
    "AuditEntry",
    "DeviceToken",
    "Invitation",
    "Membership",
    "Pairing",
    "Passage",
    "SignedIn",
    "SiteFeed",
    "Theme",
    "User",
    "Violation",
]
