"""Programs and people read through the API what they may, and nothing else."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cameras.models import Camera, CameraLease, Outage, Site
from cameras.redis import Errors
from portal.api import callers, waiting
from portal.events.keyset import behind, cursor_of, read_cursor
from portal.events.review import review
from portal.figures.hours import count_new
from portal.figures.reports import report
from portal.models import AuditEntry, Passage, Program, User, Violation
from portal.people import programs
from tests.conftest import ROOT
from tests.portal.api.test_api import problem
from tests.portal_process import wait_for
from tests.worlds import World, see

pytestmark = pytest.mark.django_db
Get = Callable[..., Any]
SignIn = Callable[[User], Client]


def token(site: Site, *rights: str, by: User) -> str:
    return programs.make(site, "Screen", rights, by)[1]


def reader(key: str) -> Get:
    """Asks with this token."""

    def get(path: str, **params: object) -> Any:
        given = {name: str(value) for name, value in params.items()}
        return Client().get(f"/api/v1{path}", given, headers={"Authorization": f"Bearer {key}"})

    return get


@pytest.fixture
def get(world: World) -> Get:
    """A program at Harbour House that may read everything, faces included."""
    return reader(token(world.here, "violations", "pictures", by=world.alice))


def post(key: str, path: str, **body: object) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    return Client().post(f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=headers)


# -- what is read -----------------------------------------------------------------------------------------------------


def test_a_program_reads_its_site_and_no_other(world: World, get: Get) -> None:
    here, there = see(world.door), see(world.hall)
    Outage.objects.create(camera=world.door, began_at=timezone.now(), reason="It is off.")
    Outage.objects.create(camera=world.hall, began_at=timezone.now(), reason="It is off.")
    assert [site["name"] for site in get("/sites").json()] == ["Harbour House"]
    assert [camera["name"] for camera in get("/cameras").json()] == ["Front door"]
    assert [row["id"] for row in get("/violations").json()["items"]] == [str(here.pk)]
    assert [row["id"] for row in get("/passages").json()["items"]] == [str(here.passage_id)]
    assert [row["reason"] for row in get("/outages").json()["items"]] == ["It is off."]
    assert get(f"/violations/{here.pk}").json()["page"] == f"/violations/{here.pk}/"
    assert get(f"/violations/{here.pk}/snapshot.jpg")["Content-Type"] == "image/jpeg"
    for path in (f"/violations/{there.pk}", f"/violations/{there.pk}/snapshot.jpg"):
        assert problem(get(path))[0] == 404
    for path in ("/cameras", "/passages", "/violations", "/outages", "/figures", "/events"):
        assert problem(get(path, site=world.there.pk))[0] == 404
    assert problem(get("/figures", camera=world.hall.pk))[0] == 404


MAY = {
    ("figures",): {"/sites", "/cameras", "/outages", "/figures"},
    ("violations",): {"/sites", "/cameras", "/outages", "/figures", "/passages", "/violations", "/events"},
    (): set(),
    ("nonsense",): set(),
}


@pytest.mark.parametrize("rights", MAY)
def test_a_token_does_what_it_was_made_for(world: World, rights: tuple[str, ...]) -> None:
    get = reader(token(world.here, *rights, by=world.alice))
    paths = ("/sites", "/cameras", "/outages", "/figures", "/passages", "/violations", "/events")
    answers = {path: get(path) for path in paths}
    assert {path for path, answer in answers.items() if answer.status_code == 200} == MAY[rights]
    for path in set(paths) - MAY[rights]:
        assert problem(answers[path])[0] == 403


def test_a_picture_has_a_face_only_for_who_may_see_faces(world: World) -> None:
    found = see(world.door)
    path = f"/violations/{found.pk}/snapshot.jpg"
    faces = reader(token(world.here, "pictures", by=world.alice))(path)
    without = reader(token(world.here, "violations", by=world.alice))(path)
    assert problem(reader(token(world.here, "figures", by=world.alice))(path))[0] == 403
    pictures = [Image.open(io.BytesIO(answer.content)).convert("L") for answer in (faces, without)]
    rows = [picture.crop((290, 170, 350, 171)).tobytes() for picture in pictures]
    edges = [sum(abs(a - b) > 20 for a, b in zip(row, row[1:], strict=False)) for row in rows]
    assert edges[0] > 10 and edges[1] < 4, "a fine pattern where the face is, and squares in its place"
    assert faces["Cache-Control"] == "private, no-store"
    looked = AuditEntry.objects.filter(action="saw-picture")
    assert [entry.actor.split(" (")[0] for entry in looked] == ["Screen", "Screen"]


@pytest.mark.parametrize("key", ["", "masks_wrong", "wrong", "masks_" + "x" * 5000])
def test_a_wrong_token_reads_nothing(world: World, key: str) -> None:
    for path in ("/sites", "/violations", "/figures", "/events"):
        assert problem(reader(key)(path))[0] == 401


def test_a_revoked_token_and_one_of_an_archived_site_are_at_an_end(world: World) -> None:
    made, key = programs.make(world.here, "Screen", ["violations"], world.alice)
    assert reader(key)("/sites").status_code == 200
    programs.revoke(made)
    assert problem(reader(key)("/sites"))[0] == 401
    _made, key = programs.make(world.there, "Screen", ["violations"], world.charlie)
    Site.objects.filter(pk=world.there.pk).update(archived_at=timezone.now())
    assert problem(reader(key)("/sites"))[0] == 401


def test_a_token_is_not_stored_and_its_use_is_noted_each_minute(world: World) -> None:
    made, key = programs.make(world.here, "Screen", ["figures"], world.alice)
    assert key.startswith("masks_") and key not in json.dumps(list(Program.objects.values()), default=str)
    reader(key)("/sites")
    first = Program.objects.get(pk=made.pk).last_used_at
    reader(key)("/sites")
    assert first is not None and Program.objects.get(pk=made.pk).last_used_at == first
    Program.objects.filter(pk=made.pk).update(last_used_at=first - timedelta(minutes=2))
    reader(key)("/sites")
    assert Program.objects.get(pk=made.pk).last_used_at >= first  # type: ignore[operator]


def test_a_person_reads_what_their_pages_show_them(world: World, sign_in: SignIn) -> None:
    here, there = see(world.door), see(world.hall)
    for user, sites in ((world.root, 2), (world.alice, 1), (world.vera, 1), (world.charlie, 1), (world.stranger, 0)):
        client = sign_in(user)
        assert len(client.get("/api/v1/sites").json()) == sites
        assert len(client.get("/api/v1/violations").json()["items"]) == sites
    vera, alice = sign_in(world.vera), sign_in(world.alice)
    assert vera.get(f"/api/v1/violations/{there.pk}").status_code == 404
    path = f"/api/v1/violations/{here.pk}/snapshot.jpg"
    assert len(vera.get(path).content) != len(alice.get(path).content), "a viewer gets it pixelated"
    assert AuditEntry.objects.filter(action="saw-picture", actor__startswith="Vera").count() == 1


# -- lists ------------------------------------------------------------------------------------------------------------


def test_pages_hold_each_row_once_however_many_come_meanwhile(world: World, get: Get) -> None:
    now = time.time()
    wanted = [str(see(world.door, now - 10 * number).pk) for number in range(7)]
    path, found = "/api/v1/violations?limit=3", []
    while path:
        body = get(path.removeprefix("/api/v1")).json()
        found += [row["id"] for row in body["items"]]
        path = body["next"]
        see(world.door)  # newer than all of them
    assert found == wanted


def test_lists_are_narrowed(world: World, get: Get) -> None:
    now = time.time()
    old, new = see(world.door, now - 7200, "incorrect"), see(world.door, now)
    Violation.objects.filter(pk=old.pk).update(status="dismissed")
    since = (timezone.now() - timedelta(hours=1)).isoformat()

    def ids(**params: object) -> list[str]:
        return [row["id"] for row in get("/violations", **params).json()["items"]]

    assert ids(since=since) == ids(status="open") == ids(label="no_mask") == [str(new.pk)]
    assert ids(until=since) == ids(status="dismissed") == [str(old.pk)]
    assert ids(camera=world.door.pk) == [str(new.pk), str(old.pk)] and ids(camera=world.hall.pk) == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/violations?before=x", "before"),
        ("/violations?before=2026-01-01T00:00:00Z_7", "before"),
        ("/outages?before=2026-01-01T00:00:00Z_x", "before"),
        ("/violations?limit=0", "limit"),
        ("/violations?limit=201", "limit"),
        ("/violations?status=maybe", "status"),
        ("/violations?since=yesterday", "since"),
        ("/violations/7", "violation_id"),
        ("/figures?first=2026-02-30", "first"),
        ("/figures?first=2026-03-02&last=2026-03-01", "ends before it begins"),
        ("/figures?first=2016-03-02&last=2026-03-01", "at most"),
        ("/figures?first=0001-01-01&last=0001-01-02", "2000"),
        ("/figures?last=9999-12-31", "2000"),
        ("/figures?last=0001-01-05", "2000"),
        ("/passages?camera=99999999999999999999", "camera"),
        ("/violations?site=0", "site"),
        ("/violations?since=0001-01-01T00:00:00%2B14:00", "2000"),
        ("/outages?until=9999-12-31T23:59:59-14:00", "2000"),
        ("/events?after=-1", "after"),
        ("/events?wait=26", "wait"),
    ],
)
def test_bad_input_is_answered_with_what_to_do(world: World, get: Get, path: str, says: str) -> None:
    status, detail = problem(get(path))
    assert status == 422 and says in detail


@given(st.datetimes(), st.integers(1, 2**40))
def test_a_cursor_says_where_it_was_made(moment: Any, key: int) -> None:
    aware = moment.replace(tzinfo=timezone.get_default_timezone())
    if 2000 < aware.year < 2200:
        assert read_cursor(cursor_of(aware, key), int) == (aware, key)


@given(st.text(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_cursor_is_it_is_a_position_or_refused(text: str) -> None:
    with suppress(ValueError):
        str(behind(*read_cursor(text)))


def test_a_list_costs_as_many_queries_with_much_as_with_little(world: World, get: Get) -> None:
    def cost(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert get(path).status_code == 200
        return len(queries)

    paths = ("/sites", "/cameras", "/passages", "/violations", "/outages", "/figures", "/events")
    see(world.door)
    [cost(path) for path in paths]  # the first of an hour is noted
    few = [cost(path) for path in paths]
    for number in range(5):
        camera = Camera.objects.create(site=world.here, name=f"Camera {number}", address="x.mp4")
        CameraLease.objects.create(camera=camera)
        see(world.door)
        Outage.objects.create(camera=camera, began_at=timezone.now())
    assert [cost(path) for path in paths] == few
    assert max(few) <= 12


def test_cameras_say_how_they_are_and_what_to_do(world: World, get: Get) -> None:
    CameraLease.objects.filter(camera=world.door).update(state="offline", state_detail="It does not answer.")
    (camera,) = get("/cameras").json()
    assert (camera["state"], camera["detail"]) == ("offline", "It does not answer.") and camera["remedy"]


# -- figures ----------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_the_page(world: World, get: Get) -> None:
    now = time.time()
    for number in range(3):
        see(world.door, now - 3600 * number)
    Passage.objects.filter(pk__in=Passage.objects.values("pk")[:1]).update(label="mask")
    count_new()
    today = world.here.local(timezone.now()).date()
    body, ours = get("/figures").json(), report([world.here], today - timedelta(days=27), today)
    assert body["first"] == f"{today - timedelta(days=27)}" and body["last"] == f"{today}"
    total = body["total"]
    assert (total["mask"], total["seen"]) == (1, 3) == (ours.total.mask, ours.total.seen)
    assert total["rate"] == 0.333 and 0 < total["low"] < total["rate"] < total["high"] < 1
    assert len(body["days"]) == 28 and [len(day) for day in body["week"]] == [24] * 7
    assert sum(line["counted"]["seen"] for line in body["days"]) == 3 == sum(h["seen"] for d in body["week"] for h in d)
    assert [line["name"] for line in body["sites"]] == ["Harbour House"]
    one = get("/figures", camera=world.door.pk).json()
    assert one["total"]["seen"] == 3 and one["cameras"] == []


def test_a_site_without_cameras_has_no_rate(world: World) -> None:
    empty = Site.objects.create(name="Nobody", time_zone="UTC")
    total = reader(token(empty, "figures", by=world.alice))("/figures").json()["total"]
    assert total["seen"] == 0 and total["rate"] is total["low"] is total["high"] is total["watched"] is None


# -- review -----------------------------------------------------------------------------------------------------------


def test_a_program_reviews_and_the_log_says_which(world: World) -> None:
    found, key = see(world.door), token(world.here, "review", by=world.alice)
    path = f"/violations/{found.pk}/review"
    answer = post(key, path, status="dismissed", note="A poster", seen=found.review_version)
    assert answer.json()["status"] == "dismissed" and answer.json()["note"] == "A poster"
    row = Violation.objects.get(pk=found.pk)
    assert row.reviewed_by is None and row.reviewed_at is not None
    (entry,) = AuditEntry.objects.filter(action="reviewed")
    assert entry.actor.startswith("Screen (program ") and entry.site == "Harbour House"
    assert problem(post(key, path, status="confirmed", seen=found.review_version))[0] == 409
    assert problem(post(key, path, seen=1))[0] == 422
    assert problem(post(key, path, note="x" * 3000, seen=answer.json()["seen"]))[0] == 422
    assert problem(post(token(world.here, "pictures", by=world.alice), path, status="open", seen=1))[0] == 403
    assert problem(post(token(world.there, "review", by=world.charlie), path, status="open", seen=1))[0] == 404


def test_notes_are_for_programs_that_review(world: World) -> None:
    found = see(world.door)
    Violation.objects.filter(pk=found.pk).update(note="Ask Dora")
    for right, note in (("pictures", ""), ("review", "Ask Dora")):
        get = reader(token(world.here, right, by=world.alice))
        assert get(f"/violations/{found.pk}").json()["note"] == note
        assert get("/violations").json()["items"][0]["note"] == note
        assert get("/events").json()["items"][0]["note"] == note


def test_a_token_counts_even_where_somebody_is_signed_in(world: World, sign_in: SignIn) -> None:
    """The log says whose right it was; and a wrong token is a wrong token, whatever cookie comes along."""
    found, client = see(world.door), sign_in(world.vera)
    headers = {"Authorization": f"Bearer {token(world.here, 'pictures', by=world.alice)}"}
    client.get(f"/api/v1/violations/{found.pk}/snapshot.jpg", headers=headers)
    assert AuditEntry.objects.get(action="saw-picture").actor.startswith("Screen (program ")
    body = json.dumps({"status": "dismissed", "seen": 0})
    for headers in ({"Authorization": "Bearer masks_gone"}, {"Authorization": "Bearer "}):
        path = f"/api/v1/violations/{found.pk}/review"
        answer = Client(enforce_csrf_checks=True).post(path, body, content_type="application/json", headers=headers)
        assert problem(answer)[0] == 401


def test_a_session_reviews_only_with_the_pages_own_token(world: World, sign_in: SignIn) -> None:
    """A page of another site must not decide with somebody's cookie."""
    found = see(world.door)
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.alice, backend="django.contrib.auth.backends.ModelBackend")
    body = json.dumps({"status": "dismissed", "seen": found.review_version})
    answer = client.post(f"/api/v1/violations/{found.pk}/review", body, content_type="application/json")
    assert answer.status_code == 403 and Violation.objects.get(pk=found.pk).status == "open"


