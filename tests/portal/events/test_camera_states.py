from __future__ import annotations

from typing import Any

import pytest

from cameras.models import Camera, CameraLease
from cameras.redis import ERA_KEY, LAST_PICTURES_KEY, lease_key
from cameras.states import CameraState
from cameras.watching import leases, seen
from cameras.watching.leases import WorkerState
from portal.events import camera_states, messages
from portal.people import access
from tests.worlds import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The cameras whose state was sent to pages."""
    found: list[int] = []
    monkeypatch.setattr("portal.events.feed.publish_camera", lambda camera_id, site_id: found.append(camera_id))
    return found


@pytest.fixture
def online(world: World, redis: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """Both cameras are watched, and pages know it."""
    redis.set(ERA_KEY, "1")
    CameraLease.objects.update(state=CameraState.ONLINE)
    leases.renew("north", [(world.door.pk, 1), (world.hall.pk, 1)])
    monkeypatch.setattr(camera_states, "judge", seen.Judge())
    seen.note([(world.door.pk, 60.0, 1000.0), (world.hall.pk, 60.0, 1000.0)])
    camera_states.tell_changes()
    return world


def test_nothing_new_is_not_told(online: World, told: list[int]) -> None:
    assert camera_states.tell_changes() == 0 and told == []


def test_a_camera_whose_worker_is_gone_waits_and_pages_learn_it(online: World, told: list[int], redis: Any) -> None:
    redis.delete(lease_key(online.door.pk))
    camera_states.tell_changes()
    assert told == [online.door.pk]
    assert CameraLease.objects.get(camera=online.door).state == CameraState.WAITING
    assert CameraLease.objects.get(camera=online.hall).state == CameraState.ONLINE


@pytest.mark.parametrize(
    ("workers", "why"),
    [
        ([], "No worker is running"),
        ([WorkerState("a", "1", 8, site_ids=(99,))], "No running worker serves this site"),
        (
            [WorkerState("a", "1", 2, watching=(7, 8)), WorkerState("b", "1", 1, watching=(9,))],
            "3 of 3 places are taken",
        ),
        ([WorkerState("a", "1", 2, watching=(7,))], ""),
    ],
)
def test_beside_a_camera_that_nobody_watches_stands_why(
    online: World, told: list[int], redis: Any, workers: list[WorkerState], why: str
) -> None:
    for worker in workers:
        leases.announce(worker)
    leases.release(online.door.pk, 1)
    camera_states.tell_changes()
    message = messages.camera(access.cameras(online.alice).get(pk=online.door.pk))
    assert message["state"] == "waiting" and message["detail"].startswith(why) and bool(message["detail"]) == bool(why)
    assert told == [online.door.pk]
    told.clear()
    camera_states.tell_changes()
    assert told == [], "said once"


def test_nothing_is_online_without_a_picture_whatever_its_worker_says(
    online: World, told: list[int], redis: Any
) -> None:
    """Its lease is renewed, its last word was "online": but no picture was looked at within the time allowed."""
    redis.hdel(LAST_PICTURES_KEY, str(online.door.pk))
    camera_states.tell_changes()
    assert told == [online.door.pk]
    lease = CameraLease.objects.get(camera=online.door)
    assert (lease.state, lease.state_detail) == (CameraState.OFFLINE, "No picture comes.")
    assert CameraLease.objects.get(camera=online.hall).state == CameraState.ONLINE


def test_right_after_redis_was_away_nobody_is_called_gone(online: World, told: list[int], redis: Any) -> None:
    redis.flushall()
    camera_states.mark_unwatched()
    assert CameraLease.objects.get(camera=online.door).state == CameraState.ONLINE


def test_a_pause_is_told(online: World, told: list[int]) -> None:
    Camera.objects.filter(pk=online.hall.pk).update(paused=True)
    camera_states.tell_changes()
    assert told == [online.hall.pk]


def test_a_round_costs_seven_queries_however_many_cameras_there_are(
    online: World, django_assert_num_queries: Any
) -> None:
    for number in range(20):
        camera = Camera.objects.create(site=online.here, name=str(number), address="x.mp4")
        CameraLease.objects.create(camera=camera)
    camera_states.tell_changes()
    with django_assert_num_queries(7):
        camera_states.tell_changes()
