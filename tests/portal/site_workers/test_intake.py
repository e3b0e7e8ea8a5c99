"""What a worker at a site may say and hear: all of its own site, and nothing of any other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cameras import tasks
from cameras.models import Camera, CameraLease, Outage, ProbeRequest, Reign
from cameras.reach.credentials import seal
from cameras.reach.place import Place
from cameras.redis import connection, lease_key, looked_at_key, preview_key
from cameras.setup import probe
from cameras.states import CameraState
from cameras.watching import counts, health, leases, preview, seen
from cameras.watching.leases import Reconciler, WorkerState
from detection import make_key
from portal.models import ErasedPassage, Passage, Reminder, SitePhrase, Violation, Voice
from portal.people import site_workers
from portal.site_workers.courier import grown
from portal.voice import outputs
from tests.portal.site_workers.conftest import Caller
from tests.worlds import World, jpeg, passage_record, violation_record

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_round_holds_the_lease_and_tells_what_the_worker_needs(world: World, caller: Caller) -> None:
    Camera.objects.filter(pk=world.door.pk).update(kind="rtsp", address="rtsp://10.0.0.9/1", sealed_password=seal("pw"))
    Voice.objects.create(camera=world.door, output="call", url="http://10.0.0.8/say", sealed_password=seal("said"))
    SitePhrase.objects.create(site=world.here, language="en", phrase="no_mask", text="Masks, please!")
    token = caller.hold(world.door)
    told = caller.round().json()["settings"]
    assert [(each["id"], each["token"], each["password"]) for each in told["cameras"]] == [(world.door.pk, token, "pw")]
    assert told["cameras"][0]["voice"]["password"] == "said"
    assert told["phrases"][0]["text"] == "Masks, please!"
    assert not leases.alive_leases([(world.door.pk, caller.worker.worker_name, token)]), "it does not watch it yet"
    at = {"camera": world.door.pk, "left_s": 9, "age_s": 0.5}
    online = {"camera": world.door.pk, "state": "online", "for_s": 4}
    caller.round(watching=[world.door.pk], seen=[at], states=[online])
    assert leases.alive_leases([(world.door.pk, caller.worker.worker_name, token)])
    assert abs((seen.last_at(world.door.pk) or 0) - time.time() + 0.5) < 2
    lease = CameraLease.objects.get(camera=world.door)
    assert lease.state == CameraState.ONLINE and timezone.now() - (lease.state_since or timezone.now()) > timedelta(
        seconds=3
    )


def test_settings_are_sent_once_and_again_when_they_change(world: World, caller: Caller) -> None:
    from portal.site_workers.settings import digest

    caller.hold(world.door)
    known = digest(caller.round().json()["settings"])
    assert caller.round(settings=known).json()["settings"] is None
    Camera.objects.filter(pk=world.door.pk).update(analyses_per_second=3)
    assert caller.round(settings=known).json()["settings"]["cameras"][0]["analyses_per_second"] == 3


def test_a_round_costs_the_same_however_many_cameras_there_are(world: World, caller: Caller) -> None:
    def cost() -> int:
        with CaptureQueriesContext(
            database,
        ) as asked:
            assert caller.round().status_code == 200
        return len(asked)

    caller.hold(world.door)
    caller.round()
    before = cost()
    for number in range(5):
        camera = Camera.objects.create(site=world.here, name=f"More {number}", kind="rtsp", address="rtsp://10.0.0.9/2")
        CameraLease.objects.create(camera=camera)
        caller.hold(camera)
    assert cost() == before <= 10


def test_a_stolen_key_reads_and_writes_nothing_of_another_site(
    world: World, caller: Caller, caller_at: Callable[..., Caller]
) -> None:
    other = caller_at(world.there, "Elsewhere")
    Camera.objects.filter(pk=world.hall.pk).update(
        sealed_password=seal("of the other site"), address="rtsp://10.9.9.9/1"
    )
    token = other.hold(world.hall)
    caller.hold(world.door)
    asked = probe.ask(world.there.pk, world.charlie.pk, probe.Typed(Place("rtsp", "rtsp://10.9.9.9/1", "u", "typed")))
    passage, key = make_key(time.time()), make_key(time.time())
    hall = world.hall.pk
    record = passage_record(world.hall, passage, token)

    told = caller.round(watching=[hall], seen=[{"camera": hall, "left_s": 60, "age_s": 0}],
                        states=[{"camera": hall, "state": "offline", "detail": "lies"}])  # fmt: skip
    assert told.status_code == 200
    for secret in ("of the other site", "10.9.9.9", "typed", world.there.name):
        assert secret not in told.content.decode()
    assert CameraLease.objects.get(camera=world.hall).state_detail == "" and seen.last_at(hall) is None
    assert connection().get(lease_key(hall)) is None

    for given in (record, violation_record(world.hall, key, passage, token)):
        caller.post("/findings", given.encode())
    assert not Passage.objects.exists() and not Violation.objects.exists()
    shown = b"\x00\x00\x00\x1f" + json.dumps({"camera": hall, "number": 1}).encode().ljust(31) + jpeg()
    assert caller.post(f"/previews/{hall}", shown).status_code == 422
    assert connection().get(preview_key(hall)) is None
    assert caller.send(f"/tests/{asked.pk}", report=probe.Report(done=True).encode()).status_code == 422
    assert caller.post(f"/tests/{asked.pk}/picture", jpeg()).status_code == 422
    said = {"id": str(key), "camera": hall, "step": "first", "text": "!", "language": "en", "output": "call",
            "decided_at": timezone.now().isoformat()}  # fmt: skip
    caller.send("/reminders", reminders=[said])
    assert not Reminder.objects.exists()
    assert ProbeRequest.objects.get(pk=asked.pk).sealed, "not taken from the worker that it is for"


def test_its_key_opens_nothing_else(world: World, caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.key}"}
    for address in ("/api/v1/sites", f"/api/v1/sites/{world.here.pk}/violations", f"/api/v1/cameras/{world.door.pk}"):
        assert Client().get(address, headers=headers).status_code in {401, 404}
    assert "site-worker" not in Client().get("/api/openapi.json").content.decode()


@pytest.mark.parametrize("key", ["", "worker_", "worker_" + 43 * "x", "masks_" + 43 * "x"])
def test_without_a_valid_key_nothing_is_said(caller: Caller, key: str) -> None:
    caller.key = key
    assert caller.round().status_code == 401


def test_a_key_that_was_revoked_is_valid_no_more_and_its_cameras_are_free(world: World, caller: Caller) -> None:
    caller.hold(world.door)
    site_workers.revoke(caller.worker)
    assert caller.round().status_code == 401
    assert CameraLease.objects.get(camera=world.door).worker == ""
    world.here.refresh_from_db()
    assert not world.here.has_workers, "the portal's own watch it again"


def test_two_machines_with_one_key_are_told_so(caller: Caller) -> None:
    assert caller.round(instance="one").status_code == 200
    answer = caller.round(instance="two")
    assert answer.status_code == 409 and "key of its own" in answer.json()["detail"]


def test_findings_are_recorded_once_with_their_own_times(world: World, caller: Caller) -> None:
    token = caller.hold(world.door)
    at = time.time() - 0.2
    Reign.objects.filter(camera=world.door, token=token).update(taken_at=timezone.now() - timedelta(minutes=1))
    passage, key = make_key(at), make_key(at)
    times: dict[str, Any] = {"started_at": at, "last_seen_at": at}
    batch = passage_record(world.door, passage, token, **times).encode()
    batch += violation_record(world.door, key, passage, token, **times).encode()
    for _twice in range(2):
        assert caller.post("/findings", batch).json() == {"recorded": 2}
    found = Violation.objects.get()
    assert abs(found.started_at.timestamp() - at) < 0.001 and found.passage_id == passage


def test_what_was_seen_until_the_worker_heard_of_its_new_token_counts(world: World, caller: Caller) -> None:
    """The line was cut, so it was given its own camera again, and says what it sees under the token before."""
    first = caller.hold(world.door)
    second = caller.hold(world.door)
    passage = make_key(time.time())
    late = passage_record(world.door, passage, first, started_at=time.time() - 5, last_seen_at=time.time() + 0.1)
    assert caller.post("/findings", late.encode()).status_code == 200
    found = Passage.objects.get()
    assert (found.token, found.ended_at) == (second, None)


def test_what_it_saw_while_another_worker_held_the_camera_does_not_count(
    world: World, caller: Caller, caller_at: Callable[..., Caller]
) -> None:
    first = caller.hold(world.door)
    caller_at(world.here, "Second").hold(world.door)
    caller.hold(world.door)
    caller.post("/findings", passage_record(world.door, make_key(time.time()), first).encode())
    assert not Passage.objects.exists()


def test_a_watch_that_began_again_there_leaves_nothing_open(world: World, caller: Caller) -> None:
    """Its own workers take over from each other; we know of one token for all of them."""
    token = caller.hold(world.door)
    old, stays, new = (make_key(time.time()) for _ in range(3))
    at = time.time()
    body: dict[str, Any] = {"started_at": at, "last_seen_at": at}
    reign = {"kind": "reign", "camera": world.door.pk, "token": token, "at": at + 0.5, "goes_on": [str(stays)]}
    batch = [passage_record(world.door, key, token, **body).encode() for key in (old, stays)]
    batch += [type(passage_record(world.door, old))(reign).encode()]
    batch += [passage_record(world.door, new, token, started_at=at + 1, last_seen_at=at + 1).encode()]
    for _twice in range(2):
        assert caller.post("/findings", b"".join(batch)).status_code == 200
    assert set(Passage.objects.filter(ended_at=None).values_list("pk", flat=True)) == {stays, new}


@pytest.mark.parametrize("body", [b"x", b"\x00\x00\x00\x05\x00\x00\x00\x00abcde", jpeg()])
def test_a_batch_that_is_none_is_refused(caller: Caller, body: bytes) -> None:
    assert caller.post("/findings", body).status_code == 422


def test_a_picture_that_is_none_is_not_stored(world: World, caller: Caller) -> None:
    token = caller.hold(world.door)
    passage, key = make_key(time.time()), make_key(time.time())
    given = violation_record(world.door, key, passage, token, picture=b"<svg onload=alert(1)>")
    assert caller.post("/findings", given.encode()).status_code == 422


def test_an_outage_of_the_line_alone_is_none_of_the_camera(world: World, caller: Caller) -> None:
    caller.hold(world.door)
    Outage.objects.all().delete()  # as another worker held it before
    began = timezone.now() - timedelta(seconds=30)
    Outage.objects.create(camera=world.door, began_at=began, reason="The worker that watched it ended.")
    caller.round(states=[{"camera": world.door.pk, "state": "online", "for_s": 3, "well_s": 300}])
    assert not Outage.objects.exists(), "it was online there all the time"
    Outage.objects.create(camera=world.door, began_at=began, reason="No answer.")
    caller.round(states=[{"camera": world.door.pk, "state": "online", "for_s": 5, "is_out": True, "well_s": 0}])
    assert Outage.objects.get().ended_at is None, "not steady yet"
    caller.round(states=[{"camera": world.door.pk, "state": "online", "for_s": 3, "well_s": 15}])
    ended = Outage.objects.get().ended_at
    assert ended is not None and timedelta(seconds=13) < timezone.now() - ended < timedelta(seconds=20)


def test_who_looks_gets_its_live_pictures(world: World, caller: Caller) -> None:
    caller.hold(world.door)
    assert caller.round().json()["looked_at"] == []
    connection().set(looked_at_key(world.door.pk), "1", ex=5)
    assert caller.round().json()["looked_at"] == [{"camera": world.door.pk, "pixelated": False}]
    header = json.dumps({"camera": world.door.pk, "token": 1, "number": 7, "captured_at": 1.0, "faces": []}).encode()
    shown = len(header).to_bytes(4, "big") + header + jpeg()
    assert caller.post(f"/previews/{world.door.pk}", shown, pixelated="false").status_code == 204
    assert connection().get(preview_key(world.door.pk)) == shown
    assert preview.read_picture(shown) == jpeg()


def test_a_paused_camera_is_given_back_with_the_next_round(world: World, caller: Caller) -> None:
    caller.hold(world.door)
    Camera.objects.filter(pk=world.door.pk).update(paused=True)
    assert caller.round().json()["settings"]["cameras"] == []
    lease = CameraLease.objects.get(camera=world.door)
    assert (lease.worker, lease.state) == ("", CameraState.PAUSED)


def test_a_camera_of_such_a_site_goes_to_its_workers_alone_and_a_phone_to_the_portals(
    world: World, caller: Caller
) -> None:
    phone = Camera.objects.create(site=world.here, name="Phone", kind="device")
    Camera.objects.filter(pk=world.hall.pk).update(deleted_at=timezone.now())
    leases.release_all("north")
    leases.announce(WorkerState("north", "n", 8))
    rung: list[tuple[str, int]] = []
    reconciler = Reconciler("north", "n", lambda worker, camera, _token: rung.append((worker, camera)))
    connection().set("era", "0")
    reconciler.step()
    assert rung == [("north", phone.pk)], "the other waits for a worker at its site"
    assert "worker at this site" in leases.why_waiting(world.here.pk, True, leases.living_workers())
    caller.round()
    reconciler.step()
    assert CameraLease.objects.get(camera=world.door).worker == caller.worker.worker_name
    assert rung == [("north", phone.pk)], "nobody rings at a worker that calls by itself"


def test_where_no_other_worker_is_left_the_job_worker_hands_out(world: World, caller: Caller) -> None:
    from portal.events import camera_states

    leases.release_all("north")
    caller.round()
    connection().set("era", "0")
    camera_states.hand_out_at_sites()
    assert CameraLease.objects.get(camera=world.door).worker == caller.worker.worker_name
    assert CameraLease.objects.get(camera=world.hall).worker == "", "of another site"


def test_a_test_of_a_camera_goes_to_the_site_and_its_report_comes_back(world: World, caller: Caller) -> None:
    caller.round()
    asked = probe.ask(world.here.pk, world.alice.pk, probe.Typed(Place("rtsp", "rtsp://10.0.0.9/1", "u", "pw")))
    assert tasks.send_probe(asked.pk, world.here.pk, at_site=True)
    (told,) = caller.round().json()["tests"]
    assert told["id"] == str(asked.pk) and probe.Typed.decode(told["typed"]).place.password == "pw"
    assert caller.round().json()["tests"] == [], "once"
    report = probe.Report(done=True, picture=True)
    report.steps[0].status, report.steps[0].text = "passed", "The address can be opened."
    assert caller.post(f"/tests/{asked.pk}/picture", jpeg()).status_code == 204
    assert caller.send(f"/tests/{asked.pk}", report=report.encode()).status_code == 204
    assert probe.read_report(asked.pk) == report and probe.read_picture(asked.pk) == jpeg()
    assert caller.send(f"/tests/{asked.pk}", report='{"steps": [{"name": "<b>"}]}').status_code == 422


def test_a_reminder_played_by_hand_is_said_at_the_site_and_what_came_of_it_is_known(
    world: World, caller: Caller
) -> None:
    caller.hold(world.door)
    caller.round()
    voice = Voice.objects.create(camera=world.door, output="call", url="http://10.0.0.8/say")
    world.door.refresh_from_db()
    reminder = Reminder.objects.create(
        site=world.here, camera=world.door, step="trial", text="Hello", language="en", output="call"
    )
    outputs.send_by_hand(reminder, voice)
    (told,) = caller.round().json()["say"]
    assert (told["id"], told["text"]) == (str(reminder.pk), "Hello")
    caller.send("/reminders", reminders=[told | {"sent_at": timezone.now().isoformat()}])
    reminder.refresh_from_db()
    assert reminder.was_said


def test_a_door_that_a_worker_at_the_site_lets_speak_is_left_to_it(world: World, caller: Caller) -> None:
    """We would not reach its loudspeaker; what it said comes with its findings, and of erased people nothing."""
    Voice.objects.create(camera=world.door, output="call", url="http://10.0.0.8/say")
    Camera.objects.filter(pk=world.door.pk).update(reminder_after_s=0)
    token = caller.hold(world.door)
    at = time.time()
    passage, key = make_key(at), make_key(at)
    for given in (passage_record(world.door, passage, token), violation_record(world.door, key, passage, token)):
        caller.post("/findings", given.encode())
    assert Violation.objects.exists() and not Reminder.objects.exists()
    said: dict[str, Any] = {
        "id": str(make_key(at)), "camera": world.door.pk, "step": "first", "text": "Hello!", "language": "en",
        "output": "call", "passage": str(passage), "violation": str(key), "decided_at": timezone.now().isoformat(),
        "sent_at": timezone.now().isoformat(),
    }  # fmt: skip
    for _twice in range(2):
        assert caller.send("/reminders", reminders=[said]).json() == {"reminders": []}
    assert Reminder.objects.get().violation_id == key
    unknown = make_key(at)
    ErasedPassage.objects.create(pk=unknown, site=world.here)
    other = said | {"id": str(make_key(at)), "passage": str(unknown)}
    assert caller.send("/reminders", reminders=[other]).json() == {"reminders": [other["id"]]}
    assert Reminder.objects.count() == 1


def test_what_its_watches_count_is_added_to_ours_of_its_own_cameras(world: World, caller: Caller) -> None:
    caller.hold(world.door)
    here, there, hour = world.door.pk, world.hall.pk, health.hour_of(time.time())
    mine = {f"frames|{here}|analysed": 5, f"reconnects|{here}": 1}
    others = {f"frames|{there}|analysed": 5, f"frames|{here}|lies": 5, "violations|1": 5, "frames||": 1, "": 1}
    own = {f"{hour}|{here}|analysed": 7}
    connection().hset("metrics", "reaction|sum", "0.25")  # others count there, too
    for _twice in range(2):
        caller.round(counts=mine | others, health=own | {f"{hour}|{there}|analysed": 7, f"{hour + 9}|{here}|cpu": 1})
    assert counts.read_counts() == {field: 2 * value for field, value in mine.items()}
    assert health.read_sums() == {f"{hour}|{here}|analysed": 14}


def test_counts_that_began_again_are_added_whole() -> None:
    assert grown({"a": 5, "b": 3, "c": 1}, {"a": 7, "b": 2, "c": 1, "d": 4}) == {"a": 2, "b": 2, "d": 4}
