from __future__ import annotations

import time
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cameras.models import CameraLease
from cameras.states import CameraState
from cameras.watching import leases, uptime
from cameras.watching.spool import Record
from detection import make_key
from portal.events.recording import RefusedError, close_abandoned, moment, record
from portal.models import Passage, SiteFeed, Violation, ViolationGlimpse
from tests.worlds import World, glimpse_record, jpeg, passage_record, see, violation_record

pytestmark = pytest.mark.django_db(transaction=True)


def stored() -> list[str]:
    found: list[str] = []

    def walk(folder: str) -> None:
        try:
            folders, files = default_storage.listdir(folder or ".")
        except FileNotFoundError:
            return
        found.extend(f"{folder}/{name}" for name in files)
        for each in folders:
            walk(f"{folder}/{each}" if folder else each)

    walk("")
    return found


def keys() -> tuple[UUID, UUID]:
    return make_key(time.time()), make_key(time.time())


def test_a_finding_becomes_a_passage_and_a_violation_with_its_picture(world: World) -> None:
    violation = see(world.door)
    assert violation.passage.label == "no_mask"
    assert violation.site == world.here and violation.camera == world.door
    assert default_storage.exists(violation.snapshot.name or "")
    assert (violation.event_number, violation.opened_number) == (1, 1)
    assert SiteFeed.objects.get(site=world.here).to_review == 1


def test_recording_twice_changes_nothing(world: World) -> None:
    passage, key = keys()
    for given_record in (passage_record(world.door, passage), violation_record(world.door, key, passage)):
        record(given_record)
    before = Violation.objects.values().get(), Passage.objects.values().get(), stored()
    for given_record in (passage_record(world.door, passage), violation_record(world.door, key, passage)):
        record(given_record)
    assert (Violation.objects.values().get(), Passage.objects.values().get(), stored()) == before
    assert SiteFeed.objects.get(site=world.here).number == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations([1, 2, 3, 4]))
def test_in_whatever_order_findings_come_the_last_one_holds(world: World, order: list[int]) -> None:
    passage, key = keys()
    now = time.time()
    record(passage_record(world.door, passage))
    for seq in order:
        ended = now if seq == 4 else None
        record(violation_record(world.door, key, passage, seq=seq, confidence=seq / 10, ended_at=ended))
    found = Violation.objects.get(pk=key)
    assert (found.seq, found.confidence) == (4, 0.4)
    assert found.ended_at is not None
    assert [name for name in stored() if str(key) in name] == [found.snapshot.name]


def test_a_better_picture_replaces_the_old_one(world: World) -> None:
    violation = see(world.door)
    first = violation.snapshot.name
    record(violation_record(world.door, violation.pk, violation.passage_id, seq=2, box=[0.1, 0.1, 0.3, 0.5]))
    violation.refresh_from_db()
    assert stored() == [violation.snapshot.name] != [first]
    assert violation.box == [0.1, 0.1, 0.3, 0.5]


def test_an_update_without_a_picture_keeps_the_old_one(world: World) -> None:
    violation = see(world.door)
    record(violation_record(world.door, violation.pk, violation.passage_id, seq=2, picture=b""))
    violation.refresh_from_db()
    assert stored() == [violation.snapshot.name] and violation.seq == 2


@pytest.mark.parametrize(
    "spoil", [{"key": "none"}, {"seq": None}, {"started_at": 1e30}, {"label": 5, "confidence": "x"}]
)
def test_what_can_never_be_recorded_is_refused_with_a_reason(world: World, spoil: dict[str, object]) -> None:
    with pytest.raises(RefusedError):
        record(Record(passage_record(world.door, make_key(time.time())).body | spoil))


def test_a_violation_without_picture_or_passage_is_refused(world: World) -> None:
    passage, key = keys()
    with pytest.raises(RefusedError, match="passage"):
        record(violation_record(world.door, key, passage))
    record(passage_record(world.door, passage))
    with pytest.raises(RefusedError, match="no picture"):
        record(violation_record(world.door, key, passage, picture=b""))
    assert stored() == []


def test_a_deleted_camera_is_a_reason(world: World) -> None:
    finding = passage_record(world.door, make_key(time.time()))
    world.door.delete()
    with pytest.raises(RefusedError, match="camera is deleted"):
        record(finding)


