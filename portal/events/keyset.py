"""Lists in pages by key, newest first: the next page begins behind the last row, however many came meanwhile.

cursor_of(row.started_at, row.pk)      "2026-11-28T09:15:00.250000Z_0198c2a0-…"
rows.filter(behind(*read_cursor(text)))
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils.dateparse import parse_datetime

FIRST_YEAR, LAST_YEAR = 2000, 2200


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
    """Rows after this position, newest first."""
    return Q(**{f"{field}__lt": moment}) | Q(**{field: moment, "pk__lt": key})
