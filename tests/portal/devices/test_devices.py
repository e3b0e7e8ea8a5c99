"""A device's socket, through the real stack and a real Valkey; pairing pages; who may pair and take back."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import cv2
import numpy as np
import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from cameras.models import Camera
from cameras.sources import device_frames
from cameras.states import DeviceWord
from portal.asgi import application
from portal.devices import pairing, pushing
from portal.devices.messages import DoorSettings, ToDoor
from portal.models import AuditEntry, Pairing
from tests.sockets import SocketCommunicator, closing_code, hear, run
from tests.worlds import World, jpeg

pytestmark = pytest.mark.django_db(transaction=True)


def pair(world: World, name: str = "Phone") -> tuple[Camera, str]:
    return pairing.redeem(pairing.invite(world.here, world.alice)[1], name)


@asynccontextmanager
async def device(token: str) -> AsyncIterator[SocketCommunicator]:
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", f"device={token}".encode())]
    communicator = SocketCommunicator(application, "/ws/device/", headers)
    try:
        assert await communicator.connect()
        yield communicator
    finally:
        await communicator.disconnect()


async def send(one: SocketCommunicator, data: bytes) -> None:
    await one.send_input({"type": "websocket.receive", "bytes": data})


async def word_of(camera: Camera, word: DeviceWord | None, within_s: float = 5) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while await sync_to_async(device_frames.last_word)(camera.pk) is not word:
        assert asyncio.get_running_loop().time() < deadline, f"{word} was not kept"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("base", "https", "works"),
    [
        ("https://masks.example.org", True, True),
        ("https://192.168.1.5:8000", True, True),
        ("http://192.168.1.5:8000", False, False),  # a phone's browser gives no camera to such a page
        ("https://127.0.0.1:8000", True, False),
        ("https://localhost", True, False),
        ("https://[::1]:8000", True, False),
    ],
)
def test_a_qr_code_is_shown_only_where_it_works(
    world: World, settings: Any, base: str, https: bool, works: bool
) -> None:
    settings.BASE_URL, settings.HTTPS, settings.REACHABLE = base, https, [base]
    client = Client()
    client.force_login(world.alice)
    page = client.post("/devices/add/", {"site": world.here.pk})
    link = re.search(r">(http[^<]+#[\w-]+)<", page.content.decode())
    assert link and link[1].startswith(base)
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page.content.decode())
    assert bool(found) == works
    if found:
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(found[1]), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and cv2.QRCodeDetector().detectAndDecode(picture)[0] == link[1]
    else:
        assert "banner" in page.content.decode(), "and it says why"


def test_a_loudspeaker_needs_no_https_but_must_be_reached(world: World, settings: Any) -> None:
    client = Client()
    client.force_login(world.alice)
    for base, works in (("http://192.168.1.5:8000", True), ("http://127.0.0.1:8000", False)):
        settings.BASE_URL, settings.REACHABLE = base, [base]
        page = client.post(f"/cameras/{world.door.pk}/loudspeaker/").content.decode()
        assert ("data:image/png" in page) == works, base


def test_the_address_by_which_somebody_came_is_offered_first_and_others_are_there(world: World, settings: Any) -> None:
    settings.HTTPS = True
    settings.REACHABLE = ["https://10.0.0.5:8000", "https://192.168.1.5:8000", "https://[fd00::5]:8000"]
    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(world.alice)
    page = client.post("/devices/add/", {"site": world.here.pk}, headers={"host": "192.168.1.5:8000"}).content.decode()
    links = re.findall(r">(https://[^<]+/pair/#[\w-]+)<", page)
    assert [link.partition("/pair/")[0] for link in links] == [
        "https://192.168.1.5:8000", "https://10.0.0.5:8000", "https://[fd00::5]:8000",
    ]  # fmt: skip
    shown = [base64.b64decode(code) for code in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    pictures = [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in shown]
    read = [cv2.QRCodeDetector().detectAndDecode(picture)[0] for picture in pictures if picture is not None]
    assert read == links, "each has its own code"
    settings.REACHABLE = ["https://evil.example"]
    page = client.post("/devices/add/", {"site": world.here.pk}, headers={"host": "10.9.9.9"}).content.decode()
    assert "10.9.9.9" not in page, "what a browser says of itself is no address of ours"


# -- the socket -----------------------------------------------------------------------------------------------------


def test_a_devices_frame_is_taken_and_its_answer_comes_back(world: World) -> None:
    camera, token = pair(world)

    async def test() -> None:
        async with device(token) as one:
            settings = await hear(one, "settings")
            assert settings == {
                "type": "settings",
                "camera": "Phone",
                "site": "Harbour House",
                "rate": 5,
                "paused": False,
                "speaks": True,
                "private": [],
            }
            await send(one, jpeg())
            await hear(one, "ack")
            newest = await sync_to_async(device_frames.newest_frame)(camera.pk)
            assert newest is not None and newest.jpeg == jpeg()
            await sync_to_async(device_frames.answer)(camera.pk, newest.number, [])
            answer = await hear(one, "answer")
            assert (answer["number"], answer["faces"]) == (newest.number, [])

    run(test)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"no picture", 4415), (jpeg()[:50], 4415), (b"\xff" * (pushing.MOST_BYTES + 1), 4413)],
    ids=["text", "cut", "heavy"],
)
def test_a_frame_that_is_none_closes_that_socket_alone(world: World, data: bytes, code: int) -> None:
    (_first, token), (other, other_token) = pair(world), pair(world)

    async def test() -> None:
        async with device(token) as one, device(other_token) as two:
            await hear(one, "settings")
            await hear(two, "settings")
            await send(one, data)
            assert await closing_code(one) == code
            await send(two, jpeg())
            await hear(two, "ack")
            assert await sync_to_async(device_frames.newest_frame)(other.pk) is not None

    run(test)


def test_a_device_that_sends_too_fast_is_closed(world: World) -> None:
    _camera, token = pair(world)

    async def test() -> None:
        async with device(token) as one:
            await hear(one, "settings")
            for _ in range(30):
                await send(one, jpeg(160, 90))
            assert await closing_code(one) == 4429

    run(test)


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_without_a_good_token_the_socket_closes(world: World, token: str) -> None:
    async def test() -> None:
        async with device(token) as one:
            assert await closing_code(one) == 4401

    run(test)


def test_a_pairing_that_is_taken_back_ends_the_socket_within_seconds(world: World) -> None:
    camera, token = pair(world)

    async def test() -> None:
        async with device(token) as one:
            await hear(one, "settings")
            await sync_to_async(pairing.revoke)(camera)
            assert await closing_code(one, 5) == 4401
            await word_of(camera, DeviceWord.UNPAIRED)

    run(test)


def test_changed_settings_reach_the_device_and_a_paused_camera_takes_nothing(world: World) -> None:
    camera, token = pair(world)

    async def test() -> None:
        async with device(token) as one:
            await hear(one, "settings")
            await sync_to_async(Camera.objects.filter(pk=camera.pk).update)(analyses_per_second=2, paused=True)
            settings = await hear(one, "settings", 5)
            assert (settings["rate"], settings["paused"]) == (2, True)
            await send(one, jpeg())
            assert await one.receive_nothing(0.3)
            assert await sync_to_async(device_frames.newest_frame)(camera.pk) is None

    run(test)


def test_a_devices_own_word_is_kept_until_it_sends_again(world: World) -> None:
    camera, token = pair(world)

    async def test() -> None:
        async with device(token) as one:
            await hear(one, "settings")
            await one.send_input({"type": "websocket.receive", "text": json.dumps({"type": "word", "word": "asleep"})})
            await word_of(camera, DeviceWord.ASLEEP)
            await send(one, jpeg())
            await hear(one, "ack")
            await word_of(camera, None)
            await one.send_input({"type": "websocket.receive", "text": json.dumps({"type": "word", "word": "asleep"})})
            await one.send_input({"type": "websocket.disconnect", "code": 1001})  # a page that closes is hidden first
            await word_of(camera, DeviceWord.CLOSED)

    run(test)


@pytest.mark.parametrize("text", ["", "[]", "7", '{"word": "nonsense"}', '{"word": ["asleep"]}', "[" * 100_000])
def test_a_message_that_cannot_be_understood_closes_the_socket(world: World, text: str) -> None:
    _camera, token = pair(world)

    async def test() -> None:
        async with device(token) as one:
            await hear(one, "settings")
            await one.send_input({"type": "websocket.receive", "text": text})
            assert await closing_code(one) == 4400

    run(test)


def test_a_device_that_vanishes_while_it_is_told_something_is_forgotten(world: World) -> None:
    """A server's `send` raises when the peer is gone; no disconnect follows then."""
    from portal.devices.sockets import sockets

    _camera, token = pair(world)
    words: list[dict[str, Any]] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "bytes": jpeg(), "text": None},
    ]

    async def receive() -> dict[str, Any]:
        if words:
            return words.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        if "ack" in message.get("text", ""):
            raise OSError("the peer is gone")

    async def test() -> None:
        headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", f"device={token}".encode())]
        scope = {
            "type": "websocket",
            "path": "/ws/device/",
            "query_string": b"",
            "headers": headers,
            "subprotocols": [],
        }
        with pytest.raises(OSError, match="gone"):
            await asyncio.wait_for(application(scope, receive, send), 10)
        assert sockets().members == set() and sockets().is_idle

    run(test)


