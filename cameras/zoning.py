"""A camera's zones, and the hours in which each of them holds.

    zoning.at(frame.captured_at)    # the zones of this moment

Outside of its hours a watched zone stays watched, but masks are not required there; an ignored one is not ignored.
What is private is private at all hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from cameras.hours import Hours, lies_in
from detection.zones import NOT_REQUIRED, NOWHERE, Zone, Zones

MINUTE_S = 60


@dataclass(frozen=True)
class HeldZone:
    """One zone, and its weekly hours; without any it always holds."""

    zone: Zone
    hours: Hours

    def at(self, local: datetime) -> Zone | None:
        """What is left of it at a moment of the site's clock."""
        if self.zone.kind == "privacy" or lies_in(self.hours, local):
            return self.zone
        return replace(self.zone, demand=NOT_REQUIRED) if self.zone.kind == "watch" else None


@dataclass
class Zoning:
    """All zones of a camera, on its site's clock."""

    held: tuple[HeldZone, ...] = ()
    clock: tzinfo = ZoneInfo("UTC")
    _minute: int = field(default=-1, init=False, repr=False, compare=False)
    _now: Zones = field(default=NOWHERE, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.drawn = Zones(tuple(each.zone for each in self.held))  # whatever the hour

    def at(self, moment: float) -> Zones:
        """The zones of this moment, in seconds since 1970; made anew once a minute, if any of them has hours."""
        if not any(each.hours for each in self.held):
            return self.drawn
        minute = int(moment // MINUTE_S)
        if minute != self._minute:
            local = datetime.fromtimestamp(minute * MINUTE_S, self.clock)
            self._now = Zones(tuple(zone for each in self.held if (zone := each.at(local)) is not None))
            self._minute = minute
        return self._now
