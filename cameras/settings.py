"""What a watch needs to know about its camera, read once when it starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cameras.models import Camera
from cameras.reach.credentials import SealError, unseal
from cameras.reach.place import Place
from detection.zones import NOWHERE, Zones

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraSettings:
    """One camera as it is watched.

    Args:
        version: of the row; a new one restarts the watch.
        input_size: longer side of the model's input in px; 0 means as its manifest says.
    """

    camera_id: int
    name: str
    place: Place
    site_id: int = 0
    version: int = 1
    analyses_per_second: float = 5.0
    input_size: int = 0
    model: str = "default"
    zones: Zones = NOWHERE


def read_settings(camera_id: int, token: int, worker: str) -> CameraSettings | None:
    """The camera's settings, if its lease names this worker and this token, and it should be watched."""
    camera = Camera.objects.filter(Camera.wanted(), pk=camera_id, lease__token=token, lease__worker=worker).first()
    return None if camera is None else settings_of(camera)


def settings_of(camera: Camera) -> CameraSettings:
    """A camera's settings. A password that no key here opens is left empty: the camera then says that it needs one."""
    try:
        password = unseal(camera.sealed_password)
    except SealError as error:
        log.error("camera %s: %s", camera.pk, error)
        password = ""
    return CameraSettings(
        camera_id=camera.pk,
        name=camera.name,
        site_id=camera.site_id,
        place=Place(camera.kind, camera.address, camera.user, password, camera.transport),
        version=camera.version,
        analyses_per_second=camera.analyses_per_second,
        input_size=camera.view,
        model=camera.model,
        zones=zones_of(camera),
    )


def zones_of(camera: Camera) -> Zones:
    """The zones that were drawn on the camera's picture. One query."""
    rows = camera.zones.order_by("pk").values_list("kind", "points", "aspect") if camera.pk else []
    return Zones.of(rows)