def test_a_picture_of_thousands_of_scans_ends_the_socket_undecoded(world: World) -> None:
    camera, token = pair(world)
    plain = jpeg()
    scan = plain[plain.rindex(b"\xff\xda") : -2][:40]

    async def test() -> None:
        async with device(token) as one:
            await hear(one, "settings")
            await send(one, plain[:-2] + 12_000 * scan + plain[-2:])
            assert await closing_code(one) == 4415
            assert await sync_to_async(device_frames.newest_frame)(camera.pk) is None

    run(test)


def test_a_device_that_asks_too_much_of_its_worker_is_ended(world: World) -> None:
    camera, token = pair(world)

    async def test() -> None:
        async with device(token) as one:
            await hear(one, "settings")
            await send(one, jpeg())
            await hear(one, "ack")
            await sync_to_async(device_frames.refuse)(camera.pk, 1, "Send smaller ones.", ends=True)
            answer = await hear(one, "answer")
            assert answer["fault"] == "Send smaller ones."
            assert await closing_code(one) == 4413

    run(test)


def test_a_deleted_cameras_frames_are_not_kept_for_its_worker(world: World) -> None:
    camera, _token = pair(world)
    device_frames.push(camera.pk, jpeg())
    client = Client()
    client.force_login(world.alice)
    client.post(f"/cameras/{camera.pk}/delete/")
    assert device_frames.newest_frame(camera.pk) is None
    device_frames.push(camera.pk, jpeg())
    assert device_frames.newest_frame(camera.pk) is None, "nor what a socket still sends in its last two seconds"
    client.post(f"/cameras/{camera.pk}/restore/")
    device_frames.push(camera.pk, jpeg())
    assert device_frames.newest_frame(camera.pk) is not None


