"""The voice pages, and the sockets of the pages at the door that speak."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from cameras.models import Camera
from cameras.reach.credentials import unseal
from portal.asgi import application
from portal.devices import pairing
from portal.devices.pairing import PairingError
from portal.models import AuditEntry, Phrase, Purpose, Reminder, Silence, SitePhrase, User, Voice, policy_of
from portal.voice import phrases, reminding
from tests.html import squeezed
from tests.sockets import SocketCommunicator, closing_code, hear, run
from tests.worlds import World, see

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]


def pair_speaker(world: World, camera: Camera | None = None) -> str:
    """A loudspeaker's token."""
    secret = pairing.invite(world.here, world.alice, camera or world.door, Purpose.LOUDSPEAKER)[1]
    return pairing.redeem_loudspeaker(secret, "Tablet")[1]


@asynccontextmanager
async def at_door(page: str, token: str, cookie: str = "") -> AsyncIterator[SocketCommunicator]:
    given = f"{cookie or page}={token}".encode()
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", given)]
    communicator = SocketCommunicator(application, f"/ws/{page}/", headers)
    try:
        assert await communicator.connect()
        yield communicator
    finally:
        await communicator.disconnect()


async def tell(one: SocketCommunicator, **message: Any) -> None:
    await one.send_input({"type": "websocket.receive", "text": json.dumps(message)})


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not await sync_to_async(condition)():
        assert asyncio.get_running_loop().time() < deadline, "it never came to be"
        await asyncio.sleep(0.02)


async def remind_until_heard(world: World, one: SocketCommunicator) -> dict[str, Any]:
    """Have somebody stand there; the socket's subscription may take a moment after its first message."""

    def stand() -> None:
        now = time.time()
        Reminder.objects.update(decided_at="2020-01-01T00:00Z")  # no cooldown between tries
        see(world.door, at=now - 3, last_seen_at=now)

    for _try in range(10):
        await sync_to_async(stand)()
        newest = await sync_to_async(lambda: Reminder.objects.order_by("-decided_at")[0].why_not)()
        if newest != Silence.NOBODY:
            return await hear(one, "say")
        await asyncio.sleep(0.1)
    raise AssertionError("the door never subscribed")


# -- the sockets ------------------------------------------------------------------------------------------------------


def test_a_loudspeaker_hears_what_to_say_and_tells_when_it_was_said(world: World) -> None:
    token = pair_speaker(world)

    async def test() -> None:
        async with at_door("speaker", token) as one:
            settings = await hear(one, "settings")
            assert settings["speaks"] is True and settings["camera"] == "Front door"
            said = await remind_until_heard(world, one)
            assert said["text"] == phrases.PHRASES["en"]["no_mask"]
            await tell(one, type="heard", reminder=said["reminder"], why="")
            await until(lambda: Reminder.objects.filter(pk=said["reminder"], played_at__isnull=False).exists())

    run(test)


@pytest.mark.parametrize("why", ["locked", "unplayed"])
def test_a_door_that_could_not_play_says_why(world: World, why: str) -> None:
    token = pair_speaker(world)

    async def test() -> None:
        async with at_door("speaker", token) as one:
            await hear(one, "settings")
            said = await remind_until_heard(world, one)
            await tell(one, type="heard", reminder=said["reminder"], why=why)
            await until(lambda: Reminder.objects.filter(pk=said["reminder"], why_not=why).exists())

    run(test)


def test_a_device_speaks_only_where_its_camera_sounds_there(world: World) -> None:
    camera, token = pairing.redeem(pairing.invite(world.here, world.alice)[1], "Phone")
    assert camera.voice.output == "device"

    async def test() -> None:
        async with at_door("device", token) as one:
            assert (await hear(one, "settings"))["speaks"] is True
            await sync_to_async(Voice.objects.filter(pk=camera.pk).update)(output="loudspeaker")
            assert (await hear(one, "settings"))["speaks"] is False

    run(test)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "word", "word": "asleep"},
        {"type": "heard", "reminder": "no id", "why": ""},
        {"type": "heard", "reminder": str(uuid4()), "why": "hours"},
        {"type": "heard", "why": ""},
        {"type": "heard", "reminder": 5, "why": ""},
        ["heard"],
    ],
)
def test_nonsense_of_a_loudspeaker_ends_its_socket(world: World, message: Any) -> None:
    token = pair_speaker(world)

    async def test() -> None:
        async with at_door("speaker", token) as one:
            await hear(one, "settings")
            await one.send_input({"type": "websocket.receive", "text": json.dumps(message)})
            assert await closing_code(one) == 4400

    run(test)


