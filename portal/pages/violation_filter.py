"""Which part of the list of violations is wanted. All of it is in the query string, so that it can be kept and sent."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from datetime import date, time, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import ExtractHour, ExtractMinute
from django.db.models.lookups import GreaterThanOrEqual, LessThan
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cameras.models import Camera, Site
from portal.events import keyset
from portal.models import Violation
from portal.models.events import WearLabel
from portal.people import access
from portal.people.access import AnyUser

ALL = gettext_lazy("All")
WRONG = {
    "invalid_choice": gettext_lazy("This is not in the list. Choose something that is."),
    "invalid_pk_value": gettext_lazy("This is not in the list. Choose something that is."),
    "invalid_list": gettext_lazy("This is not in the list. Choose something that is."),
}
NO_DAY = gettext_lazy("This is not a day. Choose one.")
NO_TIME = gettext_lazy("This is not a time. Enter one like 17:30.")
LABELS = [(label.value, label.label) for label in (WearLabel.NO_MASK, WearLabel.INCORRECT)]
ORDERS = [("", gettext_lazy("Newest first")), ("oldest", gettext_lazy("Oldest first"))]
MOST_NAMED = 2  # of several choices, in the head of the filter
LONGEST_SEARCH = 100
HOURS_OF = timedelta(days=31)  # hours without a day: no index knows them, so not of all time


def day_field(label: Any) -> forms.DateField:
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(label=label, required=False, widget=widget, error_messages={"invalid": NO_DAY})


def time_field(label: Any) -> forms.TimeField:
    widget = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
    return forms.TimeField(label=label, required=False, widget=widget, error_messages={"invalid": NO_TIME})


class SeveralField(forms.ModelMultipleChoiceField[Any]):
    """Several rows; none chosen means all."""

    def __init__(self, label: Any) -> None:
        super().__init__(
            queryset=Site.objects.none(), label=label, required=False, widget=forms.CheckboxSelectMultiple,
            error_messages=WRONG,
        )  # fmt: skip

    def label_from_instance(self, obj: Model) -> str:
        return f"{obj.site} · {obj}" if isinstance(obj, Camera) else str(obj)


class ViolationFilterForm(forms.Form):
    """The filter as it was chosen; `narrow` applies it.

    On the list itself, nothing chosen means what is to be reviewed.
    """

    status = forms.ChoiceField(
        label=gettext_lazy("Status"),
        required=False,
        choices=[("", ALL), *Violation.Status.choices],
        error_messages=WRONG,
    )
    site = SeveralField(gettext_lazy("Sites"))
    camera = SeveralField(gettext_lazy("Cameras"))
    label = forms.MultipleChoiceField(
        label=gettext_lazy("Kinds"),
        required=False,
        choices=LABELS,
        widget=forms.CheckboxSelectMultiple,
        error_messages=WRONG,
    )
    day = day_field(gettext_lazy("Day"))
    until = day_field(gettext_lazy("Until"))
    hour_from = time_field(gettext_lazy("From (time)"))
    hour_to = time_field(gettext_lazy("To (time)"))
    note = forms.CharField(
        label=gettext_lazy("In notes"),
        required=False,
        max_length=LONGEST_SEARCH,
        widget=forms.TextInput(attrs={"type": "search"}),
    )
    order = forms.ChoiceField(label=gettext_lazy("Order"), required=False, choices=ORDERS, error_messages=WRONG)

    several = ("site", "camera", "label")

    def __init__(self, user: AnyUser, data: QueryDict, is_list: bool = False) -> None:
        given = data.copy()
        if is_list and "status" not in given:
            given["status"] = Violation.Status.OPEN.value
        super().__init__(given)
        self._given = given
        self.sites = list(access.sites(user).order_by("name"))
        cameras = access.cameras(user).order_by("site__name", "name")
        cast("SeveralField", self.fields["site"]).queryset = access.sites(user).order_by("name")
        cast("SeveralField", self.fields["camera"]).queryset = cameras

    @property
    def chosen(self) -> str:
        """What was chosen, as a query string; "All" is a choice, too, where there is another default."""
        given = [(name, value) for name in self.fields for value in self._given.getlist(name)]
        return urlencode([(name, value) for name, value in given if value or name == "status"])

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is left out, or may be."""
        return any(value for name in self.fields if name != "order" for value in self._given.getlist(name))

    @property
    def is_oldest_first(self) -> bool:
        return self.data.get("order") == "oldest"

    @property
    def ordering(self) -> tuple[str, str]:
        """The list's order, for `order_by`."""
        return ("started_at", "pk") if self.is_oldest_first else ("-started_at", "-pk")

    @property
    def hides_new(self) -> bool:
        """Whether what happens now does not belong on the list's first page, or nobody can tell here."""
        return any(self.data.get(name) for name in ("day", "until", "hour_from", "hour_to", "note", "order"))

    def clean_day(self) -> date | None:
        return possible(self.cleaned_data["day"])

    def clean_until(self) -> date | None:
        until, day = possible(self.cleaned_data["until"]), self.cleaned_data.get("day")
        if until is not None and day is not None and until < day:
            raise ValidationError(_("This is before the first day. Choose a later one."))
        return until

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        after, before = cleaned.get("hour_from"), cleaned.get("hour_to")
        if (after is None) != (before is None):
            missing = "hour_to" if before is None else "hour_from"
            if missing not in self.errors:
                self.add_error(missing, _("Enter both times."))
        elif after is not None and after == before:
            self.add_error("hour_to", _("Both times are the same. Change one."))
        return cleaned

    def summary(self) -> str:
        """What was chosen, in words."""
        if not self.is_valid():
            return ""
        given, words = self.cleaned_data, []
        for name in self.fields:
            value = given.get(name)
            if name == "label" and value:
                value = [str(dict(LABELS)[each]) for each in value]
            elif name in {"status", "order"} and value:
                value = dict(self.fields[name].choices)[value]  # type: ignore[attr-defined]
            if name in self.several and value:
                words.append(named(value))
            elif value and name not in {"hour_from", "hour_to"}:
                words.append(str(value))
        if given.get("hour_from") is not None and given.get("hour_to") is not None:
            words.append(f"{given['hour_from']:%H:%M}–{given['hour_to']:%H:%M}")
        return ", ".join(words)

    def narrow(self, rows: QuerySet[Violation]) -> QuerySet[Violation]:
        """Those of these rows that are wanted; call it if the form is valid."""
        given = self.cleaned_data
        if given.get("status"):
            rows = rows.filter(status=given["status"])
        for name in self.several:
            if chosen := list(given.get(name) or []):
                rows = rows.filter(**{f"{name}__in": chosen})
        if given.get("day") or given.get("until"):
            rows = rows.filter(on_days(self.sites, given.get("day"), given.get("until") or given.get("day")))
        if given.get("hour_from") is not None and given.get("hour_to") is not None:
            if not given.get("day") and not given.get("until"):
                rows = rows.filter(started_at__gte=timezone.now() - HOURS_OF)
            rows = rows.filter(at_hours(self.sites, given["hour_from"], given["hour_to"]))
        if given.get("note"):
            rows = rows.filter(note__icontains=given["note"])
        return rows


