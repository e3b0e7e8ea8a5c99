from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cameras.models import Camera, CameraLease, Outage, Reign
from cameras.redis import ERA_KEY, LEADER_KEY, WORKERS_KEY, lease_key, worker_key
from cameras.watching import leases, seen
from cameras.watching.leases import Reconciler, WorkerState, announce, living_workers
from tests.worlds import World

pytestmark = pytest.mark.django_db(transaction=True)
Bells = list[tuple[str, int, int]]


def reconciler(bells: Bells, name: str = "north", instance: str = "1") -> Reconciler:
    return Reconciler(name, instance, lambda worker, camera, token: bells.append((worker, camera, token)))


@pytest.fixture
def cameras(world: World) -> list[Camera]:
    """Both cameras, assigned to no worker."""
    leases.release_all("north")
    return [world.door, world.hall]


def test_a_lease_is_taken_by_one_of_two_who_saw_the_same_token(cameras: list[Camera]) -> None:
    assert leases.take(cameras[0].pk, 1, "north") == 2
    assert leases.take(cameras[0].pk, 1, "south") is None
    assert CameraLease.objects.get(camera=cameras[0]).worker == "north"


def test_reigns_follow_each_other_without_gap_or_overlap(cameras: list[Camera]) -> None:
    start = timezone.now()
    for number in range(4):
        leases.take(cameras[0].pk, number + 1, "north", start + timedelta(seconds=number))
    reigns = list(Reign.objects.filter(camera=cameras[0], token__gt=1).order_by("token"))
    assert [reign.ended_at for reign in reigns[:-1]] == [reign.taken_at for reign in reigns[1:]]
    assert reigns[-1].ended_at is None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["take", "release"]), st.integers(0, 12)), max_size=25))
def test_a_token_only_grows_and_at_most_one_reign_is_open(cameras: list[Camera], script: list[tuple[str, int]]) -> None:
    camera_id, newest = cameras[0].pk, CameraLease.objects.get(camera=cameras[0]).token
    for act, token in script:
        if act == "take":
            leases.take(camera_id, token, "north")
        else:
            leases.release(camera_id, token)
        lease = CameraLease.objects.get(camera=camera_id)
        assert lease.token >= newest
        newest = lease.token
        open_reigns = Reign.objects.filter(camera=camera_id, ended_at=None)
        assert [reign.token for reign in open_reigns] == ([newest] if lease.worker else [])


def test_free_cameras_go_to_the_worker_with_most_room_that_serves_the_site(cameras: list[Camera], world: World) -> None:
    announce(WorkerState("north", "1", capacity=5, site_ids=(world.here.pk,)))
    announce(WorkerState("south", "1", capacity=2))
    bells: Bells = []
    assert reconciler(bells).step() == 2
    assert {(worker, camera) for worker, camera, _ in bells} == {("north", world.door.pk), ("south", world.hall.pk)}


def test_a_worker_without_room_gets_nothing(cameras: list[Camera]) -> None:
    announce(WorkerState("north", "1", capacity=1))
    bells: Bells = []
    assert reconciler(bells).step() == 1
    assert CameraLease.objects.exclude(worker="").count() == 1


def test_a_paused_camera_is_given_to_nobody(cameras: list[Camera]) -> None:
    Camera.objects.update(paused=True)
    announce(WorkerState("north", "1", capacity=5))
    assert reconciler([]).step() == 0


def test_a_new_camera_gets_its_lease(world: World) -> None:
    fresh = Camera.objects.create(site=world.here, name="Side door", address="x.mp4")
    announce(WorkerState("north", "1", capacity=5))
    bells: Bells = []
    reconciler(bells).step()
    assert (("north", fresh.pk, 1)) in bells


def test_a_living_lease_is_left_alone(cameras: list[Camera]) -> None:
    announce(WorkerState("north", "1", capacity=5))
    bells: Bells = []
    one = reconciler(bells)
    one.step()
    leases.renew("north", [(camera, token) for _, camera, token in bells])
    assert one.step() == 0 and len(bells) == 2


