"""Lists in pages by key, newest first: the next page begins behind the last row, however many came meanwhile.

cursor_of(row.started_at, row.pk)      "2026-11-28T09:15:00.250000Z_0198c2a0-…"
rows.filter(behind(*read_cursor(text)))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.utils.dateparse import parse_datetime

FIRST_YEAR, LAST_YEAR = 2000, 2200
STEPS = (timedelta(days=2), timedelta(days=30))
M = TypeVar("M", bound=Model)


def cursor_of(moment: datetime, key: object) -> str:
    return f"{moment.astimezone(UTC).isoformat().replace('+00:00', 'Z')}_{key}"


def read_cursor(text: str, key: Callable[[str], Any] = UUID) -> tuple[datetime, Any]:
    """The position of a cursor; raises ValueError if it is none."""
    moment_text, _sep, key_text = text.partition("_")
    moment = parse_datetime(moment_text)
    if moment is None or moment.tzinfo is None or not FIRST_YEAR < moment.year < LAST_YEAR:
        raise ValueError("no cursor")
    return moment, key(key_text)


def behind(moment: datetime, key: object, field: str = "started_at") -> Q:
    """Rows after this position, newest first.

    The bound stands outside of the alternative: else a database finds both kinds apart, and sorts all that there is.
    """
    return Q(**{f"{field}__lte": moment}) & (Q(**{f"{field}__lt": moment}) | Q(pk__lt=key))


def newest(rows: QuerySet[M], count: int, since: datetime) -> list[M]:
    """The newest `count` of these rows that began until `since`, newest first."""
    return _first(rows.order_by("-started_at", "-pk"), count, [Q(started_at__gte=since - step) for step in STEPS])


def oldest(rows: QuerySet[M], count: int, since: datetime) -> list[M]:
    """The oldest `count` of these rows that began from `since` on, oldest first."""
    return _first(rows.order_by("started_at", "pk"), count, [Q(started_at__lte=since + step) for step in STEPS])


def _first(rows: QuerySet[M], count: int, within: Sequence[Q]) -> list[M]:
    """In steps of time: a database that finds the rows of some sites, and then sorts them, has few to sort."""
    for bound in within:
        if len(found := list(rows.filter(bound)[:count])) == count:
            return found
    return list(rows[:count])
