"""Zones are drawn by managers, checked, and hold in the worker; a spot where nothing ever happens is one, too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cameras.models import Camera, CameraLease, CameraSpot, CameraZone
from cameras.redis import connection, preview_key
from cameras.settings import settings_of
from cameras.watching.preview import Offer, encode_preview
from cameras.watching.spool import Record
from detection import encode_jpeg
from portal.events.recording import record
from portal.models import AuditEntry, User, Violation
from portal.pages import zones
from tests.html import squeezed
from tests.worlds import BOX, World, jpeg, see

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
KEY = str(UUID(int=7))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch, redis: Any) -> None:
    monkeypatch.setattr(zones, "PICTURE_WITHIN_S", 0.05)


def draw(client: Client, camera: Camera, points: str, kind: str = "ignore", **more: str) -> Any:
    return client.post(f"/cameras/{camera.pk}/zones/", {"kind": kind, "points": points, **more}, follow=True)


def test_a_zone_is_saved_and_the_camera_is_watched_anew_with_it(world: World, sign_in: SignIn) -> None:
    version = world.door.version
    page = draw(sign_in(world.alice), world.door, "10,20 60.5,20 60,90", "privacy", aspect="1.7778")
    assert "takes effect within seconds" in squeezed(page) and "Privacy" in squeezed(page)
    now = settings_of(Camera.objects.get(pk=world.door.pk))
    (zone,) = now.zoning.drawn.zones
    assert (zone.kind, zone.points, zone.aspect) == ("privacy", ((0.1, 0.2), (0.605, 0.2), (0.6, 0.9)), 1.7778)
    assert now.version == version + 1
    made = CameraZone.objects.get()
    sign_in(world.alice).post(f"/zones/{made.pk}/delete/")
    after = settings_of(Camera.objects.get(pk=world.door.pk))
    assert after.zoning.drawn.zones == () and after.version == version + 2
    assert set(AuditEntry.objects.filter(action__startswith="zone").values_list("action", "site")) == {
        ("zone-added", "Harbour House"),
        ("zone-deleted", "Harbour House"),
    }


@pytest.mark.parametrize(
    ("points", "kind", "says"),
    [
        ("", "ignore", "at least three corners"),
        ("10,10 20,20", "ignore", "3 to 40 corners"),
        (" ".join(f"{n},{n * n % 90}" for n in range(41)), "ignore", "3 to 40 corners"),
        ("10,10 20,20 x,30", "ignore", "Write corners like"),
        ("10,10 20,20 30", "ignore", "Write corners like"),
        ("10,10 20,20 30,30,30", "ignore", "Write corners like"),
        ("-1,10 50,10 50,50", "ignore", "outside of the picture"),
        ("10,10 101,10 50,50", "ignore", "outside of the picture"),
        ("nan,10 50,10 50,50", "ignore", "outside of the picture"),
        ("10,10 20,20 30,30", "ignore", "no area"),
        ("10,10 60,60 60,10 10,60", "privacy", "Its sides cross"),
        ("0,0 100,0 100,100 0,100", "ignore", "covers everything"),
        ("0,0 100,0 100,100 0,100", "privacy", "covers everything"),
        ("10,10 50,10 50,50", "nonsense", "nonsense"),
    ],
)
def test_a_zone_that_cannot_be_is_said_where_it_was_drawn(
    world: World, sign_in: SignIn, points: str, kind: str, says: str
) -> None:
    answer = draw(sign_in(world.alice), world.door, points, kind)
    assert answer.status_code == 422 and says in squeezed(answer) and not CameraZone.objects.exists()


def test_a_privacy_zone_needs_the_picture_that_it_is_drawn_on(
    world: World, sign_in: SignIn, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zones, "PICTURE_WITHIN_S", 0.1)
    client = sign_in(world.alice)
    refused = draw(client, world.door, "10,20 60,20 60,90", "privacy")
    assert refused.status_code == 422 and "A privacy zone needs" in squeezed(refused)
    offer = Offer(world.door.pk, 1, time.time(), np.zeros((90, 160, 3), np.uint8), [])
    connection().set(preview_key(world.door.pk), encode_preview(offer, 1))
    draw(client, world.door, "10,20 60,20 60,90", "privacy")
    assert CameraZone.objects.get().aspect == 1.7778


def test_a_copy_of_a_camera_hides_what_the_camera_hides(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    draw(client, world.door, "10,20 60,20 60,90", "privacy", aspect="1.7778")
    client.post(f"/cameras/{world.door.pk}/duplicate/")
    copy = Camera.objects.exclude(pk__in=[world.door.pk, world.hall.pk]).get()
    assert len(settings_of(copy).zoning.held) == 1 and settings_of(copy).zoning == settings_of(world.door).zoning


def test_all_of_the_picture_may_be_watched(world: World, sign_in: SignIn) -> None:
    assert draw(sign_in(world.alice), world.door, "0,0 100,0 100,100 0,100", "watch").status_code == 200


@pytest.mark.parametrize("aspect", ["x", "-1", "0", "1e9", "nan", ""])
def test_an_aspect_that_cannot_be_is_not_known(
    world: World, sign_in: SignIn, redis: Any, monkeypatch: pytest.MonkeyPatch, aspect: str
) -> None:
    monkeypatch.setattr(zones, "PICTURE_WITHIN_S", 0.0)
    draw(sign_in(world.alice), world.door, "10,20 60,20 60,90", aspect=aspect)
    assert all(zone.aspect == 0 for zone in CameraZone.objects.all())


def test_a_camera_has_so_many_zones(world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "MOST_ZONES", 1)
    client = sign_in(world.alice)
    assert draw(client, world.door, "10,20 60,20 60,90").status_code == 200
    answer = draw(client, world.door, "10,20 60,20 60,90")
    assert answer.status_code == 422 and "at most 1 zones" in squeezed(answer)


# -- the picture to draw on -------------------------------------------------------------------------------------------


def test_the_picture_is_the_newest_preview_and_a_look_of_its_own(world: World, sign_in: SignIn, redis: Any) -> None:
    image = np.full((90, 160, 3), 50, np.uint8)
    offer = Offer(world.door.pk, 1, time.time(), image, [])
    connection().set(preview_key(world.door.pk), encode_preview(offer, 1))
    answer = sign_in(world.alice).get(f"/cameras/{world.door.pk}/now.jpg")
    assert answer["Content-Type"] == "image/jpeg" and answer.content == encode_jpeg(image, 72)
    assert "no-store" in answer["Cache-Control"]
    assert AuditEntry.objects.filter(action="saw-picture", subject="Front door").count() == 1


def test_an_old_picture_is_none(world: World, sign_in: SignIn, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "PICTURE_WITHIN_S", 0.2)
    offer = Offer(world.door.pk, 1, time.time() - 60, np.zeros((9, 16, 3), np.uint8), [])
    connection().set(preview_key(world.door.pk), encode_preview(offer, 1))
    assert sign_in(world.alice).get(f"/cameras/{world.door.pk}/now.jpg").status_code == 404


# -- spots ------------------------------------------------------------------------------------------------------------


def dismiss(client: Client, found: Violation) -> Any:
    form = {"seen": f"{found.pk}:{found.review_version}", "decision": "dismiss", "back": "/violations/"}
    return client.post("/violations/review/", form, follow=True)


def test_the_third_dismissal_at_one_spot_offers_to_ignore_it(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    elsewhere = see(world.door, box=[0.7, 0.7, 0.8, 0.9])
    offers = ["Ignore this spot" in squeezed(dismiss(client, found)) for found in
              (see(world.door), elsewhere, see(world.door), see(world.door))]  # fmt: skip
    assert offers == [False, False, False, True]
    reviewer = squeezed(dismiss(sign_in(world.bob), see(world.door)))
    assert "Ignore this spot" not in reviewer, "who may not draw zones is not asked"


def test_a_dismissed_violation_makes_a_zone_around_its_face(world: World, sign_in: SignIn) -> None:
    client, found = sign_in(world.alice), see(world.door)
    page = f"/violations/{found.pk}/"
    assert "Ignore this spot" not in squeezed(client.get(page))
    dismiss(client, found)
    assert "Ignore this spot" in squeezed(client.get(page))
    assert "ignores this spot" in squeezed(client.post(f"{page}ignore-spot/", follow=True))
    (zone,) = settings_of(Camera.objects.get(pk=world.door.pk)).zoning.drawn.zones
    assert zone.kind == "ignore" and zone.points == ((0.35, 0.2), (0.65, 0.2), (0.65, 0.8), (0.35, 0.8))


def test_a_violation_without_a_box_is_led_to_the_picture(world: World, sign_in: SignIn) -> None:
    found = see(world.door)
    Violation.objects.filter(pk=found.pk).update(box=[], status="dismissed")
    client = sign_in(world.alice)
    assert client.get(f"/violations/{found.pk}/").status_code == 200
    assert "Draw a zone" in squeezed(client.post(f"/violations/{found.pk}/ignore-spot/", follow=True))
    assert jpeg()


# -- what is asked of people there, and when ---------------------------------------------------------------------------


def test_a_zone_is_changed_where_it_lies(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    draw(client, world.door, "10,20 60.5,20 60,90", "watch", aspect="1.7778", demand="recommended", opens_0="08:00",
         closes_0="18:00")  # fmt: skip
    made = CameraZone.objects.get()
    assert (made.demand, made.hours) == ("recommended", {"0": ["08:00", "18:00"]})
    page = client.get(f"/zones/{made.pk}/")
    assert 'value="10,20 60.5,20 60,90"' in squeezed(page) and 'value="08:00"' in squeezed(page)
    assert "Watch" in squeezed(page) and "recommended, at certain hours" in squeezed(page)
    form = {"kind": "watch", "points": "10,20 60,20 60,90", "aspect": "1.7778", "demand": "none"}
    assert client.post(f"/zones/{made.pk}/", form).status_code == 302
    changed = CameraZone.objects.get()
    assert (changed.pk, changed.demand, changed.hours, changed.points[1]) == (made.pk, "none", {}, [0.6, 0.2])
    assert AuditEntry.objects.filter(action="zone-changed").count() == 1
    (held,) = settings_of(Camera.objects.get(pk=world.door.pk)).zoning.held
    assert held.zone.demand == "none"


@pytest.mark.parametrize(("kind", "hours"), [("ignore", {"0": ["08:00", "18:00"]}), ("privacy", {})])
def test_only_who_is_watched_is_asked_and_what_is_private_is_so_always(
    world: World, sign_in: SignIn, kind: str, hours: dict[str, list[str]]
) -> None:
    draw(sign_in(world.alice), world.door, "10,20 60.5,20 60,90", kind, aspect="1.7778", demand="none",
         opens_0="08:00", closes_0="18:00")  # fmt: skip
    made = CameraZone.objects.get()
    assert (made.demand, made.hours) == ("required", hours)


def test_hours_that_cannot_be_are_said_and_nothing_is_saved(world: World, sign_in: SignIn) -> None:
    answer = draw(sign_in(world.alice), world.door, "10,20 60,20 60,90", "watch", opens_3="08:00")
    assert answer.status_code == 422 and "Thursday: enter both" in squeezed(answer)
    assert not CameraZone.objects.exists()


# -- pictures or people? ----------------------------------------------------------------------------------------------


def ask(camera: Camera, box: list[float], is_doubted: bool = True, key: str = KEY) -> None:
    """As a worker tells it."""
    now = time.time()
    token = CameraLease.objects.get(camera=camera).token
    body = {"kind": "spot", "camera": camera.pk, "token": token, "key": key, "box": box, "visits": 5,
            "first_at": now - 3600, "last_at": now, "is_doubted": is_doubted}  # fmt: skip
    record(Record(body))


def test_a_manager_is_asked_about_a_spot_and_ignores_it(world: World, sign_in: SignIn) -> None:
    client, version = sign_in(world.alice), world.door.version
    assert "A poster, or a screen" not in squeezed(client.get("/"))
    ask(world.door, BOX)
    ask(world.door, BOX)
    assert "Front door, Harbour House: at one spot" in squeezed(client.get("/"))
    for other in (world.bob, world.vera, world.charlie):
        assert "A poster, or a screen" not in squeezed(sign_in(other).get("/"))
    page = squeezed(client.get(f"/cameras/{world.door.pk}/zones/"))
    assert "A picture, or people?" in page and "350,200 650,200 650,800 350,800" in page
    answer = client.post(f"/spots/{KEY}/", {"answer": "ignore"}, follow=True)
    assert "ignores this spot" in squeezed(answer) and "A picture, or people?" not in squeezed(answer)
    now = settings_of(Camera.objects.get(pk=world.door.pk))
    assert [zone.kind for zone in now.zoning.drawn.zones] == ["ignore"] and now.version == version + 1
    assert not CameraSpot.objects.exists()


def test_a_spot_at_which_people_can_be_is_not_asked_about_again(world: World, sign_in: SignIn) -> None:
    client, version = sign_in(world.alice), world.door.version
    ask(world.door, BOX)
    (asked,) = settings_of(world.door).spots
    assert asked.is_doubted and not asked.has_people, "a worker that takes over knows of it"
    client.post(f"/spots/{KEY}/", {"answer": "people"})
    ask(world.door, BOX)
    now = settings_of(Camera.objects.get(pk=world.door.pk))
    assert now.spots[0].has_people and not now.spots[0].is_doubted and now.version == version + 1
    assert "A poster, or a screen" not in squeezed(client.get("/"))
    assert AuditEntry.objects.filter(action="spot-answered", subject__startswith="Front door").count() == 1


def test_a_question_goes_when_somebody_came_there_after_all(world: World, sign_in: SignIn) -> None:
    ask(world.door, BOX)
    ask(world.door, BOX, is_doubted=False)
    assert not CameraSpot.objects.exists()
    assert sign_in(world.alice).post(f"/spots/{KEY}/", {"answer": "ignore"}).status_code == 404


def test_the_dashboard_asks_for_all_cameras_at_once(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    with CaptureQueriesContext(connections["default"]) as few:
        client.get("/strip/")
    for number in range(5):
        other = Camera.objects.create(site=world.here, name=f"Camera {number}", address="x.mp4")
        CameraLease.objects.create(camera=other, token=1, worker="north")
        CameraSpot.objects.create(
            pk=UUID(int=number + 1), camera=other, box=BOX, visits=5, first_at=timezone.now(), last_at=timezone.now()
        )
    with CaptureQueriesContext(connections["default"]) as many:
        page = client.get("/strip/")
    assert squeezed(page).count("A poster, or a screen") == 5 and len(many) == len(few)