def test_a_token_is_good_for_its_purpose_alone(world: World) -> None:
    """A loudspeaker may not send pictures, and a camera's device may not act as a loudspeaker."""
    speaker = pair_speaker(world)
    _camera, device = pairing.redeem(pairing.invite(world.here, world.alice)[1], "Phone")
    assert pairing.camera_of(speaker) is None and pairing.camera_of(device, Purpose.LOUDSPEAKER) is None
    frames, bearer = f"/api/v1/cameras/{world.door.pk}/frames", {"Authorization": f"Bearer {speaker}"}
    assert Client().post(frames, b"", content_type="image/jpeg", headers=bearer).status_code == 401

    async def test() -> None:
        for page, token in (("device", speaker), ("speaker", device)):
            async with at_door(page, token) as one:
                assert await closing_code(one) == 4401

    run(test)


def test_a_loudspeaker_that_was_taken_back_is_told_within_seconds(world: World) -> None:
    token = pair_speaker(world)

    async def test() -> None:
        async with at_door("speaker", token) as one:
            await hear(one, "settings")
            await sync_to_async(pairing.revoke)(world.door, Purpose.LOUDSPEAKER)
            assert await closing_code(one) == 4401

    run(test)


# -- pairing ----------------------------------------------------------------------------------------------------------


def test_a_silent_camera_sounds_at_its_new_loudspeaker_and_another_choice_is_kept(world: World) -> None:
    pair_speaker(world)
    assert Voice.objects.get(camera=world.door).output == "loudspeaker"
    Voice.objects.filter(camera=world.door).update(output="local")
    first = pair_speaker(world)
    assert Voice.objects.get(camera=world.door).output == "local"
    second = pair_speaker(world)
    assert pairing.camera_of(first, Purpose.LOUDSPEAKER) is None
    assert pairing.camera_of(second, Purpose.LOUDSPEAKER) == world.door


def test_a_device_of_before_the_voice_speaks_when_it_is_paired_again(world: World) -> None:
    camera, _token = pairing.redeem(pairing.invite(world.here, world.alice)[1], "Phone")
    Voice.objects.all().delete()
    pairing.redeem(pairing.invite(world.here, world.alice, camera)[1], "")
    assert Voice.objects.get(camera=camera).output == "device"


def test_a_loudspeakers_link_makes_no_camera(world: World) -> None:
    secret = pairing.invite(world.here, world.alice, world.door, Purpose.LOUDSPEAKER)[1]
    with pytest.raises(PairingError):
        pairing.redeem(secret, "Phone")
    answer = Client().post("/pair/redeem/", {"secret": secret})
    assert answer.json()["next"] == "/speaker/"
    assert answer.cookies["speaker"]["httponly"] and answer.cookies["speaker"]["samesite"] == "Strict"
    assert not Camera.objects.filter(kind="device").exists()


