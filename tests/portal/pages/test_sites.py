"""Sites: their settings, when they are open, and how they are archived and deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from cameras.hours import check_hours
from cameras.models import Camera, CameraLease, Outage, Site
from cameras.reach.local import is_assigned
from cameras.watching import leases
from cameras.watching.spool import Record
from portal.events import camera_states, messages, recording
from portal.models import SitePolicy, User, policy_of
from tests.html import squeezed
from tests.worlds import World, see, set_policy

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
OFFICE = {str(day): ["08:00", "18:00"] for day in range(5)}


def form(**given: object) -> dict[str, object]:
    return {"name": "Harbour House", "time_zone": "Europe/Lisbon", "language": "de", "mask_goal": "90",
            "retention_days": "14", "address": "Quay 1"} | given  # fmt: skip


def test_a_manager_sets_her_site(world: World, sign_in: SignIn) -> None:
    hours = {f"opens_{day}": "08:00" for day in range(5)} | {f"closes_{day}": "18:00" for day in range(5)}
    sign_in(world.alice).post(f"/sites/{world.here.pk}/", form(**hours, alert_when_closed="on"))
    world.here.refresh_from_db()
    policy = policy_of(world.here)
    assert policy.opening_hours == OFFICE and policy.alert_when_closed and world.here.address == "Quay 1"
    assert (policy.language, policy.mask_goal, policy.retention_days) == ("de", 90, 14)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"opens_0": "08:00"}, "Monday: enter both"),
        ({"opens_0": "08:00", "closes_0": "08:00"}, "Monday: both times are the same"),
        ({"opens_0": "25:00", "closes_0": "18:00"}, "Enter a time like 08:30"),
        ({"time_zone": "Mars/Olympus"}, "Select a valid choice"),
        ({"mask_goal": "101"}, "less than or equal to 100"),
        ({"retention_days": "0"}, "greater than or equal to 1"),
        ({"name": "Maple Tower"}, "already exists"),
    ],
)
def test_what_cannot_be_is_said(world: World, sign_in: SignIn, change: dict[str, str], says: str) -> None:
    answer = sign_in(world.alice).post(f"/sites/{world.here.pk}/", form(**change))
    assert answer.status_code == 422 and says in answer.content.decode()
    world.here.refresh_from_db()
    assert policy_of(world.here).opening_hours == {} and world.here.name == "Harbour House"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_hours_are_the_sites_own_and_may_run_past_midnight() -> None:
    site = SitePolicy(site=Site(time_zone="America/Toronto"), opening_hours=OFFICE)
    assert site.is_open(at("2026-11-25T14:00")) and not site.is_open(at("2026-11-25T12:00"))  # Wednesday, 9 and 7 there
    assert not site.is_open(at("2026-11-28T15:00")), "a Saturday"
    bar = SitePolicy(site=Site(time_zone="UTC"), opening_hours={"4": ["20:00", "03:00"]})
    assert bar.is_open(at("2026-11-27T23:00")) and bar.is_open(at("2026-11-28T02:59"))
    assert not bar.is_open(at("2026-11-28T03:00")) and not bar.is_open(at("2026-11-27T02:00"))
    assert policy_of(Site(time_zone="UTC")).is_open(at("2026-11-28T03:00")), "without hours it is always open"


@given(st.dictionaries(st.sampled_from("0123456"), st.tuples(st.times(), st.times())), st.datetimes())
def test_open_or_not_is_always_answered(hours: dict[str, Any], moment: datetime) -> None:
    policy = SitePolicy(site=Site(time_zone="Europe/Lisbon"))
    policy.opening_hours = {day: [a.strftime("%H:%M"), b.strftime("%H:%M")] for day, (a, b) in hours.items()}
    if 1900 < moment.year < 2100:
        assert policy.is_open(moment.replace(tzinfo=UTC)) in {True, False}


@pytest.mark.parametrize(
    "value", [{"7": ["08:00", "18:00"]}, {"0": ["08:00"]}, {"0": ["x", "y"]}, [1], "text", {"0": 5}]
)
def test_hours_that_make_no_sense_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        check_hours(value)


def test_outside_the_hours_it_is_kept_and_listed_but_nobody_is_alerted(world: World, sign_in: SignIn) -> None:
    set_policy(world.here, opening_hours={"0": ["03:00", "03:01"]})
    quiet = see(world.door, at("2026-11-25T12:00").timestamp())
    assert quiet.quiet and messages.violation(quiet)["quiet"] is True
    assert str(quiet.pk) in sign_in(world.alice).get("/violations/").content.decode()
    set_policy(world.here, alert_when_closed=True)
    assert not see(world.door).quiet


def test_a_site_with_a_history_is_archived_and_comes_back(world: World, sign_in: SignIn) -> None:
    see(world.door)
    root = sign_in(world.root)
    page = root.post(f"/sites/{world.here.pk}/archive/", follow=True).content.decode()
    assert f'action="/sites/{world.here.pk}/restore/"' in page
    alice = sign_in(world.alice)
    assert alice.get(f"/sites/{world.here.pk}/").status_code == 404
    assert "Front door" not in alice.get("/").content.decode()
    assert [wanted.camera_id for wanted in leases.wanted_cameras()] == [world.hall.pk]
    root.post(f"/sites/{world.here.pk}/restore/")
    assert "Front door" in alice.get("/").content.decode()


def test_a_site_without_a_history_is_deleted(world: World, sign_in: SignIn) -> None:
    empty = Site.objects.create(name="Empty")
    page = sign_in(world.root).get(f"/sites/{empty.pk}/").content.decode()
    assert "Delete" in page and "Archive" not in page
    sign_in(world.root).post(f"/sites/{empty.pk}/archive/")
    assert not Site.objects.filter(pk=empty.pk).exists()


# -- first steps ----------------------------------------------------------------------------------------------------


def test_a_new_installation_leads_from_step_to_step(db: None, redis: Any, sign_in: SignIn, tmp_path: Any) -> None:
    root = sign_in(User.objects.create_superuser("root@example.org", name="Root"))
    page = root.get("/", follow=True)
    assert page.redirect_chain[-1][0] == "/sites/add/" and "First steps: 1 of 3" in page.content.decode()
    page = root.post("/sites/add/", form(), follow=True)
    text = page.content.decode()
    assert "First steps: 2 of 3" in text and "Your first camera" in text and "selected>Harbour House" in text
    assert root.get("/").headers["Location"].startswith("/cameras/add/?site=")
    Camera.objects.create(site=Site.objects.get(), name="Door", address="x.mp4")
    assert "First steps: 3 of 3" in root.get("/").content.decode()
    assert "First steps" not in root.get("/?go-on", follow=True).content.decode()


def test_an_empty_page_says_what_to_do_next(world: World, sign_in: SignIn) -> None:
    Camera.objects.update(deleted_at=at("2026-11-25T12:00"))
    alice = sign_in(world.alice)
    for path in ("/", "/cameras/"):
        assert 'href="/cameras/add/"' in alice.get(path).content.decode().split("<main")[1]
    assert "Ask the manager of your site" in sign_in(world.vera).get("/").content.decode()


# -- outages --------------------------------------------------------------------------------------------------------


def say(camera: Camera, kind: str, token: int = 1, **body: object) -> None:
    recording.record(Record({"kind": kind, "camera": camera.pk, "token": token, "at": 1000.0} | body))


def test_an_outage_opens_and_closes_by_what_the_worker_says(world: World) -> None:
    say(world.door, "outage", began_at=1000.0, reason="Nothing answers there.")
    say(world.door, "outage", began_at=1100.0, reason="The camera does not accept this user.")
    one = Outage.objects.get()
    assert one.began_at.timestamp() == 1000 and "accept" in one.reason, "one outage, with its newest reason"
    say(world.door, "recovered", ended_at=1300.0)
    one.refresh_from_db()
    assert one.ended_at is not None and one.ended_at.timestamp() == 1300
    say(world.door, "recovered", ended_at=1400.0)
    one.refresh_from_db()
    assert one.ended_at is not None and one.ended_at.timestamp() == 1300
    leases.take(world.door.pk, 1, "south")
    say(world.door, "outage", began_at=1500.0, reason="stale")
    assert not Outage.objects.filter(reason="stale").exists(), (
        "the word of a worker that no longer holds the camera is no news"
    )


def test_a_camera_that_nobody_wants_watched_has_no_outage(world: World) -> None:
    say(world.door, "outage", began_at=1000.0, reason="x")
    Camera.objects.filter(pk=world.door.pk).update(paused=True)
    camera_states.settle_outages()
    assert Outage.objects.get().ended_at is not None


def test_waiting_for_a_worker_for_long_is_an_outage(world: World) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from cameras.models import CameraLease

    long_ago = timezone.now() - timedelta(seconds=60)
    CameraLease.objects.filter(camera=world.door).update(state="waiting", state_since=long_ago)
    camera_states.settle_outages()
    camera_states.settle_outages()
    one = Outage.objects.get()
    assert one.camera == world.door and "No worker watches" in one.reason
    say(world.door, "recovered", ended_at=timezone.now().timestamp())
    one.refresh_from_db()
    assert one.ended_at is not None


def test_first_steps_go_on_without_a_camera_in_the_network(
    world: World, sign_in: Callable[[User], Client], settings: Any, tmp_path: Path
) -> None:
    """With a clip of the demo's, with a phone, or later."""
    settings.DATA_DIR = tmp_path
    Camera.objects.all().delete()
    root = sign_in(world.root)
    assert root.get("/")["Location"].startswith("/cameras/add/")
    page = root.get("/cameras/add/").content.decode()
    assert "/devices/add/" in page and "/cameras/add/demo/" in page and "/?go-on" in page
    assert root.get("/?go-on", follow=True).status_code == 200 and root.get("/").status_code == 200, "later"
    root.post("/cameras/add/demo/", {"site": world.here.pk})
    camera = Camera.objects.get()
    assert (camera.site, camera.kind) == (world.here, "clip") and is_assigned(world.here.pk, camera.address)
    assert (tmp_path / "clips" / camera.address).is_file()


def test_while_redis_is_away_the_dashboard_says_so_and_nothing_is_online(
    world: World, sign_in: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    CameraLease.objects.update(state="online")
    client = sign_in(world.alice)
    assert "all" in client.get("/").content.decode() or "the camera is online" in client.get("/").content.decode()

    def away() -> None:
        raise OSError

    monkeypatch.setattr("portal.pages.dashboard.current_notices", away)
    for path in ("/", "/strip/"):
        page = squeezed(client.get(path))
        assert "Redis does not answer" in page and "not known whether" in page and "is online" not in page