def possible(day: date | None) -> date | None:
    """Raises ValidationError for a day whose neighbours a database or a time zone may not know."""
    if day is not None and not keyset.FIRST_YEAR < day.year < keyset.LAST_YEAR:
        raise ValidationError(NO_DAY)
    return day


def named(values: Iterable[object]) -> str:
    """The first few of them, and how many more there are."""
    names = [str(value) for value in values]
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    more = len(names) - MOST_NAMED
    shown = {"names": ", ".join(names[:MOST_NAMED]), "count": more}
    return ngettext("%(names)s and %(count)d more", "%(names)s and %(count)d more", more) % shown


def on_days(sites: list[Site], first: date | None, last: date | None) -> Q:
    """Violations that began on one of these days, in each site's own time zone; without a first, all until then."""
    found = Q(pk__in=[])
    for site in sites:
        own = Q(site=site)
        if first is not None:
            own &= Q(started_at__gte=site.midnight(first))
        if last is not None:
            own &= Q(started_at__lt=site.midnight(last + timedelta(days=1)))
        found |= own
    return found


def at_hours(sites: list[Site], after: time, before: time) -> Q:
    """Violations that began at these hours of the day, by each site's own clock; they may run past midnight."""
    found = Q(pk__in=[])
    begin, end = (moment.hour * 60 + moment.minute for moment in (after, before))
    for zone in sorted({site.time_zone for site in sites}):
        here = [site.pk for site in sites if site.time_zone == zone]
        clock = zoneinfo.ZoneInfo(zone)
        minute = ExtractHour("started_at", tzinfo=clock) * 60 + ExtractMinute("started_at", tzinfo=clock)
        is_after, is_before = Q(GreaterThanOrEqual(minute, begin)), Q(LessThan(minute, end))
        found |= Q(site__in=here) & ((is_after & is_before) if begin < end else (is_after | is_before))
    return found