# -- limits and log ---------------------------------------------------------------------------------------------------


def test_who_calls_too_often_is_told_to_wait(world: World, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "CALLS_A_MINUTE", 3)
    answers = [get("/sites") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3]["Retry-After"] == "10"
    other = reader(token(world.here, "figures", by=world.alice))
    assert other("/sites").status_code == 200, "another program has its own"


def test_reading_goes_on_without_redis(world: World, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*given: object) -> bool:
        raise Errors[0]

    monkeypatch.setattr("portal.server.throttling.allow", away)
    assert get("/violations").status_code == 200


def test_a_program_that_reads_often_is_a_row_an_hour(world: World, get: Get) -> None:
    for _ in range(3):
        get("/violations")
        get("/passages")
    rows = AuditEntry.objects.filter(action="read-by-api")
    assert sorted(row.subject for row in rows) == ["people", "violations"]


# -- events -----------------------------------------------------------------------------------------------------------


def test_events_come_once_each_and_in_order(world: World, get: Get) -> None:
    first = get("/events").json()
    assert first["items"] == []
    made = [see(world.door) for _ in range(5)]
    number, heard = first["number"], []
    while True:
        body = get("/events", after=number, limit=2).json()
        assert len(body["items"]) <= 2 and body["number"] >= number
        if not body["items"]:
            break
        heard += [row["id"] for row in body["items"]]
        number = body["number"]
    assert heard == [str(row.pk) for row in made]
    see(world.hall)
    assert get("/events", after=number).json() == {"number": number, "items": []}


