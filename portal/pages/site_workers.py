"""The workers at a site, behind its firewall: for its managers."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from cameras.models import SiteWorker
from cameras.redis import Errors
from cameras.watching import leases
from portal.people import access, audit, site_workers
from portal.people.audit import Action


class SiteWorkerForm(forms.ModelForm[SiteWorker]):
    """A new worker: its name."""

    class Meta:
        model = SiteWorker
        fields = ("name",)


@never_cache
def workers_of_site(request: HttpRequest, site_id: int) -> HttpResponse:
    """The list, and a form for one more, whose key is shown once. Four queries for any number of workers."""
    site = access.get_site(request, site_id)
    form = SiteWorkerForm(request.POST if request.method == "POST" else None)
    context: dict[str, Any] = {"site": site, "form": form, "base": settings.BASE_URL}
    own = SiteWorker.objects.filter(site=site, revoked_at=None)
    if form.is_bound:
        if own.count() >= site_workers.MOST:
            form.add_error(
                None, _("A site has at most %(most)d workers. Revoke one first.") % {"most": site_workers.MOST}
            )
        if form.is_valid():
            made, key = site_workers.make(site, form.cleaned_data["name"])
            audit.note(request, Action.SITE_WORKER_ADDED, made.name, site)
            context |= {"made": made, "key": key, "form": SiteWorkerForm()}
    try:
        living = {state.name: state for state in leases.living_workers()}
    except Errors:
        living = {}
    context["workers"] = [(each, living.get(each.worker_name)) for each in own]
    status = 422 if form.is_bound and form.errors else 200
    return render(request, "sites/workers.html", context, status=status)


@require_POST
def revoke_worker(request: HttpRequest, worker_id: int) -> HttpResponse:
    found = access.get_of_site(request, SiteWorker, worker_id)
    site_workers.revoke(found)
    audit.note(request, Action.SITE_WORKER_REVOKED, found.name, found.site)
    messages.success(request, _("The key of “%(name)s” is not valid any more.") % {"name": found.name})
    return redirect("site_workers", found.site_id)
