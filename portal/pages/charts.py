"""Charts as SVG that the server makes: geometry in numbers, looks by classes. They print, and work with scripts off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import formats
from django.utils.dates import WEEKDAYS_ABBR
from django.utils.translation import gettext as _

from portal.figures.reports import Counted, TableLine
from portal.pages.hours import days_of_week

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 24, 12, 28
LEVELS = 5  # of a heat map's colours, beside none
CELL = 26


@dataclass(frozen=True)
class Mark:
    """One value of a chart: where it is, and what is said of it."""

    x: float
    y: float
    width: float
    height: float
    text: str
    level: int = 0


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """`lines` and `bands` are points as SVG writes them; `marks` are what a pointer or a key finds."""

    width: int
    height: int
    marks: list[Mark]
    labels: list[Label]
    lines: list[str]
    bands: list[str]
    goal_y: float | None = None


def said(counted: Counted) -> str:
    """A count in a line: never a rate without its denominator."""
    if counted.percent is None:
        return _("nobody seen")
    low, high = counted.bounds or (0.0, 0.0)
    return _("%(percent)s%% of %(seen)d (%(low)d to %(high)d%%)") % {
        "percent": formats.localize(counted.percent), "seen": counted.seen, "low": round(low), "high": round(high),
    }  # fmt: skip


def period_name(line: TableLine, form: str = "SHORT_DATE_FORMAT") -> str:
    """Of a day, of a week by its Monday, or of an hour of a single day."""
    return line.name if isinstance(line.key, int) else formats.date_format(line.key, form)


def share_by_period(days: Sequence[TableLine], goal: int | None) -> Chart:
    """A line with its bounds; a time in which nobody was seen is a gap."""
    step = (WIDTH - LEFT - RIGHT) / max(1, len(days))
    tall = HEIGHT - TOP - BOTTOM

    def y(percent: float) -> float:
        return round(TOP + tall * (1 - percent / 100), 1)

    marks: list[Mark] = []
    runs: list[list[tuple[float, Counted]]] = [[]]
    for number, line in enumerate(days):
        x, counted = round(LEFT + step * (number + 0.5), 1), line.counted
        marks.append(Mark(round(x - step / 2, 1), TOP, round(step, 2), tall, f"{period_name(line)}: {said(counted)}"))
        if counted.percent is None:
            runs.append([])
        else:
            runs[-1].append((x, counted))
    runs = [run for run in runs if run]
    runs = [run if len(run) > 1 else [(run[0][0] - 3, run[0][1]), (run[0][0] + 3, run[0][1])] for run in runs]
    lines = [" ".join(f"{x},{y(c.percent or 0)}" for x, c in run) for run in runs]
    bands = []
    for run in runs:
        upper = [f"{x},{y((c.bounds or (0, 0))[1])}" for x, c in run]
        lower = [f"{x},{y((c.bounds or (0, 0))[0])}" for x, c in reversed(run)]
        bands.append(" ".join(upper + lower))
    labels = [Label(LEFT - 6, y(percent) + 4, f"{percent}%") for percent in (0, 50, 100)]
    return Chart(
        WIDTH, HEIGHT, marks, labels + period_labels(days, step), lines, bands, None if goal is None else y(goal)
    )


def people_by_period(days: Sequence[TableLine]) -> Chart:
    """Bars: with a mask below, without above."""
    step, tall = (WIDTH - LEFT - RIGHT) / max(1, len(days)), HEIGHT - TOP - BOTTOM
    most = max((line.counted.seen for line in days), default=0) or 1
    marks = []
    for number, line in enumerate(days):
        x, counted, left = LEFT + step * number, line.counted, 0.0
        text = _("%(day)s: %(mask)d with, %(bare)d without, %(wrong)d worn wrongly, %(unsure)d unsure") % {
            "day": period_name(line), "mask": counted.mask, "bare": counted.no_mask, "wrong": counted.incorrect,
            "unsure": counted.unsure,
        }  # fmt: skip
        for level, value in enumerate((counted.mask, counted.no_mask, counted.incorrect)):
            height = tall * value / most
            left += height
            width = max(0.5, step * 0.8)
            marks.append(Mark(round(x + step * 0.1, 1), round(TOP + tall - left, 1), round(width, 2), round(height, 2),
                              text, level))  # fmt: skip
    labels = [Label(LEFT - 6, TOP + tall + 4, "0"), Label(LEFT - 6, TOP + 8, str(most))]
    return Chart(WIDTH, HEIGHT, marks, labels + period_labels(days, step), [], [])


def period_labels(days: Sequence[TableLine], step: float) -> list[Label]:
    """The first, the middle and the last one."""
    places = sorted({0, len(days) // 2, len(days) - 1}) if days else []
    middles = {at: round(LEFT + step * (at + 0.5), 1) for at in places}
    named = [(x, days[at]) for at, x in middles.items()]
    return [
        Label(
            x, HEIGHT - 6, line.name if isinstance(line.key, int) else formats.date_format(line.key, "MONTH_DAY_FORMAT")
        )
        for x, line in named
    ]


def hour_of_week(week: Sequence[Sequence[Counted]]) -> Chart:
    """A cell for each hour of the week, darker the more people were without a mask."""
    most = max((each.bare for row in week for each in row), default=0)
    marks = []
    days = days_of_week()
    for place, day in enumerate(days if week else ()):
        for hour, counted in enumerate(week[day]):
            bare = counted.bare
            level = 0 if not bare else 1 + min(LEVELS - 1, int((LEVELS - 1) * bare / most + 0.5))
            text = _("%(day)s, %(hour)d:00: %(bare)d without, %(said)s") % {
                "day": WEEKDAYS_ABBR[day], "hour": hour, "bare": bare, "said": said(counted),
            }  # fmt: skip
            marks.append(Mark(LEFT + hour * CELL, 18 + place * CELL, CELL - 2, CELL - 2, text, level))
    labels = [Label(LEFT - 6, 18 + place * CELL + 17, str(WEEKDAYS_ABBR[day])) for place, day in enumerate(days)]
    labels += [Label(LEFT + hour * CELL + CELL / 2, 12, str(hour)) for hour in range(0, 24, 3)]
    return Chart(LEFT + 24 * CELL + RIGHT, 18 + 7 * CELL + 4, marks, labels, [], [])


def all_of(found: Any, goal: int | None) -> dict[str, Chart]:
    share, people = share_by_period(found.periods, goal), people_by_period(found.periods)
    return {"share": share, "people": people, "heat": hour_of_week(found.week)}
