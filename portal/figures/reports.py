"""Answers from the rows of hours and days: rates with denominators and bounds, and how much was watched at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.utils.translation import gettext as _

from cameras.models import Camera, Site
from portal.models import Figures

Z = 1.96  # bounds that hold in 95 of 100 cases
FEW = 20  # fewer people than this say little
MOST_DAYS = 120  # in a chart
USUAL_DAYS = 28
LONGEST_DAYS = 3 * 366  # of a report
Span = Figures.Span
COUNTS = Figures.COUNTS
PEOPLE = ("mask", "no_mask", "incorrect")
SHOWN = (*PEOPLE, "unsure", "dismissed", "watched_s", "lost_s")


def wilson(part: int, of: int) -> tuple[float, float] | None:
    """Bounds of a proportion, from 0 to 1 (Wilson 1927); None if there was nobody.

    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not of:
        return None
    share = part / of
    middle = (share + Z * Z / (2 * of)) / (1 + Z * Z / of)
    reach = Z * math.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of)) / (1 + Z * Z / of)
    return 0.0 if not part else max(0.0, middle - reach), 1.0 if part == of else min(1.0, middle + reach)


@dataclass(frozen=True)
class Counted:
    """Sums over some time and place."""

    mask: int = 0
    no_mask: int = 0
    incorrect: int = 0
    unsure: int = 0
    dismissed: int = 0
    reminded: int = 0
    reminded_masked: int = 0
    unasked: int = 0
    unasked_masked: int = 0
    watched_s: int = 0
    lost_s: int = 0

    @classmethod
    def of(cls, sums: dict[str, Any]) -> Counted:
        return cls(**{name: int(sums.get(f"sum_{name}") or 0) for name in COUNTS})

    @property
    def seen(self) -> int:
        """People of whom it is known how they wore a mask: the denominator."""
        return self.mask + self.no_mask + self.incorrect

    @property
    def bare(self) -> int:
        """Without a mask, or with one worn wrongly."""
        return self.no_mask + self.incorrect

    @property
    def percent(self) -> float | None:
        return round(100 * self.mask / self.seen, 1) if self.seen else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Of the percentage."""
        found = wilson(self.mask, self.seen)
        return None if found is None else (round(100 * found[0], 1), round(100 * found[1], 1))

    @property
    def says_little(self) -> bool:
        return self.seen < FEW

    @property
    def watched_hours(self) -> float:
        return round(self.watched_s / 3600, 1)

    @property
    def lost_hours(self) -> float:
        return round(self.lost_s / 3600, 1)

    @property
    def coverage(self) -> float | None:
        """How much of the time in which cameras should have watched they did, in percent."""
        total = self.watched_s + self.lost_s
        return round(100 * self.watched_s / total, 1) if total else None

    @property
    def reminded_percent(self) -> float | None:
        return round(100 * self.reminded_masked / self.reminded, 1) if self.reminded else None

    @property
    def unasked_percent(self) -> float | None:
        return round(100 * self.unasked_masked / self.unasked, 1) if self.unasked else None


@dataclass(frozen=True)
class TableLine:
    """One line of a table: what, and its sums."""

    name: str
    counted: Counted
    key: Any = None


@dataclass
class Compliance:
    """Everything that the page of figures shows of some sites, or one camera, from one day to another."""

    first: date
    last: date
    total: Counted
    before: Counted  # as many days before
    days: list[TableLine] = field(default_factory=list)
    week: list[list[Counted]] = field(default_factory=list)  # 7 x 24, from Monday
    sites: list[TableLine] = field(default_factory=list)
    cameras: list[TableLine] = field(default_factory=list)

    @property
    def change(self) -> float | None:
        """Of the percentage, against as many days before."""
        if self.total.percent is None or self.before.percent is None:
            return None
        return round(self.total.percent - self.before.percent, 1)

    @property
    def weeks(self) -> list[TableLine]:
        """The same days by their weeks, each named by its Monday."""
        found: dict[date, list[Counted]] = {}
        for line in self.days:
            found.setdefault(line.key - timedelta(days=line.key.weekday()), []).append(line.counted)
        return [TableLine(str(monday), add(several), monday) for monday, several in found.items()]

    @property
    def by_hour(self) -> bool:
        """Whether this is a single day, of which hours say more."""
        return len(self.days) == 1 and bool(self.week)

    @property
    def hours_of_day(self) -> list[TableLine]:
        """The hours of a single day; the key is the hour."""
        hours = self.week[self.first.weekday()]
        return [TableLine(f"{hour}:00", counted, hour) for hour, counted in enumerate(hours)]

    @property
    def by_week(self) -> bool:
        """Whether there are too many days to be told apart."""
        return len(self.days) > MOST_DAYS

    @property
    def periods(self) -> list[TableLine]:
        """What charts show along time: days, weeks if there are too many, or the hours of a single day."""
        if self.by_hour:
            return self.hours_of_day
        return self.weeks if self.by_week else self.days

    @property
    def busiest(self) -> list[tuple[int, int, Counted]]:
        """The three hours of the week with the most people: weekday, hour, sums."""
        return self._hours(lambda counted: counted.seen)

    @property
    def worst(self) -> list[tuple[int, int, Counted]]:
        """The three hours of the week in which the most people had no mask."""
        return self._hours(lambda counted: counted.bare)

    def _hours(self, by: Any) -> list[tuple[int, int, Counted]]:
        hours = [(day, hour, self.week[day][hour]) for day in range(7) for hour in range(24)] if self.week else []
        return [each for each in sorted(hours, key=lambda each: -by(each[2]))[:3] if by(each[2])]


def range_fault(first: date, last: date) -> tuple[str, str] | None:
    """What is wrong with these days, if anything: which end ("from" or "to"), and a sentence for people."""
    if first > last:
        return "to", _("This range ends before it begins.")
    if (last - first).days >= LONGEST_DAYS:
        return "from", _("Choose at most %(most)d days.") % {"most": LONGEST_DAYS}
    return None


def report(sites: Sequence[Site], first: date, last: date, camera: Camera | None = None) -> Compliance:
    """Six queries, whatever the time; none of them reads passages."""
    rows = Figures.objects.filter(site__in=sites)
    rows = rows.filter(camera=camera) if camera else rows.filter(camera=None)
    here, days = rows.filter(day__gte=first, day__lte=last), last - first + timedelta(days=1)
    by_day = {each["day"]: Counted.of(each) for each in summed(here.filter(span=Span.DAY), "day")}
    earlier = rows.filter(span=Span.DAY, day__gte=first - days, day__lt=first)
    found = Compliance(first, last, add(by_day.values()), Counted.of(earlier.aggregate(**sums())))
    found.days = [
        TableLine(str(day), by_day.get(day, Counted()), day) for day in (first + timedelta(n) for n in range(days.days))
    ]
    found.week = [[Counted()] * 24 for _ in range(7)]
    hourly = (*PEOPLE, "unsure") if first == last else PEOPLE  # an index holds these
    for each in summed(here.filter(span=Span.HOUR), "weekday", "hour", names=hourly):
        found.week[each["weekday"]][each["hour"]] = Counted.of(each)
    if camera is None:
        site_names = {site.pk: site.name for site in sites}
        per_site = {each["site_id"]: Counted.of(each) for each in summed(here.filter(span=Span.DAY), "site_id")}
        found.sites = [TableLine(name, per_site.get(pk, Counted()), pk) for pk, name in site_names.items()]
        per_camera = Figures.objects.filter(site__in=sites, span=Span.DAY, day__gte=first, day__lte=last)
        seen = summed(per_camera.filter(camera__isnull=False), "camera_id", names=SHOWN)
        where = Camera.objects.filter(site__in=sites).values_list("pk", "name", "site__name")
        names = {pk: f"{name}, {site}" for pk, name, site in where}
        lines = [TableLine(names.get(each["camera_id"], ""), Counted.of(each), each["camera_id"]) for each in seen]
        found.cameras = sorted(lines, key=lambda line: -line.counted.bare)
    return found


def summed(rows: QuerySet[Figures], *by: str, names: Sequence[str] = COUNTS) -> Iterable[dict[str, Any]]:
    """What is not among `names` is left out, and counts as nothing."""
    found: Iterable[dict[str, Any]] = rows.order_by(*by).values(*by).annotate(**sums(names))
    return found


def sums(names: Sequence[str] = COUNTS) -> dict[str, Sum]:
    return {f"sum_{name}": Sum(name) for name in names}


def add(several: Iterable[Counted]) -> Counted:
    several = list(several)
    return Counted(**{name: sum(getattr(each, name) for each in several) for name in COUNTS})
