"""The stream workers, for who operates the portal: who watches what, how much room there is, and how old things are."""

from __future__ import annotations

import shutil
from collections import defaultdict
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from cameras.models import Camera, CameraLease, Site, SiteWorker
from cameras.redis import Errors
from cameras.watching import leases
from portal import __version__
from portal.pages.sites import require_superuser
from portal.people import audit
from portal.people.audit import Action
from portal.server import daily_backup

ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@require_safe
def workers(request: HttpRequest) -> HttpResponse:
    """All of them. Three queries, however many cameras there are."""
    require_superuser(request)
    try:
        living, is_known = leases.living_workers(), True
    except Errors:
        living, is_known = [], False
    held: dict[str, list[dict[str, Any]]] = defaultdict(list)
    rows = CameraLease.objects.filter(Camera.wanted("camera__")).order_by("camera__site__name", "camera__name")
    columns = ("worker", "camera_id", "camera__name", "camera__site__name", "state_detail")
    for worker, pk, name, site, why in rows.values_list(*columns):
        held[worker].append({"pk": pk, "name": name, "site": site, "why": why})
    unwatched = held.pop("", [])
    own = {each.worker_name: each.name for each in SiteWorker.objects.filter(revoked_at=None)}
    names = dict(Site.objects.values_list("pk", "name"))
    context = {
        "is_known": is_known,
        "workers": [shown(each, held.get(each.name, []), names) | {"own_name": own.get(each.name)} for each in living],
        "unwatched": unwatched,
        "places": places(living),
        "portal": {
            "version": __version__,
            "database": ENGINES.get(connection.vendor, connection.vendor),
            "free_gb": round(shutil.disk_usage(settings.DATA_DIR).free / 1e9, 1),
            "backup": daily_backup.described(),
        },
    }
    return render(request, "workers/workers.html", context)


@require_POST
def drain_worker(request: HttpRequest) -> HttpResponse:
    """Empty a worker, or use it again; `worker` is its name, and `wanted` is "yes" to empty it."""
    require_superuser(request)
    name, wanted = request.POST.get("worker", ""), request.POST.get("wanted") == "yes"
    try:
        if name not in leases.registered_workers():
            raise Http404
        leases.drain(name, wanted)
    except Errors:
        messages.error(request, _("Redis does not answer, so nothing was changed. Try again in a moment."))
        return redirect("workers")
    audit.note(request, Action.WORKER_DRAINED if wanted else Action.WORKER_USED_AGAIN, name)
    if wanted:
        text = _("%(name)s gives its cameras away, one after the other, as far as other workers have room for them.")
    else:
        text = _("%(name)s is given cameras again.")
    messages.success(request, text % {"name": name})
    return redirect("workers")


def shown(worker: leases.WorkerState, held: list[dict[str, Any]], names: dict[int, str]) -> dict[str, Any]:
    """One worker, as the page has it."""
    return {
        "name": worker.name,
        "version": worker.version,
        "is_old": worker.version != __version__,
        "sites": ", ".join(sorted(names.get(pk, str(pk)) for pk in worker.site_ids)) or _("all"),
        "cameras": held,
        "capacity": worker.capacity,
        "is_full": len(held) >= worker.capacity,
        "is_drained": worker.is_drained,
        "load": round(100 * worker.load),
        "trouble": worker.trouble,
    }


def places(living: list[leases.WorkerState]) -> dict[str, int]:
    """How many cameras the living workers have room for, and how many they watch."""
    return {
        "taken": sum(len(worker.watching) for worker in living),
        "all": sum(worker.room for worker in living),
    }
