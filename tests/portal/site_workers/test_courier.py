"""What a worker at a site does while the portal answers oddly: nothing is lost, nothing is sent for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.utils import timezone

from cameras.models import Camera, Outage, Reign
from cameras.redis import connection
from cameras.watching.spool import Record, SpoolWriter, read_records
from detection import make_key
from portal.events import outgoing, recorder
from portal.models import Passage, Reminder
from portal.people import site_workers
from portal.site_workers.courier import REMINDER_TRIES, AwayError, Courier, PortalLine
from portal.site_workers.messages import MOST_BATCH_RECORDS
from tests.portal.site_workers.conftest import Caller
from tests.worlds import World, jpeg, passage_record, violation_record

pytestmark = pytest.mark.django_db(transaction=True)


class OddPortal:
    """Answers as it is told, and notes what it was sent."""

    def __init__(self) -> None:
        self.status: Callable[[bytes], int] = lambda body: 200
        self.batches: list[list[Record]] = []
        self.asked: list[str] = []
        self.answer = b"{}"
        portal = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = portal.status(body)
                portal.asked.append(self.path.rpartition("/")[2])
                if status == 200 and self.path.endswith("/findings"):
                    portal.batches.append([record for record, _position in read_records(BytesIO(body))])
                self.send_response(status)
                self.send_header("Content-Length", str(len(portal.answer)))
                self.end_headers()
                self.wfile.write(portal.answer)

            def log_message(self, *given: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]


@pytest.fixture
def odd() -> Iterator[OddPortal]:
    portal = OddPortal()
    yield portal
    portal.server.shutdown()
    portal.server.server_close()


@pytest.fixture
def courier(odd: OddPortal, settings: Any, tmp_path: Path, world: World) -> Courier:
    settings.DATA_DIR, settings.PORTAL = tmp_path, "http://127.0.0.1"
    outgoing.write_tokens(outgoing.root(), {world.door.pk: 5})
    return Courier(PortalLine(f"http://127.0.0.1:{odd.server.server_address[1]}", "worker_x", ""))


def seen(world: World, count: int) -> list[Record]:
    return [passage_record(world.door, make_key(time.time()), token=1) for _ in range(count)]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502])
def test_whatever_a_proxy_or_an_older_portal_answers_all_of_it_waits(
    world: World, courier: Courier, odd: OddPortal, status: int
) -> None:
    records = seen(world, 3)
    outgoing.keep(records)
    odd.status = lambda body: status
    with pytest.raises(AwayError):
        courier.send_findings()
    assert len(outgoing.waiting(outgoing.root())) == 1
    odd.status = lambda body: 200
    assert not courier.send_findings()
    assert [each.body["key"] for each in odd.records] == [each.body["key"] for each in records]
    assert {each.token for each in odd.records} == {5} and not outgoing.waiting(outgoing.root())


def test_what_the_portal_never_takes_is_set_aside_and_blocks_nothing(
    world: World, courier: Courier, odd: OddPortal, tmp_path: Path
) -> None:
    good, bad, other = seen(world, 3)
    outgoing.keep([good, bad, other])
    odd.status = lambda body: 422 if str(bad.body["key"]).encode() in body else 200
    assert not courier.send_findings()
    assert [each.body["key"] for each in odd.records] == [good.body["key"], other.body["key"]]
    (path,) = (tmp_path / "refused").glob("*.log")
    with path.open("rb") as file:
        assert [record.body["key"] for record, _position in read_records(file)] == [bad.body["key"]]


def test_much_goes_in_many_calls_that_are_each_soon_over(world: World, courier: Courier, odd: OddPortal) -> None:
    picture = jpeg(1600, 900) + bytes(600_000)
    for _file in range(6):
        outgoing.keep(seen(world, 50))
        passage = make_key(time.time())
        outgoing.keep([violation_record(world.door, make_key(time.time()), passage, 1, picture=picture)] * 3)
    calls = 1
    while courier.send_findings():
        calls += 1
        assert courier.stopping.is_set() is False
    assert len(odd.records) == 6 * 53 and calls > 2
    assert max(len(batch) for batch in odd.batches) <= MOST_BATCH_RECORDS


def test_a_batch_that_comes_again_as_the_database_failed_is_kept_once(
    world: World, courier: Courier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(tmp_path / "spool" / "mini.1")
    reader = recorder.Recorder(writer, tmp_path / "spool", tmp_path / "refused")
    for record in seen(world, 4):
        writer.put(record, is_urgent=True)

    def fail(*given: object) -> None:
        raise OSError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "apply", fail)
        for _try in range(5):
            with pytest.raises(OSError, match="not now"):
                reader.step()
    assert sum(len(outgoing.read(path)) for path in outgoing.waiting(outgoing.root())) == 4
    writer.put(seen(world, 1)[0], is_urgent=True)
    while reader.step():
        pass
    assert sum(len(outgoing.read(path)) for path in outgoing.waiting(outgoing.root())) == 5
    writer.close()
    writer.unlock()


def test_what_a_door_said_waits_for_what_was_seen_before_it_and_for_nothing_else(
    world: World, courier: Courier, odd: OddPortal
) -> None:
    values = {"site": world.here, "camera": world.door, "text": "!", "language": "en", "output": "call"}
    now = timezone.now()
    Reminder.objects.create(step="trial", decided_at=now - timedelta(seconds=5), **values)
    outgoing.keep(seen(world, 1))
    Reminder.objects.create(step="trial", decided_at=now + timedelta(seconds=5), **values)
    courier.send_reminders()
    courier.send_reminders()
    assert odd.asked == ["reminders"] and len(courier._said) == 1, "told once, and the later one not yet"
    courier.send_findings()
    courier.send_reminders()
    assert odd.asked == ["reminders", "findings", "reminders"]


def test_what_a_door_said_to_somebody_unknown_there_is_told_again_but_not_for_ever(
    world: World, courier: Courier, odd: OddPortal
) -> None:
    values = {"site": world.here, "camera": world.door, "text": "!", "language": "en", "output": "call"}
    early = Reminder.objects.create(step="trial", decided_at=timezone.now() - timedelta(seconds=9), **values)
    odd.answer = json.dumps({"reminders": [str(early.pk)]}).encode()
    courier.send_reminders()
    courier.send_reminders()
    assert odd.asked == ["reminders"] * 2
    odd.answer = b"{}"
    courier.send_reminders()
    courier.send_reminders()
    assert odd.asked == ["reminders"] * 3, "taken now"
    never = Reminder.objects.create(step="trial", decided_at=timezone.now() - timedelta(seconds=5), **values)
    odd.answer = json.dumps({"reminders": [str(never.pk)]}).encode()
    for _round in range(2 * REMINDER_TRIES):
        courier.send_reminders()
    assert len(odd.asked) == 3 + REMINDER_TRIES


def test_without_a_stream_worker_it_takes_no_camera(world: World, courier: Courier) -> None:
    told = courier._told()
    assert told.capacity == 0 and told.trouble


# -- at the portal --------------------------------------------------------------------------------------------------


def test_a_new_key_of_the_same_machine_brings_what_the_old_one_could_not(world: World, caller: Caller) -> None:
    token = caller.hold(world.door)
    record = passage_record(world.door, make_key(time.time()), token)
    site_workers.revoke(caller.worker)
    fresh = Caller(*site_workers.make(world.here, "Mini again"))
    assert fresh.post("/findings", record.encode()).status_code in {200, 422}
    fresh.hold(world.door)
    early = passage_record(
        world.door, make_key(time.time()), token, started_at=time.time() - 60, last_seen_at=time.time() - 59
    )
    assert fresh.post("/findings", early.encode()).status_code == 200
    assert Passage.objects.filter(pk=early.body["key"]).exists()


def test_an_outage_that_is_told_again_is_no_second_one(world: World, caller: Caller) -> None:
    token = caller.hold(world.door)
    Outage.objects.all().delete()
    at = time.time()
    base = {"camera": world.door.pk, "token": token}
    pair = [
        Record(base | {"kind": "outage", "began_at": at - 60, "reason": "No answer.", "at": at - 40}),
        Record(base | {"kind": "recovered", "ended_at": at - 10, "at": at}),
    ]
    for _twice in range(2):
        assert caller.post("/findings", b"".join(each.encode() for each in pair)).status_code == 200
    assert Outage.objects.count() == 1 and Outage.objects.get().ended_at


def test_one_batch_at_a_time_of_so_many_records(world: World, caller: Caller) -> None:
    token = caller.hold(world.door)
    record = passage_record(world.door, make_key(time.time()), token)
    too_many = record.encode() * (MOST_BATCH_RECORDS + 1)
    assert caller.post("/findings", too_many).status_code == 422
    connection().set(f"site-worker-batch:{caller.worker.pk}", b"1", ex=5)
    assert caller.post("/findings", record.encode()).status_code == 429


@pytest.mark.parametrize("change", [{"label": "<b>"}, {"confidence": float("inf")}, {"started_at": float("nan")}])
def test_what_no_worker_of_ours_says_is_not_recorded(world: World, caller: Caller, change: dict[str, Any]) -> None:
    token = caller.hold(world.door)
    Reign.objects.filter(camera=world.door, token=token).update(taken_at=timezone.now() - timedelta(minutes=1))
    caller.post("/findings", passage_record(world.door, make_key(time.time()), token, **change).encode())
    assert not Passage.objects.exists() and Camera.objects.exists()
