"""What a watch needs to know about its camera, read once when it starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from cameras.models import Camera, CameraSpot
from cameras.reach.credentials import SealError, unseal
from cameras.reach.place import Place
from cameras.zoning import HeldZone, Zoning
from detection.spots import Spot
from detection.zones import Zone

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
    zoning: Zoning = field(default_factory=Zoning)
    spots: tuple[Spot, ...] = ()


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
        zoning=zoning_of(camera),
        spots=spots_of(camera),
    )


def zoning_of(camera: Camera) -> Zoning:
    """The zones that were drawn on the camera's picture, and when each holds. One query, and one for its site."""
    rows = list(camera.zones.order_by("pk")) if camera.pk else []
    if not rows:
        return Zoning()
    held = tuple(HeldZone(Zone.of(row.kind, row.points, row.aspect, row.demand), row.hours) for row in rows)
    return Zoning(held, camera.site.zone)


def spots_of(camera: Camera) -> tuple[Spot, ...]:
    """What it has been asked about spots, and answered. One query."""
    rows = camera.spots.all() if camera.pk else []
    return tuple(
        Spot(
            row.pk, tuple(row.box), row.visits, row.first_at.timestamp(), row.last_at.timestamp(),
            is_doubted=row.answer == CameraSpot.Answer.ASKED, has_people=row.answer == CameraSpot.Answer.PEOPLE,
        )
        for row in rows
    )  # fmt: skip
