"""What a site told people elsewhere: what went where, when, what failed and why; for its managers."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.alerts import outbox
from portal.models import Delivery
from portal.people import access, audit
from portal.people.audit import Action

MOST_SHOWN = 100


@require_safe
def deliveries(request: HttpRequest, site_id: int) -> HttpResponse:
    site = access.get_site(request, site_id)
    rows = Delivery.objects.filter(site=site).select_related("camera", "receiver", "destination", "rule")[:MOST_SHOWN]
    context = {"site": site, "rows": rows}
    return render(request, "alerts/deliveries.html", context)


@require_POST
def send_again(request: HttpRequest, delivery_id: int) -> HttpResponse:
    found = access.get_of_site(request, Delivery, delivery_id)
    outbox.send_again(found)
    audit.note(request, Action.SENT_AGAIN, found.to_whom, found.site)
    messages.success(request, _("It is sent again within seconds."))
    return redirect("deliveries", found.site_id)
