"""A camera's page says how it has been: its day, its numbers, and where it should hang."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from cameras.models import Camera, Outage, Reign
from cameras.redis import connection, health_key
from cameras.setup.placement import ENOUGH_FACES, advise
from cameras.watching.health import HealthCounts, read_health
from detection import FaceQuality
from portal.models import Pause, User
from portal.pages.camera_health import day_strip
from tests.html import squeezed
from tests.worlds import World

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
GOOD = FaceQuality(40.0, 0.3, 120.0)


def seen(camera_id: int, *faces: FaceQuality) -> None:
    counts = HealthCounts()
    counts.add_faces(camera_id, faces)
    counts.push()


def test_the_last_24_hours_are_added_up_and_what_is_older_is_not(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 500_000 * 3600.0
    for hours_ago, received in ((30, 1000), (23, 10), (1, 20), (0, 40)):
        monkeypatch.setattr(time, "time", lambda ago=hours_ago: now - ago * 3600)
        counts = HealthCounts()
        counts.add(7, {"received": received, "analysed": received // 2, "detect": received // 2 * 3000.0})
        counts.add(8, {"received": 5})
        counts.push()
    monkeypatch.setattr(time, "time", lambda: now)
    found = read_health(7)
    assert found.frames["received"] == 70 and found.frames["analysed"] == 35 and found.stage_ms["detect"] == 3.0
    assert found.cpu_share is None
    assert 24 * 3600 < connection().ttl(health_key(500_000)) <= 26 * 3600


@pytest.mark.parametrize(
    ("face", "says"),
    [
        (GOOD, ""),
        (FaceQuality(10.0, 0.3, 120.0), "Zoom in"),
        (FaceQuality(40.0, 0.02, 120.0), "Clean and focus"),
        (FaceQuality(40.0, 0.3, 30.0), "Light them from the front"),
    ],
)
def test_the_adviser_says_what_to_change(redis: Any, face: FaceQuality, says: str) -> None:
    seen(7, *[face] * 60, *[GOOD] * 40)
    advice = advise(read_health(7), people=30, unsure=1)
    assert advice is not None and [one.remedy for one in advice if says in one.remedy] == [one.remedy for one in advice]
    assert len(advice) == bool(says)


def test_the_adviser_is_silent_until_it_has_seen_enough_and_minds_those_whom_it_could_not_judge(redis: Any) -> None:
    seen(7, *[GOOD] * (ENOUGH_FACES - 1))
    assert advise(read_health(7), people=30, unsure=30) is None
    seen(7, GOOD)
    assert advise(read_health(7), people=30, unsure=6) == []
    (only,) = advise(read_health(7), people=30, unsure=7) or []
    assert "7 of 30" in only.seen and "Lower it" in only.remedy


def test_the_page_shows_numbers_and_advice(world: World, sign_in: SignIn, redis: Any) -> None:
    counts = HealthCounts()
    counts.add(world.door.pk, {
        "received": 12_345, "analysed": 4_000, "skipped": 200, "late": 2, "refused": 1, "reconnects": 3,
        "decode": 4e6, "detect": 2e7, "follow": 4e6, "cpu": 90e6, "wall": 1000e6,
    })  # fmt: skip
    counts.push()
    seen(world.door.pk, *[FaceQuality(10.0, 0.3, 120.0)] * 60)
    page = squeezed(sign_in(world.alice).get(f"/cameras/{world.door.pk}/"))
    for text in (
        "12,345",
        "4,000",
        "9.0% of one core",
        "1.0 + 5.0 + 1.0 ms",
        "100% of the faces are small",
        "Zoom in",
    ):
        assert text in page, text


def test_without_redis_the_page_shows_what_the_database_knows(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    def away(_camera_id: int) -> None:
        raise OSError

    monkeypatch.setattr("portal.pages.camera_health.read_health", away)
    page = squeezed(sign_in(world.alice).get(f"/cameras/{world.door.pk}/"))
    assert "The numbers come back" in page and "day-strip" in page


def test_the_days_strip_says_when_nobody_watched(world: World) -> None:
    camera: Camera = world.door
    Camera.objects.filter(pk=camera.pk).update(created_at=datetime(2026, 3, 1, tzinfo=UTC))
    camera.refresh_from_db()
    midnight = camera.site.local(datetime(2026, 3, 10, 12, tzinfo=UTC)).replace(hour=0, minute=0)
    Reign.objects.all().delete()
    six = midnight + timedelta(hours=6)
    Reign.objects.create(camera=camera, token=1, worker="a", taken_at=midnight - timedelta(days=1), ended_at=six)
    Outage.objects.create(
        camera=camera, began_at=midnight + timedelta(hours=2), ended_at=midnight + timedelta(hours=3), reason="x"
    )
    Pause.objects.create(camera=camera, began_at=midnight + timedelta(hours=6), ended_at=midnight + timedelta(hours=9))
    strip = day_strip(camera, midnight + timedelta(hours=12))
    found = [(one.kind, round(one.left), round(one.width), one.text[:11]) for one in strip["stretches"]]
    assert found == [
        ("outages", 8, 4, "02:00–03:00"),
        ("pauses", 25, 12, "06:00–09:00"),
        ("nobody", 38, 12, "09:00–12:00"),
    ]
    assert (strip["from"], round(strip["width"])) == (0, 50)


def test_a_camera_that_was_added_at_noon_did_not_miss_the_morning(world: World) -> None:
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    Camera.objects.filter(pk=world.door.pk).update(created_at=noon)
    world.door.refresh_from_db()
    Reign.objects.all().delete()
    Reign.objects.create(camera=world.door, token=1, worker="a", taken_at=noon)
    strip = day_strip(world.door, noon + timedelta(hours=1))
    assert strip["stretches"] == [] and strip["from"] > 40
