"""/try: the detector in the visitor's own browser. Nothing that the camera sees reaches the portal."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from detection import Manifest, read_manifest

RUNTIME = "ort/ort-wasm-simd-threaded.wasm"
YEAR_S = 365 * 24 * 3600


@cache
def shipped() -> Manifest:
    """The manifest of the default model."""
    return read_manifest()


def refuse(request: HttpRequest) -> HttpResponse | None:
    """Refuse if the operator switched it off, or allows it only to people who are signed in."""
    if settings.TRY == "nobody":
        raise Http404
    if settings.TRY == "people" and not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    return None


def is_fetched() -> bool:
    """Whether `make try` was run, and the portal restarted since."""
    try:
        return finders.find(RUNTIME) is not None and bool(staticfiles_storage.url(RUNTIME))
    except ValueError:  # it is not among the collected files
        return False


@login_not_required
@require_safe
@csp_update({"script-src": ["'wasm-unsafe-eval'"]})
def try_it(request: HttpRequest) -> HttpResponse:
    """The page for a camera or a dropped picture; the model runs in it."""
    if refused := refuse(request):
        return refused
    context = {"is_fetched": is_fetched(), "digest": shipped().sha256}
    return render(request, "try.html", context)


@login_not_required
@require_safe
def model(request: HttpRequest, digest: str) -> HttpResponse:
    """The default model's file; its address changes with it, so browsers may cache it permanently."""
    if refused := refuse(request):
        return refused
    if digest != shipped().sha256:
        raise Http404
    response = HttpResponse(shipped().path.read_bytes(), content_type="application/octet-stream")
    response["Cache-Control"] = f"private, max-age={YEAR_S}, immutable"
    return response


@login_not_required
@require_safe
def manifest(request: HttpRequest) -> HttpResponse:
    """What the page must know about the default model."""
    if refused := refuse(request):
        return refused
    return JsonResponse({name: value for name, value in asdict(shipped()).items() if name != "path"})
