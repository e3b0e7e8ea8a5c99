from portal.models.audit import AuditEntry
from portal.models.events import Passage, SiteFeed, Violation
from portal.models.people import Invitation, Membership, SignedIn, Theme, User

__all__ = [
    "AuditEntry",
    "Invitation",
    "Membership",
    "Passage",
    "SignedIn",
    "SiteFeed",
    "Theme",
    "User",
    "Violation",
]