def test_a_manager_pairs_a_loudspeaker_and_takes_it_back(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    page = alice.post(f"/cameras/{world.door.pk}/loudspeaker/").content.decode()
    assert "A loudspeaker for Front door" in page
    token = pair_speaker(world)
    alice.post(f"/cameras/{world.door.pk}/loudspeaker/unpair/")
    assert pairing.camera_of(token, Purpose.LOUDSPEAKER) is None


def test_whoever_holds_the_loudspeaker_may_end_it(world: World) -> None:
    browser = Client()
    browser.cookies["speaker"] = pair_speaker(world)
    assert "Loudspeaker of Front door" in browser.get("/speaker/").content.decode()
    browser.post("/door/leave/", {"purpose": "loudspeaker"})
    assert browser.get("/speaker/").status_code == 404


# -- the camera's form ------------------------------------------------------------------------------------------------


def save(client: Client, camera: Camera, **given: str) -> Any:
    form = {"output": "call", "reminder_after_s": "2", "preset": "axis", "host": "192.168.1.30"} | given
    return client.post(f"/cameras/{camera.pk}/voice/", form)


def test_a_manager_chooses_where_it_sounds(world: World, sign_in: SignIn) -> None:
    version = world.door.version
    answer = save(sign_in(world.alice), world.door, user="admin", password="p@ss:/#%", reminder_after_s="3.5")
    assert answer.status_code == 302
    voice = Voice.objects.get(camera=world.door)
    assert (voice.output, voice.preset, voice.host, voice.user) == ("call", "axis", "192.168.1.30", "admin")
    assert unseal(voice.sealed_password) == "p@ss:/#%" and "p@ss" not in voice.sealed_password
    world.door.refresh_from_db()
    assert (world.door.reminder_after_s, world.door.version) == (3.5, version), "who watches it goes on"
    assert AuditEntry.objects.filter(action="voice-changed", subject="Front door").exists()


def test_a_change_of_output_alone_does_not_restart_the_watch(world: World, sign_in: SignIn) -> None:
    save(sign_in(world.alice), world.door, output="local")
    version = world.door.version
    world.door.refresh_from_db()
    assert world.door.version == version


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"host": "http://x/"}, "Enter only the host"),
        ({"host": ""}, "Enter only the host"),
        ({"preset": "go2rtc"}, "name of the stream"),
        ({"preset": "", "url": "http://10.0.0.9/$face"}, "$face is unknown"),
        ({"preset": "", "url": "http://10.0.0.9/", "body": "5 $"}, "begins a placeholder"),
        ({"preset": "", "url": "http://10.0.0.9/", "body": "x $audio_wav"}, "A sound must be the whole body"),
        ({"preset": "", "url": "http://10.0.0.9/", "body": "${audio_wav}"}, "A sound must be the whole body"),
        ({"preset": "", "url": "http://10.0.0.9/", "content_type": "x/y\r\nHost: evil"}, "like application/json"),
        ({"preset": "", "url": "ftp://10.0.0.9/"}, "must begin with"),
        ({"preset": "", "url": "http://$site.example/"}, "Write the host itself"),
        ({"preset": "", "url": "http://me:secret@10.0.0.9/"}, "their own fields"),
        ({"output": "device"}, "Select a valid choice"),  # it is not a device
        ({"output": "local", "sound_device": "x; rm"}, "aplay -L"),
        ({"reminder_after_s": "61"}, "less than or equal to 60"),
    ],
)
def test_what_cannot_be_called_is_said_beside_its_field(
    world: World, sign_in: SignIn, given: dict[str, str], says: str
) -> None:
    answer = save(sign_in(world.alice), world.door, **given)
    assert answer.status_code == 422 and says in answer.content.decode()
    assert not Voice.objects.filter(camera=world.door).exists()


