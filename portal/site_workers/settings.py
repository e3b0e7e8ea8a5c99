"""What a worker at a site needs to know of it: the cameras that it holds, how its doors speak. Nothing of other sites.

With the cameras' passwords, as it signs in to them: by TLS, to whoever has the key of this one site.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from cameras.models import Camera, CameraLease, SiteWorker
from cameras.reach.credentials import SealError, unseal
from portal.models import SitePhrase, Voice, policy_of

SITE = ("name", "time_zone")
POLICY = ("language", "opening_hours", "alert_when_closed", "reminder_hours", "thanks")
PHRASE = ("language", "phrase", "text")
CAMERA = (
    "kind", "address", "user", "transport", "view", "model", "analyses_per_second", "reminder_after_s", "version",
)  # fmt: skip
ZONE = ("kind", "points", "aspect", "demand", "hours")
SPOT = ("box", "visits", "first_at", "last_at", "answer")
VOICE = (
    "output", "is_muted", "preset", "host", "channel", "method", "url", "content_type", "body", "user", "sound_device",
)  # fmt: skip


def settings_for(worker: SiteWorker) -> dict[str, Any]:
    """All of it, as JSON has it. Five queries, however many cameras it holds."""
    site = worker.site
    held = CameraLease.objects.filter(Camera.wanted("camera__"), worker=worker.worker_name, camera__site=site)
    leases = held.select_related("camera__voice").prefetch_related("camera__zones", "camera__spots").order_by("pk")
    found = {
        "site": {"id": site.pk} | _fields(site, SITE),
        "policy": _fields(policy_of(site), POLICY),
        "phrases": list(SitePhrase.objects.filter(site=site).order_by("pk").values(*PHRASE)),
        "cameras": [_camera(lease.camera, lease.token) for lease in leases],
    }
    as_json: dict[str, Any] = json.loads(json.dumps(found, cls=DjangoJSONEncoder))
    return as_json


def digest(found: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _camera(camera: Camera, token: int) -> dict[str, Any]:
    voice: Voice | None = getattr(camera, "voice", None)
    return {
        "id": camera.pk,
        "token": token,
        **_fields(camera, CAMERA),
        "password": _password(camera.sealed_password),
        "zones": [_fields(zone, ZONE) for zone in camera.zones.all()],
        "spots": [{"id": str(spot.pk)} | _fields(spot, SPOT) for spot in camera.spots.all()],
        "voice": voice and _fields(voice, VOICE) | {"password": _password(voice.sealed_password)},
    }


def _fields(row: Model, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _password(sealed: str) -> str:
    try:
        return unseal(sealed)
    except SealError:  # the camera then says that it needs one
        return ""
