"""Devices and programs: paired once, then frames in and faces out."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from PIL import Image

from cameras.models import Camera, CameraLease
from cameras.settings import settings_of
from cameras.sources import device_frames
from cameras.watching import leases
from cameras.watching.watch import Watch
from detection import Analyzer, Detector
from portal.devices import pairing, pushing
from portal.devices.pairing import PairingError
from portal.models import AuditEntry, DeviceToken, Pairing
from tests.cameras.footage import door_frames
from tests.cameras.watching.notes import Notes
from tests.portal_process import wait_for
from tests.worlds import World, jpeg

pytestmark = pytest.mark.django_db


@pytest.fixture
def paired(world: World) -> tuple[Camera, str]:
    """A phone at Harbour House and its token."""
    camera, token = pairing.redeem(pairing.invite(world.here, world.alice)[1], "Phone")
    CameraLease.objects.create(camera=camera)
    leases.take(camera.pk, 0, "north")
    return camera, token


@pytest.fixture
def watched(paired: tuple[Camera, str]) -> Iterator[Notes]:
    """A watch of the phone, as a worker runs it."""
    detector, notes, stop = Detector.load(), Notes(), threading.Event()
    watch = Watch(settings_of(paired[0]), 1, lambda: Analyzer(detector), notes, stop)
    thread = threading.Thread(target=watch.run)
    thread.start()
    wait_for(lambda: device_frames.ask(paired[0].pk, jpeg(), 0.5), 10, "the watch")
    yield notes
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def push(camera: int, token: str, data: bytes) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Client().post(f"/api/v1/cameras/{camera}/frames", data, content_type="image/jpeg", headers=headers)


def problem(answer: Any) -> tuple[int, str]:
    """Status and detail of a problem+json response."""
    assert answer["Content-Type"] == "application/problem+json"
    body = json.loads(answer.content)
    assert body.keys() == {"type", "title", "status", "detail"} and body["status"] == answer.status_code
    return answer.status_code, body["detail"]


# -- frames ---------------------------------------------------------------------------------------------------------


def test_a_frame_is_answered_with_the_faces_in_it(paired: tuple[Camera, str], watched: Notes) -> None:
    camera, token = paired
    frames = list(door_frames(rate=1))
    bodies = [push(camera.pk, token, frame).json() for frame in frames[2:5]]
    faces = [face for body in bodies for face in body["faces"]]
    assert faces and all(face.keys() == {"box", "label", "confidence", "key"} for face in faces)
    assert faces[0]["label"] in {"mask", "no_mask", "incorrect", "unsure"} and len(faces[0]["box"]) == 4
    assert [body["number"] for body in bodies] == sorted({body["number"] for body in bodies})


def test_where_no_worker_answers_it_says_when_to_try_again(
    paired: tuple[Camera, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from portal.api import cameras

    monkeypatch.setattr(cameras, "ANSWER_WITHIN_S", 0.2)
    answer = push(paired[0].pk, paired[1], jpeg())
    status, detail = problem(answer)
    assert status == 503 and "No worker" in detail and answer["Retry-After"] == "2"


def test_a_frame_needs_the_token_of_its_own_camera(world: World, paired: tuple[Camera, str]) -> None:
    camera, token = paired
    answer = push(camera.pk, "", jpeg())
    assert problem(answer)[0] == 401 and answer["WWW-Authenticate"] == "Bearer"
    assert problem(push(camera.pk, token + "x", jpeg()))[0] == 401
    assert problem(push(world.door.pk, token, jpeg())) == (403, "This token is valid for another camera only.")
    assert device_frames.newest_frame(world.door.pk) is None and device_frames.newest_frame(camera.pk) is None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda camera: pairing.revoke(camera), 401),
        (lambda camera: Camera.objects.filter(pk=camera.pk).update(deleted_at=timezone.now()), 401),
        (lambda camera: type(camera.site).objects.update(archived_at=timezone.now()), 401),
        (lambda camera: Camera.objects.filter(pk=camera.pk).update(paused=True), 409),
    ],
    ids=["revoked", "deleted", "archived", "paused"],
)
def test_a_token_is_good_while_its_camera_is(paired: tuple[Camera, str], change: Any, status: int) -> None:
    change(paired[0])
    assert problem(push(paired[0].pk, paired[1], jpeg()))[0] == status
    assert device_frames.newest_frame(paired[0].pk) is None


def picture(kind: str, size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("L", size).save(out, kind, quality=1)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"", 415, "must be a JPEG"),
        (b"no picture", 415, "must be a JPEG"),
        (jpeg()[:60], 415, "must be a JPEG"),
        (picture("PNG", (64, 64)), 415, "must be a JPEG"),
        (b"\xff" * (pushing.MOST_BYTES + 1), 413, "512 KB"),
        (picture("JPEG", (7000, 5000)), 413, "3840x2160"),
        (picture("JPEG", (200, 1)), 415, "16 pixels"),
    ],
    ids=["empty", "text", "cut", "png", "heavy", "large", "thin"],
)
def test_a_frame_that_is_none_is_refused_before_it_is_opened(
    paired: tuple[Camera, str], data: bytes, status: int, says: str
) -> None:
    found = problem(push(paired[0].pk, paired[1], data))
    assert found[0] == status and says in found[1]
    assert device_frames.newest_frame(paired[0].pk) is None


def test_who_pushes_too_fast_is_told_to_wait(
    paired: tuple[Camera, str], watched: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = jpeg(160, 90)
    answers = [push(paired[0].pk, paired[1], frame) for _ in range(40)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert "5 frames a second" in problem(refused)[1] and refused["Retry-After"] == "1"
    assert {answer.status_code for answer in answers} == {200, 429}
    wait_for(lambda: push(paired[0].pk, paired[1], frame).status_code == 200, 3, "the next second")


def test_a_frame_costs_one_query(
    paired: tuple[Camera, str], watched: Notes, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with django_assert_num_queries(1):
        assert push(paired[0].pk, paired[1], jpeg()).status_code == 200


# -- state ----------------------------------------------------------------------------------------------------------


def test_a_camera_says_how_it_is(world: World, paired: tuple[Camera, str]) -> None:
    camera, token = paired
    headers = {"Authorization": f"Bearer {token}"}
    body = Client().get(f"/api/v1/cameras/{camera.pk}", headers=headers).json()
    assert body["name"] == "Phone" and body["site"] == "Harbour House" and body["frames_per_second"] == 5
    assert body["state"] and body["meaning"] and body["remedy"]
    assert problem(Client().get(f"/api/v1/cameras/{world.door.pk}", headers=headers))[0] == 403
    assert problem(Client().get(f"/api/v1/cameras/{camera.pk}"))[0] == 401


# -- pairing --------------------------------------------------------------------------------------------------------


def redeem(secret: str, name: str = "Phone") -> Any:
    return Client().post("/api/v1/pair", {"secret": secret, "name": name}, content_type="application/json")


def test_a_program_pairs_itself_and_is_a_camera_of_that_site(world: World) -> None:
    made, secret = pairing.invite(world.here, world.alice)
    answer = redeem(secret, "Lobby  robot")
    assert answer.status_code == 201
    body = answer.json()
    camera = Camera.objects.get(pk=body["camera"])
    assert (camera.name, camera.kind, camera.site) == ("Lobby robot", "device", world.here)
    assert body["site"] == "Harbour House" and pairing.camera_of(body["token"]) == camera
    made.refresh_from_db()
    assert made.camera == camera and made.redeemed_at
    entry = AuditEntry.objects.get(action="device-paired")
    assert entry.subject == "Lobby robot" and entry.site_id == world.here.pk


def test_a_link_is_good_once_and_for_ten_minutes(world: World) -> None:
    secret = pairing.invite(world.here, world.alice)[1]
    assert redeem(secret).status_code == 201
    assert problem(redeem(secret)) == (
        410,
        "This link has already been used, or is older than ten minutes. Ask for a new one.",
    )
    made, late = pairing.invite(world.here, world.alice)
    assert made.expires_at - made.made_at <= timedelta(minutes=10, seconds=1)
    Pairing.objects.filter(pk=made.pk).update(expires_at=timezone.now())
    assert problem(redeem(late))[0] == problem(redeem("nonsense"))[0] == 410
    assert Camera.objects.filter(kind="device").count() == 1


def test_a_link_of_who_manages_the_site_no_more_is_void(world: World) -> None:
    secret = pairing.invite(world.here, world.alice)[1]
    world.alice.memberships.all().delete()
    with pytest.raises(PairingError):
        pairing.redeem(secret, "Phone")


def test_secrets_and_tokens_are_not_in_the_database(world: World) -> None:
    secret = pairing.invite(world.here, world.alice)[1]
    _camera, token = pairing.redeem(secret, "Phone")
    kept = str([*Pairing.objects.values_list(), *DeviceToken.objects.values_list()])
    assert secret not in kept and token not in kept and len(token) >= 40


def test_the_second_phone_gets_another_name(world: World) -> None:
    names = [pairing.redeem(pairing.invite(world.here, world.alice)[1], "Phone")[0].name for _ in range(3)]
    assert names == ["Phone", "Phone 2", "Phone 3"]
    assert pairing.redeem(pairing.invite(world.here, world.alice)[1], " ")[0].name == "Phone 4"


def test_a_name_keeps_what_can_be_shown_of_it(world: World) -> None:
    camera, _token = pairing.redeem(pairing.invite(world.here, world.alice)[1], "Ro\0bot\n\u202e one")
    assert camera.name == "Robot one"


def test_a_link_for_a_camera_that_is_deleted_meanwhile_is_void(paired: tuple[Camera, str], world: World) -> None:
    camera, _token = paired
    secret = pairing.invite(world.here, world.alice, camera)[1]
    Camera.objects.filter(pk=camera.pk).update(deleted_at=timezone.now())
    assert problem(redeem(secret))[0] == 410


def test_who_tries_many_links_is_slowed_down(world: World) -> None:
    answers = [redeem("guess") for _ in range(12)]
    assert [problem(answer)[0] for answer in answers].count(429) == 2 and answers[-1]["Retry-After"] == "60"


@pytest.mark.parametrize("body", ["", "[]", "{", '{"secret": 7}', '{"name": "x"}', '{"secret": "' + "x" * 200 + '"}'])
def test_a_body_that_is_none_is_a_problem_in_words(world: World, body: str) -> None:
    answer = Client().post("/api/v1/pair", body, content_type="application/json")
    assert problem(answer)[0] in {400, 422}


def test_the_api_describes_itself_to_who_is_signed_in(world: World, sign_in: Any) -> None:
    client = sign_in(world.vera)
    paths = client.get("/api/openapi.json").json()["paths"]
    assert {"/api/v1/pair", "/api/v1/cameras/{camera_id}", "/api/v1/cameras/{camera_id}/frames"} <= set(paths)
    page = client.get("/api/docs")
    assert page.status_code == 200 and b"swagger-ui" in page.content and b"cdn" not in page.content.lower()
    assert Client().get("/api/docs").status_code == 302
