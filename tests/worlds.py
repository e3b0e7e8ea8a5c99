"""Sites, cameras and people for tests; what was seen goes through the recorder, as in production."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from PIL import Image, ImageDraw

from cameras.models import Camera, CameraLease, Site
from cameras.watching import leases
from cameras.watching.spool import Record
from detection import make_key
from portal.events.recording import record
from portal.models import Membership, SitePolicy, User, Violation

PASSWORD = "a-Long-pass-4u"
BOX = [0.4, 0.3, 0.6, 0.7]


@dataclass
class World:
    """Two sites. Alice manages the first, Bob reviews there, Vera is a viewer there; Charlie manages the second."""

    here: Site
    there: Site
    door: Camera
    hall: Camera
    alice: User
    bob: User
    vera: User
    charlie: User
    root: User
    stranger: User


def make_world() -> World:
    here = Site.objects.create(name="Harbour House", time_zone="Europe/Lisbon")
    there = Site.objects.create(name="Maple Tower", time_zone="America/Toronto")
    door = Camera.objects.create(site=here, name="Front door", address="door.mp4")
    hall = Camera.objects.create(site=there, name="Hall", address="hall.mp4")
    for camera in (door, hall):
        CameraLease.objects.create(camera=camera)
        leases.take(camera.pk, 0, "north")

    def person(name: str, site: Site | None = None, role: str = "", **fields: bool) -> User:
        user = User.objects.create_user(f"{name.lower()}@example.org", PASSWORD, name=name, **fields)
        if site:
            Membership.objects.create(user=user, site=site, role=role)
        return user

    return World(
        here,
        there,
        door,
        hall,
        person("Alice", here, "manager"),
        person("Bob", here, "reviewer"),
        person("Vera", here, "viewer"),
        person("Charlie", there, "manager"),
        person("Root", is_superuser=True, is_staff=True),
        person("Stranger"),
    )


def set_policy(site: Site, **values: Any) -> None:
    """Set a site's policy, as its manager would."""
    site.policy, _is_new = SitePolicy.objects.update_or_create(site=site, defaults=values)


@cache
def jpeg(width: int = 640, height: int = 360) -> bytes:
    """A picture whose middle, where BOX is, has a fine pattern."""
    picture = Image.new("RGB", (width, height), (200, 210, 205))
    draw = ImageDraw.Draw(picture)
    for x in range(int(0.4 * width), int(0.6 * width), 4):
        draw.line([(x, 0.3 * height), (x, 0.7 * height)], fill=(x % 255, 40, 30), width=2)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=92)
    return out.getvalue()


def passage_record(camera: Camera, key: UUID, token: int = 1, seq: int = 1, **body: object) -> Record:
    now = time.time()
    given = {"kind": "passage", "camera": camera.pk, "token": token, "key": str(key), "seq": seq, "label": "no_mask",
             "confidence": 0.9, "started_at": now, "last_seen_at": now, "ended_at": None, "box": BOX}  # fmt: skip
    return Record(given | body)


def violation_record(
    camera: Camera, key: UUID, passage: UUID, token: int = 1, seq: int = 1, picture: bytes | None = None, **body: object
) -> Record:
    base = passage_record(camera, key, token, seq, **body).body
    data = jpeg() if picture is None else picture
    extra = {"kind": "violation", "passage": str(passage), "opened_at": base["started_at"]}
    return Record(base | extra | ({"snapshot_at": base["last_seen_at"]} if data else {}), data)


def glimpse_record(violation: Violation, place: int = 2, at: float | None = None, picture: bytes = b"") -> Record:
    """A picture of its filmstrip, as its worker tells it."""
    at = at or violation.started_at.timestamp()
    given = {"kind": "glimpse", "camera": violation.camera_id, "token": violation.token, "key": str(violation.pk),
             "passage": str(violation.passage_id), "place": place, "box": BOX, "snapshot_at": at,
             "last_seen_at": at}  # fmt: skip
    return Record(given, picture or jpeg())


def see(camera: Camera, at: float | None = None, label: str = "no_mask", **body: Any) -> Violation:
    """A violation, recorded as a worker's finding is. `at` may be before the lease: the reign is made to fit."""
    at = at or time.time()
    lease = CameraLease.objects.get(camera=camera)
    start = camera.reigns.get(token=lease.token)
    if start.taken_at.timestamp() > at:
        camera.reigns.filter(pk=start.pk).update(taken_at=start.taken_at.fromtimestamp(at - 60, start.taken_at.tzinfo))
    passage, key = make_key(at), make_key(at)
    times: dict[str, Any] = {"started_at": at, "last_seen_at": at}
    record(passage_record(camera, passage, lease.token, label=label, **times))
    record(violation_record(camera, key, passage, lease.token, label=label, **times | body))
    return Violation.objects.get(pk=key)
