"""How much room there is, said to who operates the portal, and to who adds a camera for which there is none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cameras.models import Camera, CameraLease
from cameras.watching import leases
from cameras.watching.leases import WorkerState, announce
from portal import __version__
from portal.models import AuditEntry, User
from portal.server import daily_backup
from tests.html import squeezed
from tests.worlds import World

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def more_cameras(world: World, count: int) -> None:
    for number in range(count):
        camera = Camera.objects.create(site=world.here, name=f"Camera {number}", address="x.mp4")
        CameraLease.objects.create(camera=camera)


def test_the_page_says_who_watches_what_and_what_nobody_watches(world: World, sign_in: SignIn, redis: Any) -> None:
    watched = (world.door.pk, world.hall.pk)
    announce(WorkerState("north", "1", 2, watching=watched, load=0.31, version=__version__))
    announce(WorkerState("south", "1", 8, site_ids=(world.there.pk,), version="0.1.0"))
    more_cameras(world, 3)
    page = squeezed(sign_in(world.root).get("/workers/"))
    assert "3 cameras are not watched. 2 of 10 places are taken." in page
    assert "2 of 2 places" in page and "31% used" in page and "0 of 8 places" in page and "Maple Tower" in page
    assert page.count("restart it") == 1 and "Camera 2" in page


def test_it_costs_the_same_however_many_cameras_there_are(world: World, sign_in: SignIn, redis: Any) -> None:
    client = sign_in(world.root)
    client.get("/workers/")

    def cost() -> int:
        with CaptureQueriesContext(connections["default"]) as queries:
            assert client.get("/workers/").status_code == 200
        return len(queries)

    few = cost()
    more_cameras(world, 30)
    assert cost() == few


def test_without_redis_it_says_that_nothing_is_known(
    world: World, sign_in: SignIn, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(world.root)

    def dead() -> list[WorkerState]:
        raise ConnectionError

    monkeypatch.setattr(leases, "living_workers", dead)
    assert "it is not known which workers are running" in squeezed(client.get("/workers/"))


def test_the_age_of_the_last_backup_stands_there(
    world: World, sign_in: SignIn, redis: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    client = sign_in(world.root)
    assert "set BACKUP_DIR" in squeezed(client.get("/workers/"))
    settings.BACKUP_DIR = "/mnt"
    monkeypatch.setattr(daily_backup, "age", lambda: timedelta(hours=5))
    assert "5.0 h ago" in squeezed(client.get("/workers/"))


def test_a_camera_for_which_there_is_no_room_is_said_so_when_it_is_added(
    world: World, sign_in: SignIn, redis: Any
) -> None:
    client = sign_in(world.alice)
    form = {"site": world.here.pk, "make": "rtsp", "address": "rtsp://192.168.1.20/live", "transport": "tcp",
            "view": "320", "analyses_per_second": "5"}  # fmt: skip
    announce(WorkerState("north", "1", 3, watching=(world.door.pk, world.hall.pk)))
    assert "comes within seconds" in squeezed(client.post("/cameras/add/", form | {"name": "Third"}, follow=True))
    third = Camera.objects.get(name="Third").pk
    announce(WorkerState("north", "1", 3, watching=(world.door.pk, world.hall.pk, third)))
    page = squeezed(client.post("/cameras/add/", form | {"name": "Fourth"}, follow=True))
    assert "Fourth is saved, but not watched. 3 of 3 places are taken." in page
    assert "not being watched: this portal has no more room" in page, "and the dashboard says so from then on"


def test_a_worker_is_emptied_and_used_again_from_its_page(world: World, sign_in: SignIn, redis: Any) -> None:
    announce(WorkerState("north", "1", 8, watching=(world.door.pk,), version=__version__))
    client = sign_in(world.root)
    page = squeezed(client.post("/workers/drain/", {"worker": "north", "wanted": "yes"}, follow=True))
    assert "gives its cameras away" in page and "what nobody else has room for, it keeps" in page
    assert "Use it again" in page
    (north,) = leases.living_workers()
    assert north.is_drained and north.room == 0 and north.capacity == 8
    page = squeezed(client.post("/workers/drain/", {"worker": "north", "wanted": ""}, follow=True))
    assert "is given cameras again" in page and not leases.living_workers()[0].is_drained
    actions = AuditEntry.objects.filter(action__startswith="worker").order_by("pk").values_list("action", "subject")
    assert list(actions) == [("worker-drained", "north"), ("worker-used-again", "north")]
    assert client.post("/workers/drain/", {"worker": "who", "wanted": "yes"}).status_code == 404