def test_a_kept_password_goes_to_no_other_host(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    save(alice, world.door, user="admin", password="secret")
    assert save(alice, world.door, user="admin").status_code == 302
    assert unseal(Voice.objects.get(camera=world.door).sealed_password) == "secret"
    answer = save(alice, world.door, user="admin", host="10.6.6.6")
    assert answer.status_code == 422 and "Type the password again" in answer.content.decode()
    assert "secret" not in alice.get(f"/cameras/{world.door.pk}/voice/").content.decode()
    save(alice, world.door, user="")
    assert Voice.objects.get(camera=world.door).sealed_password == ""


@pytest.mark.parametrize("same", [{"host": "192.168.1.30:80"}, {"preset": "shelly"}, {"host": "192.168.1.30"}])
def test_the_same_host_written_otherwise_keeps_the_password(
    world: World, sign_in: SignIn, same: dict[str, str]
) -> None:
    alice = sign_in(world.alice)
    save(alice, world.door, user="admin", password="secret")
    assert save(alice, world.door, user="admin", **same).status_code == 302
    assert unseal(Voice.objects.get(camera=world.door).sealed_password) == "secret"


def test_no_way_round_leads_a_kept_password_to_another_host(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    save(alice, world.door, user="admin", password="secret")
    save(alice, world.door, output="local", user="admin", host="10.6.6.6")
    save(alice, world.door, user="admin", host="10.6.6.6")
    voice = Voice.objects.get(camera=world.door)
    assert not (voice.host == "10.6.6.6" and voice.sealed_password)


def test_what_is_not_shown_is_never_wrong_and_stays(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    save(alice, world.door, output="local", sound_device="plughw:1,0")
    assert save(alice, world.door, sound_device="bad device!", url="$x").status_code == 302
    voice = Voice.objects.get(camera=world.door)
    assert (voice.output, voice.sound_device) == ("call", "plughw:1,0")
    assert save(alice, world.door, output="nowhere", reminder_after_s="", host="").status_code == 302


def test_play_it_now_is_a_row_that_tells_how_it_went(world: World, sign_in: SignIn) -> None:
    alice, page = sign_in(world.alice), f"/cameras/{world.door.pk}/voice/"
    assert "This door is silent" in alice.post(f"{page}play/", follow=True).content.decode()
    assert not Reminder.objects.exists()
    Voice.objects.create(camera=world.door, output="loudspeaker")
    alice.post(f"{page}play/")
    reminder = Reminder.objects.get()
    assert (reminder.step, reminder.passage, reminder.why_not) == ("trial", None, Silence.NOBODY)
    said = f"{page}said/?reminder={reminder.pk}"
    answer = alice.get(said)
    assert answer["X-Done"] == "1" and "No page is open at the door" in answer.content.decode()
    Reminder.objects.update(why_not="", sent_at="2026-01-01T00:00Z")
    given = {"site": world.here, "camera": world.door, "text": "x", "language": "en", "output": "loudspeaker"}
    for _other in range(6):
        Reminder.objects.create(step="thanks", why_not=Silence.COOLDOWN, **given)
    answer = alice.get(said)
    assert answer["X-Done"] == "0" and "waiting for it to finish" in answer.content.decode()
    reminding.note_heard(reminder.pk, world.door.pk, "")
    answer = alice.get(said)
    assert answer["X-Done"] == "1" and "Played" in answer.content.decode()


def test_playing_too_often_is_slowed_down(world: World, sign_in: SignIn) -> None:
    Voice.objects.create(camera=world.door, output="loudspeaker")
    alice = sign_in(world.alice)
    for _time in range(11):
        answer = alice.post(f"/cameras/{world.door.pk}/voice/play/", follow=True)
    assert "Played too often" in answer.content.decode() and Reminder.objects.count() == 10
    answer = alice.post(f"/cameras/{world.door.pk}/voice/play/", headers={"Accept": "application/json"})
    assert answer.status_code == 409 and "Played too often" in answer.json()["error"]


# -- the site's page --------------------------------------------------------------------------------------------------


def test_a_manager_words_what_is_said_and_when(world: World, sign_in: SignIn) -> None:
    alice, page = sign_in(world.alice), f"/sites/{world.here.pk}/voice/"
    given = {"say_no_mask": "  Mask\u00a0up,\u202f sailor! ", "thanks": "on", "opens_0": "08:00", "closes_0": "18:00"}
    assert alice.post(page, given).status_code == 302
    world.here.refresh_from_db()
    policy = policy_of(world.here)
    assert policy.thanks and policy.reminder_hours == {"0": ["08:00", "18:00"]}
    assert policy.opening_hours == {}, "those are another matter"
    assert phrases.phrase_of(world.here, Phrase.NO_MASK) == "Mask up, sailor!"
    alice.post(page, {"say_no_mask": ""})
    assert not SitePhrase.objects.exists()
    assert alice.post(page, {"opens_0": "08:00"}).status_code == 422


def test_the_sites_page_tells_what_the_voice_did(world: World, sign_in: SignIn) -> None:
    page = f"/sites/{world.here.pk}/voice/"
    assert "Nobody was seen without a mask" in sign_in(world.alice).get(page).content.decode()
    now = time.time()
    Voice.objects.create(camera=world.door, output="loudspeaker")
    for number in range(4):
        violation = see(world.door, at=now - 3, last_seen_at=now)
        if number < 3:
            Reminder.objects.filter(violation=violation).update(why_not="", played_at=violation.last_seen_at)
        if number < 2:
            type(violation).objects.filter(pk=violation.pk).update(masked_at=violation.last_seen_at)
    text = squeezed(sign_in(world.alice).get(page))
    assert "<strong>67%</strong> 2 of 3 put a mask on" in text
    assert "<strong>0%</strong> 0 of 1 put a mask on" in text


def test_a_violation_says_what_the_door_did(world: World, sign_in: SignIn) -> None:
    now = time.time()
    Voice.objects.create(camera=world.door, output="loudspeaker")
    violation = see(world.door, at=now - 3, last_seen_at=now)
    page = f"/violations/{violation.pk}/"
    assert "No page is open at the door" in sign_in(world.alice).get(page).content.decode()
    sent_at = violation.last_seen_at
    Reminder.objects.update(why_not="", sent_at=sent_at, played_at=sent_at)
    masked_at = sent_at + (violation.last_seen_at - violation.started_at) * 2  # 6 s later
    type(violation).objects.filter(pk=violation.pk).update(masked_at=masked_at, ended_at=masked_at)
    text = squeezed(sign_in(world.alice).get(page))
    assert "6 s after the reminder" in text and "Reminder: Played" in text


# -- which pages may make a sound -------------------------------------------------------------------------------------


def test_no_managers_page_may_play_anything(world: World, sign_in: SignIn) -> None:
    browser = Client()
    browser.cookies["speaker"] = pair_speaker(world)
    assert "media-src 'self'" in browser.get("/speaker/")["Content-Security-Policy"]
    see(world.door)
    alice = sign_in(world.alice)
    pages = ("/", "/violations/", "/cameras/", f"/cameras/{world.door.pk}/voice/", f"/sites/{world.here.pk}/voice/")
    for page in pages:
        assert "media-src 'none'" in alice.get(page)["Content-Security-Policy"], page
