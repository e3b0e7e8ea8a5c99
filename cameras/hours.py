"""Weekly hours, by the local clock of a site: when it is open, when its doors speak, when a zone holds."""

from __future__ import annotations

from datetime import datetime, time

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

Hours = dict[str, list[str]]  # {"0": ["08:00", "18:00"], …}: Monday is 0, a day left out is closed


def check_hours(value: object) -> None:
    """Raise ValidationError unless `value` is Hours."""
    try:
        for day, (opens, closes) in dict(value).items():  # type: ignore[call-overload]
            if day not in set("0123456") or time.fromisoformat(opens) == time.fromisoformat(closes):
                raise ValueError
    except (ValueError, TypeError) as error:
        raise ValidationError(_("Opening hours need a start and an end time for each day.")) from error


def lies_in(hours: Hours, local: datetime) -> bool:
    """Whether a moment in the site's local time is within its hours, which may run past midnight; no hours: always."""
    if not hours:
        return True
    minute = local.strftime("%H:%M")
    opens, closes = hours.get(str(local.weekday()), ("", ""))
    if opens and (opens <= minute < closes or (closes <= opens and minute >= opens)):
        return True
    opens, closes = hours.get(str((local.weekday() - 1) % 7), ("", ""))
    return bool(opens) and closes <= opens and minute < closes
