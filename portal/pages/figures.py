"""How well masks are worn: of all sites of a person, of one, or of one camera, over days of the sites' own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from cameras.models import Camera, Site
from portal.figures.reports import USUAL_DAYS, range_fault, report
from portal.models import Figures, policy_of
from portal.pages import charts
from portal.pages.hours import days_of_week
from portal.people import access, audit, spreadsheet
from portal.people.access import AnyUser
from portal.people.audit import Action

FIRST_YEAR, LAST_YEAR = 2000, 2200
PRESETS = (7, 28, 90, 365)
NOT_A_DAY = {"invalid": gettext_lazy("This is not a day. Choose one.")}
COLUMNS = {
    "mask": gettext_lazy("with a mask"), "no_mask": gettext_lazy("without"),
    "incorrect": gettext_lazy("worn wrongly"), "unsure": gettext_lazy("unsure"),
    "dismissed": gettext_lazy("dismissed"), "reminded": gettext_lazy("reminded"),
    "reminded_masked": gettext_lazy("masked after a reminder"), "unasked": gettext_lazy("not reminded"),
    "unasked_masked": gettext_lazy("masked without a reminder"), "watched_s": gettext_lazy("seconds watched"),
    "lost_s": gettext_lazy("seconds lost"),
}  # fmt: skip


def day_field(label: Any) -> forms.DateField:
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(label=label, required=False, widget=widget, error_messages=NOT_A_DAY)


class RangeForm(forms.Form):
    """Of which sites or camera, and from which day to which."""

    def __init__(self, user: AnyUser, data: QueryDict) -> None:
        self.sites = list(access.sites(user).select_related("policy").order_by("name"))
        self.cameras = list(access.cameras(user).order_by("site__name", "name"))
        now = timezone.now()
        # The latest day that it is at any of the sites.
        self.today = max((site.local(now).date() for site in self.sites), default=now.date())
        given = data.copy()  # the form says what is shown
        if not given.get("from") and not given.get("to"):
            given["from"] = f"{self.today - timedelta(days=USUAL_DAYS - 1)}"
        if not given.get("to"):
            given["to"] = f"{self.today}"
        super().__init__(given)
        sites = [(str(site.pk), site.name) for site in self.sites]
        cameras = [(str(camera.pk), f"{camera.site} · {camera}") for camera in self.cameras]
        self.fields["site"] = forms.ChoiceField(label=_("Site"), required=False, choices=[("", _("All")), *sites])
        self.fields["camera"] = forms.ChoiceField(label=_("Camera"), required=False, choices=[("", _("All")), *cameras])
        self.fields["from"] = day_field(_("From"))
        self.fields["to"] = day_field(_("To"))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        last = cleaned.get("to") or self.today
        first = cleaned.get("from") or max(last, date(FIRST_YEAR, 2, 1)) - timedelta(days=USUAL_DAYS - 1)
        if first.year < FIRST_YEAR or last.year > LAST_YEAR:
            self.add_error("from", _("Choose days from %(first)d on.") % {"first": FIRST_YEAR})
        elif fault := range_fault(first, last):
            self.add_error(*fault)
        return cleaned | {"first": first, "last": last}

    @property
    def camera(self) -> Camera | None:
        key = self.cleaned_data.get("camera")
        return next((camera for camera in self.cameras if str(camera.pk) == key), None)

    @property
    def chosen_sites(self) -> list[Site]:
        if (camera := self.camera) is not None:
            return [site for site in self.sites if site.pk == camera.site_id]
        key = self.cleaned_data.get("site")
        return [site for site in self.sites if not key or str(site.pk) == key]

    def presets(self) -> list[tuple[int, str]]:
        kept = {name: self.data[name] for name in ("site", "camera") if self.data.get(name)}
        return [
            (days, urlencode(kept | {"from": self.today - timedelta(days=days - 1), "to": self.today}))
            for days in PRESETS
        ]


def read_range(request: HttpRequest) -> RangeForm:
    """The form; Http404 for a site or camera that this person may not know of."""
    form = RangeForm(request.user, request.GET)
    form.is_valid()
    if "site" in form.errors or "camera" in form.errors:
        raise Http404
    return form


@require_safe
def figures(request: HttpRequest) -> HttpResponse:
    form = read_range(request)
    if form.errors:
        return render(request, "figures/figures.html", {"form": form}, status=422)
    sites, camera = form.chosen_sites, form.camera
    found = report(sites, form.cleaned_data["first"], form.cleaned_data["last"], camera)
    goals = {policy_of(site).mask_goal for site in sites}
    goal = goals.pop() if len(goals) == 1 else None
    order = days_of_week()
    context = {
        "form": form, "report": found, "camera": camera, "goal": goal, "charts": charts.all_of(found, goal),
        "site": sites[0] if len(sites) == 1 else None, "said": charts.said(found.total),
        "weekdays": [WEEKDAYS[day] for day in order], "query": request.GET.urlencode(),
        "hours": [(hour, [found.week[day][hour] for day in order]) for hour in range(24)] if found.week else [],
        "busiest": named(found.busiest), "worst": named(found.worst),
    }  # fmt: skip
    return render(request, "figures/figures.html", context)


def named(hours: Sequence[tuple[int, int, Any]]) -> list[dict[str, Any]]:
    return [
        {"day": WEEKDAYS[day], "from": f"{hour}:00", "to": f"{(hour + 1) % 24}:00", "counted": counted}
        for day, hour, counted in hours
    ]


@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    """The hours of each camera, as a spreadsheet takes them."""
    form = read_range(request)
    if form.errors:
        raise Http404
    given = form.cleaned_data
    rows = Figures.objects.filter(
        span=Figures.Span.HOUR, site__in=form.chosen_sites, camera__isnull=False, day__gte=given["first"],
        day__lte=given["last"],
    ).order_by("start", "site_id", "camera_id")  # fmt: skip
    if form.camera:
        rows = rows.filter(camera=form.camera)
    columns = ["day", "site", "camera", "hour", *(str(label) for label in COLUMNS.values())]

    def lines() -> Iterator[Sequence[object]]:
        named = rows.values_list("day", "site__name", "camera__name", "hour", *COLUMNS)
        for day, *rest in named.iterator(2000):
            yield (day.isoformat(), *rest)

    for site in form.chosen_sites:
        audit.note(request, Action.EXPORTED, _("figures"), site)
    answer = StreamingHttpResponse(spreadsheet.lines(columns, lines()), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="figures-{given["first"]}-{given["last"]}.csv"'
    return answer
