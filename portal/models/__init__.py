from portal.models.events import Passage, SiteFeed, Violation
from portal.models.people import Membership, User

__all__ = ["Membership", "Passage", "SiteFeed", "User", "Violation"]
