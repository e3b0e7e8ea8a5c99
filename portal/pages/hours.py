"""Weekly hours in a form, two fields per day: when a site is open, and when its doors may speak."""

from __future__ import annotations

from datetime import time
from typing import Any

from django import forms
from django.utils.dates import WEEKDAYS
from django.utils.formats import get_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cameras.hours import Hours
from portal.models import SitePolicy


def days_of_week() -> list[int]:
    """The days, Monday being 0, from the one with which the reader's language begins a week."""
    first = int(get_format("FIRST_DAY_OF_WEEK"))  # Sunday is 0 there
    return [(first - 1 + day) % 7 for day in range(7)]


def clock_field() -> forms.TimeField:
    return forms.TimeField(
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        error_messages={"invalid": gettext_lazy("Enter a time like 08:30.")},
    )


class HoursFields(forms.ModelForm[Any]):
    """A form with weekly hours: call `add_hours` when it is made, `read_hours` when it is cleaned."""

    def add_hours(self, hours: Hours) -> None:
        for day in range(7):
            opens, closes = hours.get(str(day), (None, None))
            self.fields[f"opens_{day}"] = clock_field()
            self.fields[f"closes_{day}"] = clock_field()
            self.initial[f"opens_{day}"], self.initial[f"closes_{day}"] = opens, closes

    @property
    def days(self) -> list[tuple[str, forms.BoundField, forms.BoundField]]:
        return [(str(WEEKDAYS[day]), self[f"opens_{day}"], self[f"closes_{day}"]) for day in days_of_week()]

    @property
    def has_hours(self) -> bool:
        """Whether any is set, or typed."""
        return any(field.value() for _day, *fields in self.days for field in fields)

    def read_hours(self, cleaned: dict[str, Any]) -> Hours:
        """The hours as a policy stores them; invalid ones are added to the form's errors."""
        hours: Hours = {}
        for day in range(7):
            opens: time | None = cleaned.get(f"opens_{day}")
            closes: time | None = cleaned.get(f"closes_{day}")
            if (opens is None) != (closes is None):
                wrong = _("%(day)s: enter both times, or neither if it is closed that day.")
                self.add_error(f"opens_{day}", wrong % {"day": WEEKDAYS[day]})
            elif opens is not None and opens == closes:
                wrong = _("%(day)s: both times are the same. Change one, or clear both if it is closed that day.")
                self.add_error(f"opens_{day}", wrong % {"day": WEEKDAYS[day]})
            elif opens is not None and closes is not None:
                hours[str(day)] = [opens.strftime("%H:%M"), closes.strftime("%H:%M")]
        return hours


class HoursForm(HoursFields):
    """A form for a site's policy."""

    instance: SitePolicy
