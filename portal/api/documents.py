"""The one API object, and its page."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from ninja import NinjaAPI
from ninja.openapi.docs import Swagger

from portal.api import cameras, problems

ABOUT = """Any program that has pictures can be a camera: pair it once, then push JPEG frames and read what was found.

A token is valid for one camera. Frames go to the worker that watches it, which treats them like those of any other
camera, so passages, violations and alerts follow."""

api = NinjaAPI(
    title="Mask portal",
    version="1",
    description=ABOUT,
    docs=Swagger(settings={"defaultModelsExpandDepth": -1}),
    docs_url="/docs",
    openapi_url="/openapi.json",
    urls_namespace="api",
)
api.add_router("/v1", cameras.router)
problems.use(api)


def addresses() -> Any:
    """The API's addresses, for portal/urls.py. What a device calls needs no sign-in; the documentation page does."""
    patterns, app, namespace = api.urls
    for pattern in patterns:
        if str(pattern.pattern).startswith("v1/") and pattern.callback:
            pattern.callback = login_not_required(pattern.callback)
    return patterns, app, namespace