def test_a_late_finding_counts_if_its_frame_lies_in_its_tokens_reign(world: World) -> None:
    seen_at = time.time()
    passage, key = keys()
    assert leases.take(world.door.pk, 1, "south") == 2
    record(passage_record(world.door, passage, token=1, last_seen_at=seen_at))
    record(violation_record(world.door, key, passage, token=1, last_seen_at=seen_at))
    found = Violation.objects.get(pk=key)
    assert found.ended_at == found.last_seen_at, "nobody watches under that token: it may not stay open"


def test_a_frame_from_after_the_reign_is_refused(world: World) -> None:
    leases.take(world.door.pk, 1, "south")
    with pytest.raises(RefusedError, match="held the camera"):
        record(passage_record(world.door, make_key(time.time()), token=1, last_seen_at=time.time() + 1))


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_reigns_hold_through_steps_of_the_wall_clock(
    world: World, step_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is set by an hour, and then another worker takes over: what was seen before and after it counts."""
    real, boot = time.time(), {"boot": uptime.boot_id() or "b"}
    monkeypatch.setattr(uptime, "boot_id", lambda: boot["boot"])
    ups = iter([100.0, 200.0])  # when the first and the second reign end
    monkeypatch.setattr(uptime, "uptime_s", lambda: next(ups))
    leases.take(world.door.pk, 1, "south", moment(real + step_s))

    def see_at(token: int, seen_at: float, uptime_s: float) -> None:
        body = passage_record(world.door, make_key(seen_at), token=token, last_seen_at=seen_at).body
        record(Record(body | boot | {"uptime": uptime_s}))

    leases.release(world.door.pk, 2)
    see_at(1, real - 1, 99.0)
    see_at(2, real + step_s - 5, 101.0)
    with pytest.raises(RefusedError, match="held the camera"):
        see_at(1, real - 1, 101.0)
    assert Passage.objects.count() == 2


def test_while_a_reign_lasts_its_findings_count_whatever_the_clock_says(world: World) -> None:
    for seen_at in (time.time() - 3600, time.time() + 3600):
        record(passage_record(world.door, make_key(seen_at), token=1, last_seen_at=seen_at))
    assert Passage.objects.count() == 2


def test_taking_over_closes_what_the_older_token_left_open(world: World) -> None:
    violation = see(world.door)
    assert violation.ended_at is None
    leases.take(world.door.pk, 1, "south")
    record(Record({"kind": "reign", "camera": world.door.pk, "token": 2, "at": time.time()}))
    violation.refresh_from_db()
    assert violation.ended_at == violation.last_seen_at
    assert violation.passage.ended_at == violation.passage.last_seen_at
    assert violation.event_number == 2, "open pages are told"


def test_who_stays_in_view_while_workers_change_goes_on_under_the_same_ids(world: World) -> None:
    stays, leaves = see(world.door), see(world.door)
    picture = stays.snapshot.name
    leases.take(world.door.pk, 1, "south")
    reign = {"kind": "reign", "camera": world.door.pk, "token": 2, "at": time.time()}
    record(Record(reign | {"goes_on": [str(stays.passage_id)]}))
    assert list(Violation.objects.filter(ended_at=None)) == [stays], "who is not named is gone"
    assert list(Passage.objects.filter(ended_at=None)) == [stays.passage]
    record(passage_record(world.door, stays.passage_id, token=2, seq=1001))
    spare = violation_record(world.door, stays.pk, stays.passage_id, token=2, seq=1001, picture=jpeg(90))
    record(Record(spare.body | {"snapshot_is_spare": True}, spare.picture))
    stays.refresh_from_db()
    assert (stays.token, stays.passage.token, stays.seq) == (2, 2, 1001)
    assert stays.ended_at is None and stays.snapshot.name == picture, "the better picture is there already"
    assert close_abandoned() == 0 and Violation.objects.count() == 2
    leases.take(world.door.pk, 2, "west")
    record(Record(reign | {"token": 3, "goes_on": []}))
    assert not Violation.objects.filter(ended_at=None).exists()
    assert leaves.passage_id != stays.passage_id


def test_a_spare_picture_serves_a_violation_of_which_nothing_arrived(world: World) -> None:
    """The worker that saw it begin is gone, with its disk."""
    passage, key = keys()
    record(passage_record(world.door, passage, seq=1001))
    spare = violation_record(world.door, key, passage, seq=1001)
    record(Record(spare.body | {"snapshot_is_spare": True}, spare.picture))
    assert default_storage.exists(Violation.objects.get(pk=key).snapshot.name or "")


def test_nothing_of_one_camera_is_changed_by_findings_of_another(world: World) -> None:
    theirs = see(world.door)
    record(passage_record(world.hall, theirs.passage_id, seq=5, label="mask"))
    record(violation_record(world.hall, theirs.pk, theirs.passage_id, seq=5, label="incorrect"))
    after = Violation.objects.select_related("passage").get(pk=theirs.pk)
    assert (after.label, after.passage.label, after.camera) == ("no_mask", "no_mask", world.door)
    assert stored() == [theirs.snapshot.name], "nor is a picture left behind"


def test_what_nobody_watches_any_more_is_closed_at_a_workers_start(world: World) -> None:
    left, other = see(world.door), see(world.hall)
    leases.release_all("north")
    leases.take(world.hall.pk, 1, "north")
    still = see(world.hall)
    assert close_abandoned() == 2
    assert not Violation.objects.filter(pk__in=[left.pk, other.pk], ended_at=None).exists()
    assert Violation.objects.get(pk=still.pk).ended_at is None


def test_a_state_of_a_stale_token_is_no_news(world: World) -> None:
    def say(token: int, state: CameraState) -> None:
        body = {"kind": "state", "camera": world.door.pk, "token": token, "at": time.time(), "detail": "x" * 999}
        record(Record(body | {"state": state.value}))

    say(1, CameraState.ONLINE)
    assert CameraLease.objects.get(camera=world.door).state == "online"
    leases.take(world.door.pk, 1, "south")
    say(2, CameraState.ONLINE)
    say(1, CameraState.OFFLINE)
    assert CameraLease.objects.get(camera=world.door).state == "online"


def test_the_feeds_numbers_grow_by_one_an_event_and_are_each_sites_own(world: World) -> None:
    numbers = [see(world.door).event_number for _ in range(3)] + [see(world.hall).event_number]
    assert numbers == [1, 2, 3, 1]


def test_recording_costs_the_same_however_much_was_recorded(world: World) -> None:
    from django.test.utils import CaptureQueriesContext

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            see(world.door)
        return len(queries)

    first = [cost() for _ in range(2)][1]
    for _ in range(20):
        see(world.door)
    assert cost() == first


def test_times_are_stored_as_the_frames_own(world: World) -> None:
    at = time.time() - 3600
    violation = see(world.door, at)
    assert violation.started_at == datetime.fromtimestamp(at, ZoneInfo("UTC"))


def test_a_fault_after_the_commit_keeps_the_picture(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("the channel layer stumbles")

    monkeypatch.setattr("portal.events.feed._send_violations", fail)
    violation = see(world.door)
    assert default_storage.exists(violation.snapshot.name or "")


def test_a_filmstrip_has_one_picture_a_place_and_the_newest_of_them(world: World) -> None:
    found = see(world.door)
    at = found.started_at.timestamp()
    record(glimpse_record(found, 4, at + 1))
    first = found.glimpses.get().picture.name
    record(glimpse_record(found, 4, at + 3))
    record(glimpse_record(found, 4, at + 2))
    record(glimpse_record(found, 4, at + 3))
    record(glimpse_record(found, 0, at - 1))
    rows = list(found.glimpses.order_by("place"))
    assert [(row.place, round(row.captured_at.timestamp() - at)) for row in rows] == [(0, -1), (4, 3)]
    assert set(stored()) == {found.snapshot.name, *(row.picture.name for row in rows)} and first not in stored()


def test_a_glimpse_of_a_violation_that_is_gone_or_elsewhere_leaves_nothing(world: World) -> None:
    found, other = see(world.door), see(world.hall)
    gone = glimpse_record(found)
    found.delete()
    record(gone)
    stray = glimpse_record(other)
    lease = CameraLease.objects.get(camera=world.door)
    record(Record(stray.body | {"camera": world.door.pk, "token": lease.token}, stray.picture))
    assert not ViolationGlimpse.objects.exists() and len(stored()) == 2