def test_a_doorbell_that_nobody_heard_is_rung_again_after_ten_seconds(
    cameras: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(WorkerState("north", "1", capacity=5))
    bells: Bells = []
    one = reconciler(bells)
    one.step()
    assert one.step() == 0
    monkeypatch.setattr(leases, "RING_AGAIN_S", 0.0)
    assert one.step() == 2
    assert bells[:2] == bells[2:], "the same token: it is only a doorbell"
    one.step()
    one.step()
    assert {token for _, _, token in bells[-2:]} == {3}, "who never answers loses the camera"


def lose_worker(redis: Any, name: str, cameras: list[Camera]) -> None:
    redis.delete(worker_key(name), *[lease_key(camera.pk) for camera in cameras])


def test_a_gone_workers_cameras_go_to_another(cameras: list[Camera], redis: Any) -> None:
    redis.set(ERA_KEY, "1")
    announce(WorkerState("south", "1", capacity=5))
    bells: Bells = []
    reconciler(bells, "south").step()
    leases.renew("south", [(camera, token) for _, camera, token in bells])
    lose_worker(redis, "south", cameras)
    announce(WorkerState("north", "1", capacity=5))
    redis.delete("reconcile-leader")
    reconciler(bells, "north").step()
    assert {worker for worker, _, _ in bells[2:]} == {"north"}


def test_after_redis_was_away_nothing_is_taken_for_two_times_to_live(cameras: list[Camera], redis: Any) -> None:
    leases.take(cameras[0].pk, 1, "south")
    redis.flushall()  # as a restart without persistence does
    announce(WorkerState("north", "1", capacity=5))
    bells: Bells = []
    one = reconciler(bells)
    one.step()
    assert {camera for _, camera, _ in bells} == {cameras[1].pk}, "south watches, but had no time to say so"
    redis.set(ERA_KEY, str(redis.time()[0] - 2 * leases.TIME_TO_LIVE_S))
    one.step()
    assert CameraLease.objects.get(camera=cameras[0]).worker == "north"


def test_who_still_watches_asserts_the_lease_again_after_redis_was_away(world: World, redis: Any) -> None:
    redis.flushall()
    assert leases.renew("north", [(world.door.pk, 1)]) == []
    assert redis.get(lease_key(world.door.pk)) == b"north 1"


def test_a_later_token_ends_an_earlier_watch(world: World) -> None:
    leases.renew("south", [(world.door.pk, 2)])
    assert leases.renew("north", [(world.door.pk, 1)]) == [world.door.pk]
    assert leases.renew("south", [(world.door.pk, 2)]) == []


def test_a_camera_whose_worker_ended_has_an_outage_since_its_last_picture(world: World, redis: Any) -> None:
    seen.note([(world.door.pk, 5.0, 1_000_000.0)])
    leases.take(world.door.pk, 1, "south")  # "north" never gave it back
    (one,) = Outage.objects.all()
    assert one.camera == world.door and one.began_at.timestamp() == 1_000_000 and one.ended_at is None
    assert leases.release_all("south") == 1
    leases.take(world.door.pk, 2, "north")
    assert Outage.objects.count() == 1, "what was given back is no outage, and one is enough"


def test_a_worker_whose_process_is_gone_is_not_waited_for(redis: Any) -> None:
    def worker(instance: str) -> WorkerState:
        return WorkerState("north", instance, 12)

    assert leases.announce(worker("1"))
    redis.set(LEADER_KEY, "north 1 7")
    assert not leases.announce(worker("2")), "it may be alive"
    assert leases.announce(worker("2"), lambda instance: instance == "1")
    assert not redis.exists(LEADER_KEY), "and it leads no more"
    assert not leases.announce(worker("1"), lambda instance: False)


def test_leases_hold_through_steps_of_the_clock(
    cameras: list[Camera], redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis ends times-to-live by the wall's clock: set ahead, all end at once; set back, they last an hour."""
    now, bells = [1000.0], Bells()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    redis.set(ERA_KEY, "1")
    south = reconciler(bells, "south", "2")
    announce(WorkerState("north", "1", 12, beat=1))
    announce(WorkerState("south", "2", 12, beat=1))
    token = leases.take(cameras[0].pk, 1, "north")
    assert token is not None
    leases.renew("north", [(cameras[0].pk, token)])
    south.step()
    for key in (worker_key("north"), lease_key(cameras[0].pk)):
        redis.delete(key)  # set ahead
    now[0] += 1
    south.step()
    assert CameraLease.objects.get(camera=cameras[0]).worker == "north", "it is alive, and will say so again"
    announce(WorkerState("north", "1", 12, beat=2))
    leases.renew("north", [(cameras[0].pk, token)])
    south.step()
    redis.persist(worker_key("north"))  # set back: its keys live on, but it does not
    redis.persist(lease_key(cameras[0].pk))
    for beat in range(3, 15):
        now[0] += 1
        announce(WorkerState("south", "2", 12, beat=beat))
        south.step()
    assert CameraLease.objects.get(camera=cameras[0]).worker == "south"


def test_a_leader_that_is_gone_is_followed_although_its_key_lives_on(
    cameras: list[Camera], redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    redis.set(LEADER_KEY, "north 1 5")
    south = reconciler(Bells(), "south", "2")
    south.step()
    assert leases.leader() == "north 1 5"
    now[0] += 11
    south.step()
    assert leases.leader().startswith("south 2 ")


def test_a_leader_and_its_cameras_are_not_waited_for_one_after_the_other(
    cameras: list[Camera], redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever leads next knows already how long nothing was heard of the worker that led."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    redis.set(ERA_KEY, "0")
    north, south = reconciler([], "north", "1"), reconciler([], "south", "2")
    for beat in range(1, 10):
        announce(WorkerState("north", "1", 12, beat=beat))
        announce(WorkerState("south", "2", 0 if beat < 5 else 12, beat=beat))
        for each in (north, south):
            each.step()
        leases.renew("north", CameraLease.objects.filter(worker="north").values_list("camera_id", "token"))
        now[0] += 1
    assert set(CameraLease.objects.values_list("worker", flat=True)) == {"north"}, "it leads, and has both cameras"
    waited = 0
    while CameraLease.objects.filter(worker="south").count() < 2 and waited < 30:
        waited += 1
        now[0] += 1
        announce(WorkerState("south", "2", 12, beat=100 + waited))
        if waited == leases.TIME_TO_LIVE_S:
            redis.delete(*(lease_key(camera.pk) for camera in cameras))  # as Redis does by then
        south.step()
    assert waited <= leases.TIME_TO_LIVE_S + 1


def test_only_one_leads(cameras: list[Camera]) -> None:
    announce(WorkerState("north", "1", capacity=5))
    bells: Bells = []
    first, second = reconciler(bells, "north"), reconciler(bells, "south")
    assert first.step() == 2
    leases.release_all("north")
    assert second.step() == 0
    first.resign()
    assert second.step() == 2


def test_two_workers_of_one_name_do_not_both_live(redis: Any) -> None:
    assert announce(WorkerState("north", "1", 4))
    assert not announce(WorkerState("north", "2", 4))
    assert announce(WorkerState("north", "1", 4, watching=(3,)))
    assert [worker.watching for worker in living_workers()] == [(3,)]
    leases.withdraw(WorkerState("north", "1", 4))
    assert living_workers() == [] and announce(WorkerState("north", "2", 4))


def test_reconciling_asks_the_database_once_however_many_cameras_there_are(
    cameras: list[Camera], world: World, django_assert_num_queries: Any
) -> None:
    announce(WorkerState("north", "1", capacity=50))
    for number in range(20):
        Camera.objects.create(site=world.here, name=str(number), address="x.mp4")
    bells: Bells = []
    one = reconciler(bells)
    one.step()
    leases.renew("north", [(camera, token) for _, camera, token in bells])
    with django_assert_num_queries(1):
        one.step()


# -- by measured load -------------------------------------------------------------------------------------------------


class Hosts:
    """Workers that say what they do, and a leader, on a clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world: World, redis: Any) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        redis.set(ERA_KEY, "0")
        leases.release_all("north")
        Camera.objects.bulk_create(Camera(site=world.here, name=str(n), address="x.mp4") for n in range(6))
        self.bells: Bells = []
        self.leader = reconciler(self.bells, "leader", "1")
        self.states: dict[str, WorkerState] = {}

    def run(self, seconds: int) -> list[tuple[int, str]]:
        """Let time pass; returns which camera was asked back from whom, in order."""
        asked = []
        for _second in range(seconds):
            self.now += 1
            for name, state in self.states.items():
                held = list(CameraLease.objects.filter(worker=name).values_list("camera_id", "token"))
                leases.renew(name, held)
                for camera_id in leases.asked_back(name):
                    asked.append((camera_id, name))
                    leases.release(camera_id, dict(held)[camera_id])
                    leases.forget(camera_id, name, dict(held)[camera_id])
                watching = tuple(camera_id for camera_id, _token in held)
                announce(replace(state, watching=watching, beat=round(self.now), load=state.load * len(watching)))
            self.leader.step()
        return asked

    def spread(self) -> dict[str, int]:
        workers = CameraLease.objects.exclude(worker="").values_list("worker", flat=True)
        return {name: list(workers).count(name) for name in self.states}


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, world: World, redis: Any) -> Hosts:
    return Hosts(monkeypatch, world, redis)


def every(world: World) -> tuple[int, ...]:
    return tuple(Camera.objects.values_list("pk", flat=True))


def test_a_worker_that_joins_gets_cameras_one_by_one_without_an_outage(hosts: Hosts, world: World) -> None:
    hosts.states["north"] = WorkerState("north", "1", 20, load=0.1, calm=every(world))
    assert hosts.run(30) == [] and hosts.spread() == {"north": 8}
    hosts.states["south"] = WorkerState("south", "1", 20, load=0.1, calm=every(world))
    asked = hosts.run(120)
    assert hosts.spread() == {"north": 4, "south": 4} and len(asked) == 4, "nothing goes to and fro"
    assert hosts.run(120) == [] and not Outage.objects.exists()


def test_a_small_machine_is_given_less_than_a_large_one(hosts: Hosts, world: World) -> None:
    hosts.states["north"] = WorkerState("north", "1", 20, load=0.05, calm=every(world))
    hosts.states["south"] = WorkerState("south", "1", 20, load=0.3, calm=every(world))
    hosts.run(200)
    assert hosts.spread() == {"north": 6, "south": 2}, "it was given four, and has six times as much to do with each"


def test_a_camera_with_somebody_in_view_moves_only_if_there_is_no_other(hosts: Hosts, world: World) -> None:
    calm = every(world)[3]
    hosts.states["north"] = WorkerState("north", "1", 20, load=0.1, calm=(calm,))
    hosts.run(30)
    hosts.states["south"] = WorkerState("south", "1", 20, load=0.1)
    assert hosts.run(20) == [(calm, "north")]
    assert hosts.run(50) == [], "somebody is in view of each of the others"
    assert len(hosts.run(40)) == 1


def test_a_worker_is_emptied_as_far_as_others_have_room_and_used_again(hosts: Hosts, world: World) -> None:
    hosts.states["north"] = WorkerState("north", "1", 20, load=0.1, calm=every(world))
    hosts.states["south"] = WorkerState("south", "1", 6, load=0.1, calm=every(world))
    hosts.run(30)
    leases.drain("north", True)
    asked = hosts.run(30)
    assert hosts.spread() == {"north": 2, "south": 6} and {name for _camera, name in asked} == {"north"}
    assert len(asked) == len(set(asked)), "each once, and what nobody has room for is watched on"
    hosts.states["east"] = WorkerState("east", "1", 20, load=0.1, calm=every(world))
    hosts.run(10)
    assert hosts.spread()["north"] == 0 and not Outage.objects.exists()
    leases.drain("north", False)
    hosts.run(120)
    assert hosts.spread()["north"] > 0


def test_after_trouble_with_redis_nothing_moves(hosts: Hosts, world: World, redis: Any) -> None:
    hosts.states["north"] = WorkerState("north", "1", 20, load=0.1, calm=every(world))
    hosts.run(30)
    hosts.states["south"] = WorkerState("south", "1", 20, load=0.1, calm=every(world))
    redis.flushall()
    assert hosts.run(60) == [], "Redis' own clock says that it has just begun"


def test_a_worker_of_a_newer_version_is_understood(redis: Any) -> None:
    redis.sadd(WORKERS_KEY, "north")
    redis.set(worker_key("north"), '{"name": "north", "instance": "1", "capacity": 3, "colour": "green", "calm": [4]}')
    assert living_workers() == [WorkerState("north", "1", 3, calm=(4,))]
