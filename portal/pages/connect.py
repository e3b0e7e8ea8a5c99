"""How to make a phone trust this portal on a home network: what to install, and how. Only with HTTPS=1."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.server import certificates


@login_not_required
@require_safe
def connect(request: HttpRequest) -> HttpResponse:
    path = settings.CERTIFICATES / "authority.crt"
    if not settings.OWN_CERTIFICATE or not path.exists():
        raise Http404
    return render(request, "connect/connect.html", {"fingerprint": certificates.fingerprint(path)})


@login_not_required
@require_safe
def authority(request: HttpRequest) -> HttpResponse:
    """The authority's certificate. It is public: anyone who connects is sent a certificate that it signed."""
    path = settings.CERTIFICATES / "authority.crt"
    if not settings.OWN_CERTIFICATE or not path.exists():
        raise Http404
    answer = HttpResponse(path.read_bytes(), content_type="application/x-x509-ca-cert")
    answer["Content-Disposition"] = 'attachment; filename="mask-portal.crt"'
    return answer
