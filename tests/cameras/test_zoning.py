"""The hours of a zone, on its site's clock: what is asked of people, and where, as the day goes on."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from cameras.zoning import HeldZone, Zoning
from detection.zones import NOT_REQUIRED, RECOMMENDED, REQUIRED, Zone

LISBON, ALL = ZoneInfo("Europe/Lisbon"), ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
DAYTIME = {"0": ["08:00", "18:00"]}  # Mondays
OVERNIGHT = {"0": ["22:00", "06:00"]}


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=LISBON).timestamp()


@pytest.mark.parametrize(
    ("hours", "moment", "demand", "ignores"),
    [
        ({}, "2026-11-29T03:00", RECOMMENDED, True),
        (DAYTIME, "2026-11-30T07:59:59", NOT_REQUIRED, False),
        (DAYTIME, "2026-11-30T08:00", RECOMMENDED, True),
        (DAYTIME, "2026-11-30T17:59:59", RECOMMENDED, True),
        (DAYTIME, "2026-11-30T18:00", NOT_REQUIRED, False),
        (DAYTIME, "2026-12-01T12:00", NOT_REQUIRED, False),
        (OVERNIGHT, "2026-12-01T05:59", RECOMMENDED, True),
        (OVERNIGHT, "2026-12-01T06:00", NOT_REQUIRED, False),
        (DAYTIME, "2026-06-01T08:00", RECOMMENDED, True),
    ],
)
def test_a_zone_holds_in_its_hours_and_what_is_private_always(
    hours: dict[str, list[str]], moment: str, demand: str, ignores: bool
) -> None:
    kinds = (Zone("watch", ALL, 0.0, RECOMMENDED), Zone("ignore", ALL), Zone("privacy", ALL))
    zones = Zoning(tuple(HeldZone(zone, hours) for zone in kinds), LISBON).at(at(moment))
    found = {zone.kind: zone.demand for zone in zones.zones}
    assert found.pop("privacy") == REQUIRED
    assert found.pop("watch") == demand
    assert bool(found) is ignores


def test_the_same_camera_goes_through_its_day() -> None:
    zoning = Zoning((HeldZone(Zone("watch", ALL), DAYTIME),), LISBON)
    moments = ["2026-11-30T07:59:59", "2026-11-30T08:00", "2026-11-30T08:00:30", "2026-11-30T18:00:01"]
    asked = [zoning.at(at(moment)).zones[0].demand for moment in moments]
    assert asked == [NOT_REQUIRED, REQUIRED, REQUIRED, NOT_REQUIRED]