def test_one_that_does_not_read_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.devices import sockets
    from portal.live import sockets as machine

    (_first, token), (_second, other_token) = pair(world), pair(world)
    monkeypatch.setattr(machine, "SLOW_S", 0.1)
    told = sockets.DeviceConsumer.tell

    async def tell(self: Any, message: ToDoor) -> None:
        if isinstance(message, DoorSettings) and message.rate == 2 and message.camera == "Phone":
            await asyncio.Event().wait()
        await told(self, message)

    async def test() -> None:
        async with device(token) as one, device(other_token) as two:
            await hear(one, "settings")
            await hear(two, "settings")
            monkeypatch.setattr(sockets.DeviceConsumer, "tell", tell)
            await sync_to_async(Camera.objects.filter(kind="device").update)(analyses_per_second=2)
            assert (await hear(two, "settings", 5))["rate"] == 2
            assert await closing_code(one, 5) == 4408, "it is let go, and connects again if it is alive"

    run(test)


def test_standings_are_two_queries_for_any_number_of_devices(world: World, django_assert_num_queries: Any) -> None:
    from portal.devices.sockets import read_doors
    from portal.people.memberships import hash_of

    hashes = [hash_of(pair(world)[1]) for _ in range(5)]
    with django_assert_num_queries(2):  # the second is for zones
        assert len(read_doors(hashes)) == 5


