"""The one API object, and its page."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from ninja import NinjaAPI
from ninja.openapi.docs import Swagger

from portal.api import cameras, problems, reading, site_workers

ABOUT = """**Reading**: a program reads a site's figures, people, violations and outages, and waits for events. Its
token is made on the site's page “Programs”, says what the program may do, and can be revoked there. In a browser,
anyone who is signed in may read what the pages show them. Lists come newest first, in pages: `next` is the address of
the next one.

**Being a camera**: any program that has pictures can be one: pair it once, then push JPEG frames and read what was
found. That token is valid for one camera. Frames go to the worker that watches it, which treats them like those of any
other camera, so passages, violations and alerts follow.

Send a token as `Authorization: Bearer …`. Errors are problem+json (RFC 9457): `detail` says what to do."""

api = NinjaAPI(
    title="Mask portal",
    version="1",
    description=ABOUT,
    docs=Swagger(settings={"defaultModelsExpandDepth": -1}),
    docs_url="/docs",
    openapi_url="/openapi.json",
    urls_namespace="api",
)
api.add_router("/v1", reading.router)
api.add_router("/v1", cameras.router)
api.add_router("/v1/site-worker", site_workers.router)
problems.use(api)


def addresses() -> Any:
    """The API's addresses, for portal/urls.py. What a device calls needs no sign-in; the documentation page does."""
    patterns, app, namespace = api.urls
    for pattern in patterns:
        if str(pattern.pattern).startswith("v1/") and pattern.callback:
            pattern.callback = login_not_required(pattern.callback)
    return patterns, app, namespace
