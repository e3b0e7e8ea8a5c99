"""The worker's own rows of what the portal told it: its site, and the cameras that it holds, under the same numbers."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Field, Model
from django.utils import timezone

from cameras.models import Camera, CameraSpot, CameraZone, Site
from cameras.reach.credentials import seal
from portal.events import outgoing
from portal.models import SitePhrase, SitePolicy, Voice
from portal.site_workers.settings import CAMERA, PHRASE, POLICY, SITE, SPOT, VOICE, ZONE
from portal.voice import outputs

KEPT_DAYS = 1  # what was seen is kept at the portal; here, pages show nothing


def apply(told: dict[str, Any]) -> None:
    """Make our rows what the portal told us; watches whose cameras changed start again by themselves."""
    cameras = {int(each["id"]): each for each in told["cameras"]}
    tokens = {camera_id: int(each["token"]) for camera_id, each in cameras.items()}
    outgoing.write_tokens(outgoing.root(), outgoing.read_tokens(outgoing.root()) | tokens)
    with transaction.atomic():
        site = _apply_site(told)
        gone = Camera.objects.filter(deleted_at=None).exclude(pk__in=cameras)
        gone.update(deleted_at=timezone.now(), sealed_password="")
        for camera_id, each in cameras.items():
            _apply_camera(site, camera_id, each)


def forget() -> int:
    """Our key is not valid any more: nothing is watched, and no password is kept. Returns how many cameras it was."""
    with transaction.atomic():
        Voice.objects.update(output=Voice.Output.NOWHERE, sealed_password="")
        return Camera.objects.filter(deleted_at=None).update(deleted_at=timezone.now(), sealed_password="")


def _apply_site(told: dict[str, Any]) -> Site:
    Site.objects.exclude(pk=told["site"]["id"]).update(archived_at=timezone.now())  # of an earlier key
    values = _known(Site, told["site"], SITE) | {"archived_at": None}
    site, _is_new = Site.objects.update_or_create(pk=told["site"]["id"], defaults=values)
    policy = _known(SitePolicy, told["policy"], POLICY) | {"retention_days": KEPT_DAYS}
    SitePolicy.objects.update_or_create(site=site, defaults=policy)
    SitePhrase.objects.filter(site=site).delete()
    phrases = [SitePhrase(site=site, **_known(SitePhrase, each, PHRASE)) for each in told["phrases"]]
    SitePhrase.objects.bulk_create(phrases)
    return site


def _apply_camera(site: Site, camera_id: int, told: dict[str, Any]) -> None:
    """Its name stays at the portal: here two could swap theirs, and one at a time that cannot be done."""
    values = _known(Camera, told, CAMERA) | {"sealed_password": seal(told["password"])}
    values |= {"site": site, "name": f"Camera {camera_id}", "paused": False, "deleted_at": None}
    camera, _is_new = Camera.objects.update_or_create(pk=camera_id, defaults=values)
    camera.zones.all().delete()
    CameraZone.objects.bulk_create(
        [CameraZone(camera=camera, **_known(CameraZone, each, ZONE)) for each in told["zones"]]
    )
    camera.spots.filter(answer=CameraSpot.Answer.PEOPLE).delete()
    for each in told["spots"]:
        spot = _known(CameraSpot, each, SPOT) | {"camera": camera}
        CameraSpot.objects.update_or_create(pk=UUID(each["id"]), defaults=spot)
    _apply_voice(camera, told["voice"])


def _apply_voice(camera: Camera, told: dict[str, Any] | None) -> None:
    """Pages at the door are open at the portal, which speaks there itself."""
    values = _known(Voice, told, VOICE) | {"sealed_password": seal(told["password"])} if told else {}
    if values.get("output") not in outputs.AT_WORKER:
        values["output"] = Voice.Output.NOWHERE
    Voice.objects.update_or_create(camera=camera, defaults=values)


def _known(model: type[Model], told: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Of what was told, what we know of: a portal of another version may say more, or less."""
    fields = {name: cast("Field[Any, Any]", model._meta.get_field(name)) for name in names if name in told}
    return {name: field.to_python(told[name]) for name, field in fields.items()}