def test_a_device_is_told_what_nobody_may_see(world: World) -> None:
    camera, token = pair(world)
    corner = [[0.1, 0.1], [0.4, 0.1], [0.4, 0.5]]
    for kind in ("privacy", "ignore"):
        camera.zones.create(kind=kind, points=corner, aspect=1.5)

    async def test() -> None:
        async with device(token) as one:
            assert (await hear(one, "settings"))["private"] == [{"points": corner, "aspect": 1.5}]

    run(test)


# -- the pages ------------------------------------------------------------------------------------------------------


def test_the_phones_page_sets_a_cookie_that_no_script_reads(world: World) -> None:
    secret = pairing.invite(world.here, world.alice)[1]
    phone = Client()
    assert phone.post("/pair/look/", {"secret": secret}).json() == {
        "site": "Harbour House", "by": "Alice", "name": "", "purpose": "camera"
    }  # fmt: skip
    assert Pairing.objects.get().redeemed_at is None, "looking uses nothing up"
    answer = phone.post("/pair/redeem/", {"secret": secret, "name": "Door phone"})
    assert answer.json() == {"next": "/door/"}
    cookie = phone.cookies["device"]
    assert cookie["httponly"] and cookie["samesite"] == "Strict"
    assert b"Door phone" in phone.get("/door/").content
    assert phone.post("/pair/redeem/", {"secret": secret}).status_code == 410
    assert "has already been used" in phone.post("/pair/look/", {"secret": secret}).json()["error"]


def test_who_holds_the_phone_may_end_it(world: World) -> None:
    _camera, token = pair(world)
    phone = Client()
    phone.cookies["device"] = token
    assert phone.get("/door/").status_code == 200
    phone.post("/door/leave/")
    assert pairing.camera_of(token) is None
    page = phone.get("/door/")
    assert page.status_code == 404 and b"This device is not a camera" in page.content


def test_a_manager_takes_a_pairing_back_and_pairs_again(world: World, sign_in: Any) -> None:
    camera, token = pair(world)
    alice = sign_in(world.alice)
    assert b"Revoke the pairing" in alice.get(f"/cameras/{camera.pk}/").content
    alice.post(f"/cameras/{camera.pk}/unpair/")
    assert pairing.camera_of(token) is None
    page = alice.post(f"/cameras/{camera.pk}/pair/").content.decode()
    secret = page.partition("/pair/#")[2].partition("<")[0]
    again, fresh = pairing.redeem(secret, "ignored")
    assert (again, again.name) == (camera, "Phone") and pairing.camera_of(fresh) == camera
    actions = list(AuditEntry.objects.values_list("action", flat=True))
    assert "device-unpaired" in actions and "pairing-made" in actions


def test_a_second_device_on_one_camera_lets_the_first_go(world: World) -> None:
    camera, first = pair(world)
    second = pairing.redeem(pairing.invite(world.here, world.alice, camera)[1], "")[1]
    assert pairing.camera_of(first) is None and pairing.camera_of(second) == camera


def test_a_device_is_edited_without_an_address(world: World, sign_in: Any) -> None:
    camera, _token = pair(world)
    alice = sign_in(world.alice)
    page = alice.get(f"/cameras/{camera.pk}/").content
    assert b'name="address"' not in page and b"Test this camera" not in page
    fields = {"name": "Door", "view": 512, "analyses_per_second": 3, "model": "default"}
    assert alice.post(f"/cameras/{camera.pk}/", fields).status_code == 302
    camera.refresh_from_db()
    assert (camera.name, camera.kind, camera.view, camera.analyses_per_second) == ("Door", "device", 512, 3)


def test_a_used_link_leads_the_manager_to_the_camera(world: World, sign_in: Any) -> None:
    made, secret = pairing.invite(world.here, world.alice)
    alice = sign_in(world.alice)
    assert alice.get(f"/devices/pairings/{made.pk}/").json() == {"used": False}
    camera, _token = pairing.redeem(secret, "Phone")
    said = alice.get(f"/devices/pairings/{made.pk}/").json()
    assert said == {"used": True, "camera": "Phone", "address": f"/cameras/{camera.pk}/"}
