"""The violations that fit a filter, for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from cameras.models import Site
from portal.models import Violation
from portal.pages.violation_filter import ViolationFilterForm
from portal.people import access, audit, spreadsheet
from portal.people.access import Right
from portal.people.audit import Action

MOST_EXPORTED = 100_000


@require_safe
def export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """All that fit, in the list's order, each with its own site's clock. Without pictures; each site's log notes it."""
    if not access.sites(request.user, Right.LOOK).exists():
        raise Http404
    form = ViolationFilterForm(request.user, request.GET, is_list=True)
    if not form.is_valid():
        return redirect(f"{reverse('violations')}?{form.chosen}")
    rows = form.narrow(access.violations(request.user))
    counted = dict(rows.order_by().values_list("site").annotate(count=Count("pk")))
    for site in Site.objects.filter(pk__in=counted):
        audit.note(request, Action.EXPORTED, f"{_('violations')}: {counted[site.pk]}", site)
    wanted = rows.select_related("site", "camera", "reviewed_by").order_by(*form.ordering)[:MOST_EXPORTED]
    columns = [
        _("began"), _("ended"), _("site"), _("camera"), _("kind"), _("masked"), _("status"), _("reason"), _("note"),
        _("reviewed by"), _("reviewed"), _("number"),
    ]  # fmt: skip
    answer = StreamingHttpResponse(
        spreadsheet.lines(columns, _rows(wanted.iterator(1000))), content_type="text/csv; charset=utf-8"
    )
    answer["Content-Disposition"] = f'attachment; filename="violations-{timezone.now():%Y-%m-%d}.csv"'
    answer["Cache-Control"] = "no-store"
    return answer


def _rows(found: Iterator[Violation]) -> Iterator[list[object]]:
    for row in found:
        times = (row.started_at, row.ended_at, row.masked_at, row.reviewed_at)
        began, ended, masked, reviewed = (
            f"{row.site.local(moment):%Y-%m-%d %H:%M:%S}" if moment else "" for moment in times
        )
        yield [
            began, ended, row.site.name, row.camera.name, row.get_label_display(), masked, row.get_status_display(),
            row.get_reason_display(), row.note, str(row.reviewed_by or ""), reviewed, str(row.pk),
        ]  # fmt: skip