def test_a_review_of_many_is_one_event_that_comes_whole(world: World, get: Get) -> None:
    made = [see(world.door) for _ in range(5)]
    number = get("/events").json()["number"]
    review(world.alice, {row.pk: row.review_version for row in made}, "dismissed")
    body = get("/events", after=number, limit=2).json()
    assert {row["id"] for row in body["items"]} == {str(row.pk) for row in made}
    assert get("/events", after=body["number"], limit=2).json()["items"] == []


def test_whoever_has_several_sites_names_one(world: World, sign_in: SignIn) -> None:
    assert problem(sign_in(world.root).get("/api/v1/events"))[0] == 422


@pytest.fixture
def waiter(transactional_db: None, world: World, live_server: Any) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {token(world.here, 'violations', by=world.alice)}"}
    with httpx.Client(base_url=f"{live_server.url}/api/v1", headers=headers, timeout=30) as client:
        yield client


@pytest.mark.django_db(transaction=True)
def test_who_waits_is_answered_when_it_happens(world: World, waiter: httpx.Client) -> None:
    answers: list[tuple[float, Any]] = []

    def ask() -> None:
        body = waiter.get("/events", params={"after": 0, "wait": 25}).json()
        answers.append((time.monotonic(), body))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(lambda: waiting._waiting.total() == 1, 10, "the request that waits")
    happened = time.monotonic()
    found = see(world.door)
    thread.join(10)
    ((at, body),) = answers
    assert [row["id"] for row in body["items"]] == [str(found.pk)] and at - happened < 2
    assert waiting._waiting.total() == 0


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_nothing_is_answered_in_the_end(world: World, waiter: httpx.Client) -> None:
    began = time.monotonic()
    assert waiter.get("/events", params={"wait": 1}).json()["items"] == []
    assert 0.9 < time.monotonic() - began < 5


