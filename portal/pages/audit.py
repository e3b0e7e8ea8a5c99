"""The audit log: managers see what happened at their sites, superusers see all of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from portal.models import AuditEntry
from portal.people import access, audit
from portal.people.access import AnyUser, Right
from portal.people.audit import Action

PAGE_ROWS = 50
MOST_EXPORTED = 100_000


class LogFilterForm(forms.Form):
    """Whose entries, and of which action."""

    who = forms.CharField(label=gettext_lazy("Who"), required=False, max_length=100)
    what = forms.ChoiceField(
        label=gettext_lazy("What"), required=False, choices=[("", gettext_lazy("All")), *Action.choices]
    )

    def narrow(self, rows: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        if who := self.cleaned_data.get("who", "").strip():
            rows = rows.filter(Q(actor__icontains=who) | Q(subject__icontains=who))
        if what := self.cleaned_data.get("what"):
            rows = rows.filter(action=what)
        return rows


def entries(user: AnyUser) -> QuerySet[AuditEntry]:
    """What this person may read: entries of their sites. Those without a site are for superusers alone."""
    if user.is_superuser:
        return AuditEntry.objects.all()
    here = access.sites(user, Right.SET_UP)
    return AuditEntry.objects.filter(site_id__in=here.values("pk"))


@require_safe
def audit_log(request: HttpRequest) -> HttpResponse:
    access.sites_to_set_up(request.user)
    form = LogFilterForm(request.GET)
    rows = entries(request.user)
    rows = form.narrow(rows) if form.is_valid() else rows
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 18:
        rows = rows.filter(pk__lt=int(before))
    page = list(rows.order_by("-pk")[: PAGE_ROWS + 1])
    more = request.GET.copy()
    if len(page) > PAGE_ROWS:
        more["before"] = str(page[PAGE_ROWS - 1].pk)
    context: dict[str, Any] = {
        "form": form,
        "rows": page[:PAGE_ROWS],
        "next_page": more.urlencode() if len(page) > PAGE_ROWS else "",
        "query": request.GET.urlencode(),
        "first_page": not before,
    }
    return render(request, "audit/audit.html", context, status=422 if form.errors else 200)


@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    """The log as CSV, newest first."""
    access.sites_to_set_up(request.user)
    form = LogFilterForm(request.GET)
    rows = entries(request.user)
    rows = form.narrow(rows) if form.is_valid() else rows
    audit.note(request, Action.EXPORTED, "audit log")
    lines = audit.export(rows.order_by("-pk")[:MOST_EXPORTED].iterator(1000))
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit-{datetime.now():%Y-%m-%d}.csv"'
    answer["Cache-Control"] = "no-store"
    return answer