def test_not_too_many_wait_at_once(world: World, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_IN_ALL", 0)
    answer = get("/events", wait=5)
    assert problem(answer)[0] == 429 and answer["Retry-After"] == "10"


# -- documentation ----------------------------------------------------------------------------------------------------


def test_the_description_lists_what_there_is(world: World, sign_in: SignIn) -> None:
    body = sign_in(world.vera).get("/api/openapi.json").json()
    for path in ("sites", "cameras", "passages", "violations", "figures", "outages", "events"):
        assert body["paths"][f"/api/v1/{path}"]["get"]["summary"]
    assert {"ProgramBearer", "PersonSession", "CameraToken"} <= body["components"]["securitySchemes"].keys()


@pytest.mark.django_db(transaction=True)
def test_the_readmes_reader_runs_as_it_stands(world: World, live_server: Any) -> None:
    found = re.search(r"```python\n(import httpx.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found and len([line for line in found[1].splitlines() if line.strip()]) <= 10
    key = token(world.here, "violations", by=world.alice)
    code = found[1].replace("http://127.0.0.1:8000", live_server.url).replace("…", key)
    program = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == "Harbour House: 0 of 0 wore a mask\n"
        wait_for(lambda: waiting._waiting.total() == 1, 10, "the request that waits")
        seen = see(world.door)
        assert program.stdout.readline().split()[1:] == ["no_mask", "open", f"/violations/{seen.pk}/"]
    finally:
        program.kill()
        program.wait(5)
        program.stdout.close()
        wait_for(lambda: waiting._waiting.total() == 0 or see(world.door), 10, "the end of what waited")
