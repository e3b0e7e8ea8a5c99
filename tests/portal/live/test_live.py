"""The socket, through the real channel layer: who is told what, when it closes, and what a page missed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.conf import settings as django_settings
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from cameras.redis import looked_at_key, preview_key
from cameras.watching.preview import Offer, encode_preview
from portal.asgi import application
from portal.events import messages
from portal.events.messages import Look, MessageError, Missed, PreviewAck, parse
from portal.events.review import review
from portal.live.sockets import redis_connection
from portal.models import Membership, User
from tests.sockets import SocketCommunicator, closing_code, hear, run
from tests.worlds import World, see

pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def socket(user: User | None, *, origin: bytes = b"http://localhost") -> AsyncIterator[SocketCommunicator]:
    headers = [(b"host", b"localhost"), (b"origin", origin)]
    if user is not None:
        headers.append((b"cookie", await sync_to_async(cookie_of)(user)))
    communicator = SocketCommunicator(application, "/ws/live/", headers)
    try:
        yield communicator
    finally:
        await communicator.disconnect()


def cookie_of(user: User) -> bytes:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return f"{django_settings.SESSION_COOKIE_NAME}={client.cookies[django_settings.SESSION_COOKIE_NAME].value}".encode()


async def hello(communicator: SocketCommunicator) -> dict[str, Any]:
    assert await communicator.connect()
    return await hear(communicator, "hello")


def test_a_violation_reaches_the_page_of_its_site_with_its_picture_and_no_other(world: World) -> None:
    async def test() -> None:
        async with socket(world.alice) as alice, socket(world.charlie) as charlie:
            assert [camera["camera"] for camera in (await hello(alice))["cameras"]] == [world.door.pk]
            await hello(charlie)
            violation = await sync_to_async(see)(world.door)
            message = await hear(alice, "violation")
            assert message["id"] == str(violation.pk)
            assert message["picture"].startswith("data:image/jpeg;base64,")
            assert (message["number"], message["to_review"], message["version"]) == (1, 1, 1)
            assert await charlie.receive_nothing(0.5)

    run(test)


def test_a_viewer_gets_another_picture_than_a_reviewer(world: World) -> None:
    async def test() -> None:
        async with socket(world.bob) as bob, socket(world.vera) as vera:
            await hello(bob)
            await hello(vera)
            await sync_to_async(see)(world.door)
            pictures = [(await hear(each, "violation"))["picture"] for each in (bob, vera)]
            assert pictures[0] != pictures[1]

    run(test)


def test_a_review_is_seen_live_by_others(world: World) -> None:
    violation = see(world.door)

    async def test() -> None:
        async with socket(world.alice) as alice:
            await hello(alice)
            await sync_to_async(review)(world.bob, {violation.pk: 0}, "dismissed")
            message = await hear(alice, "violation")
            assert (message["status"], message["reviewed_by"], message["to_review"]) == ("dismissed", "Bob", 0)

    run(test)


def test_a_page_that_was_away_fetches_what_it_missed(world: World) -> None:
    rows = [see(world.door, time.time() - minute) for minute in range(3)]
    see(world.hall)

    async def test() -> None:
        async with socket(world.alice) as alice:
            assert (await hello(alice))["feeds"] == {str(world.here.pk): {"number": 3, "to_review": 3}}
            after = {str(world.here.pk): 1, str(world.there.pk): 0}
            await alice.say({"type": "missed", "after": after})
            got = [await hear(alice, "violation") for _ in range(2)]
            assert [message["id"] for message in got] == [str(row.pk) for row in rows[1:]]
            assert (await hear(alice, "caught-up"))["feeds"] == {str(world.here.pk): 3}
            assert await alice.receive_nothing(0.3), "nothing of a site that is not hers"

    run(test)


def test_who_is_signed_out_is_accepted_then_closed_with_4401(world: World) -> None:
    async def test() -> None:
        async with socket(None) as nobody:
            assert await nobody.connect()
            assert await closing_code(nobody) == 4401

    run(test)


def test_who_belongs_to_no_site_is_closed_with_4403(world: World) -> None:
    async def test() -> None:
        async with socket(world.stranger) as stranger:
            assert await stranger.connect()
            assert await closing_code(stranger) == 4403

    run(test)


@pytest.mark.parametrize(
    "origin",
    [b"https://evil.example", b"http://localhost:9999", b"null", b"", b"http://localhost.evil.example", b"//["],
)
def test_a_page_of_another_origin_gets_no_socket(world: World, origin: bytes) -> None:
    async def test() -> None:
        async with socket(world.alice, origin=origin) as evil:
            assert not await evil.connect()

    run(test)


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "same"),
    [
        ("http://localhost:8000", "localhost:8000", "http", True),
        ("https://localhost", "localhost", "https", True),
        ("https://localhost", "localhost:443", "https", True),
        ("http://localhost", "localhost", "https", False),  # a page that somebody in between may have written
        ("https://localhost:8000", "localhost:8000", "http", False),
        ("http://evil.example", "evil.example", "http", False),  # a name that leads here by DNS, but is not ours
        ("http://localhost:8000", "localhost:9000", "http", False),
        ("https://masks.example.org", "10.0.0.7:8000", "http", True),  # PUBLIC_URL, behind a proxy that hides it
    ],
)
def test_an_origin_is_a_scheme_a_host_and_a_port(
    settings: Any, origin: str, host: str, scheme: str, same: bool
) -> None:
    from portal.server.origin import is_same

    settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS = ["localhost"], ["https://masks.example.org"]
    assert is_same(origin, host, scheme) is same


def signed_out(user: User) -> None:
    from django.contrib.sessions.models import Session

    Session.objects.all().delete()


def switched_off(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def new_password(user: User) -> None:
    user.set_password("another-Long-pass-5")
    user.save()


def other_role(user: User) -> None:
    Membership.objects.filter(user=user).update(role="viewer")


def no_role(user: User) -> None:
    Membership.objects.filter(user=user).delete()


def signed_out_everywhere(user: User) -> None:
    User.objects.filter(pk=user.pk).update(session_epoch=user.session_epoch + 1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (signed_out_everywhere, 4401),
        (signed_out, 4401),
        (switched_off, 4401),
        (new_password, 4401),
        (other_role, 4403),
        (no_role, 4403),
    ],
)
def test_an_open_socket_closes_within_five_seconds_of(world: World, change: Callable[[User], None], code: int) -> None:
    async def test() -> None:
        async with socket(world.bob) as bob:
            await hello(bob)
            await sync_to_async(change)(world.bob)
            assert await closing_code(bob, within_s=5) == code

    run(test)


def test_a_page_that_does_not_read_is_let_go_and_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection accepts nothing more: sending to it never completes."""
    from portal.live import hub as hubs
    from portal.live import sockets as machine
    from portal.live.consumer import LiveConsumer

    monkeypatch.setattr(machine, "SLOW_S", 0.2)
    monkeypatch.setattr(hubs, "HEARTBEAT_S", 0.3)
    stuck: list[int] = []
    beat = LiveConsumer.heartbeat

    async def heartbeat(self: LiveConsumer, feeds: Any) -> None:
        if self.user_id == world.bob.pk:
            stuck.append(1)
            await asyncio.sleep(3600)
        await beat(self, feeds)

    monkeypatch.setattr(LiveConsumer, "heartbeat", heartbeat)

    async def test() -> None:
        async with socket(world.bob) as bob, socket(world.alice) as alice:
            await hello(bob)
            await hello(alice)
            for _ in range(4):
                await hear(alice, "heartbeat", within_s=2)
            assert len(stuck) == 1, "it was tried once, and let go"
            assert await closing_code(bob) == 4408

    run(test)


def preview(world: World, number: int) -> bytes:
    import numpy as np

    return encode_preview(Offer(world.door.pk, 1, time.time(), np.full((90, 160, 3), 80, np.uint8), []), number)


def test_without_an_acknowledgement_there_is_no_second_picture_and_then_comes_the_newest(
    world: World, redis: Any
) -> None:
    async def publish(number: int) -> None:
        await sync_to_async(redis.set)(preview_key(world.door.pk), preview(world, number), ex=10)
        await sync_to_async(redis.publish)(preview_key(world.door.pk), str(number))

    async def picture(communicator: SocketCommunicator, within_s: float = 3) -> int:
        deadline = time.monotonic() + within_s
        while True:
            got = await communicator.receive_output(timeout=max(0.01, deadline - time.monotonic()))
            if got.get("bytes"):
                return int(json.loads(got["bytes"][4 : 4 + int.from_bytes(got["bytes"][:4], "big")])["number"])

    async def test() -> None:
        async with socket(world.alice) as alice:
            await hello(alice)
            await alice.say({"type": "look", "cameras": [world.door.pk]})
            channel = preview_key(world.door.pk)
            while await sync_to_async(redis.pubsub_numsub)(channel) != [(channel.encode(), 1)]:
                await asyncio.sleep(0.02)
            assert await sync_to_async(redis.exists)(looked_at_key(world.door.pk))
            await publish(1)
            assert await picture(alice) == 1
            await publish(2)
            await publish(3)
            assert await alice.receive_nothing(0.6)
            await alice.say({"type": "ack", "camera": world.door.pk, "number": 99})
            assert await alice.receive_nothing(0.2), "an acknowledgement of another picture is none"
            await alice.say({"type": "ack", "camera": world.door.pk, "number": 1})
            assert await picture(alice) == 3

    run(test)


def test_while_redis_hangs_every_camera_is_not_known_and_then_known_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs for this process; pages are told within ten seconds, without asking."""
    from portal.live import hub as hub_module

    monkeypatch.setattr(hub_module, "PULSE_WITHIN_S", 0.2)
    monkeypatch.setattr(hub_module, "PULSE_S", 0.1)
    answers = asyncio.Event()
    real = redis_connection

    class Hanging:
        async def ping(self) -> None:
            await answers.wait()

        def __getattr__(self, name: str) -> Any:
            return getattr(real(), name)

    async def test() -> None:
        async with socket(world.alice) as alice:
            states = [camera["state"] for camera in (await hello(alice))["cameras"]]
            monkeypatch.setattr(hub_module, "redis_connection", Hanging)
            message = await hear(alice, "camera", within_s=10)
            assert message["state"] == "unknown" and "Redis does not answer" in message["meaning"]
            answers.set()
            assert [(await hear(alice, "camera"))["state"]] == states

    run(test)


def test_to_look_at_another_sites_camera_closes_with_4403(world: World) -> None:
    async def test() -> None:
        async with socket(world.alice) as alice:
            await hello(alice)
            await alice.say({"type": "look", "cameras": [world.hall.pk]})
            assert await closing_code(alice) == 4403

    run(test)


NONSENSE = ["", "{", "[]", "7", '{"type": "dance"}', '{"type": "look"}', '{"type": "look", "cameras": ["a"]}',
            '{"type": "ack", "camera": 1}', '{"type": "missed", "after": [1]}', '{"type": "missed", "after": {"x": 1}}',
            '{"type": "look", "cameras": [true]}', "[" * 5000]  # fmt: skip


def test_nonsense_is_answered_in_words_and_the_socket_goes_on(world: World) -> None:
    async def test() -> None:
        async with socket(world.alice) as alice, socket(world.bob) as bob:
            await hello(alice)
            await hello(bob)
            for text in NONSENSE[:9]:
                await alice.say_raw(text=text)
                assert (await hear(alice, "error"))["text"]
            await alice.say_raw(data=b"\x00\x01")
            assert await closing_code(alice) == 4400, "who goes on and on with it is closed"
            await sync_to_async(see)(world.door)
            await hear(bob, "violation")

    run(test)


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_message_is_an_error_with_a_sentence(text: str) -> None:
    with pytest.raises(MessageError, match=r"\.$"):
        parse(text)


names = st.sampled_from(["type", "cameras", "camera", "number", "after", "1"])
kinds = st.sampled_from(["look", "ack", "missed"])
leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | kinds
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner))


@given(values)
def test_whatever_a_page_sends_is_a_message_or_a_message_error(value: object) -> None:
    with contextlib.suppress(MessageError):
        assert isinstance(parse(json.dumps(value)), Look | PreviewAck | Missed)


def test_both_ends_know_the_same_messages() -> None:
    """Each type that the server sends is read by live.js, and each that live.js sends is parsed here."""
    import re

    from tests.conftest import ROOT

    script = (ROOT / "portal/static/portal/live.js").read_text()
    sent = set(re.findall(r'#say\(\{ type: "(\w+)"', script))
    assert sent == {"look", "ack", "missed"}
    read = set(re.findall(r'message\.type === "([\w-]+)"', script))
    kinds = (messages.ViolationMessage, messages.CameraMessage, messages.GoneMessage)
    assert read == {kind.type for kind in kinds} | {"hello", "heartbeat", "error", "caught-up"}
    fields = set().union(*(kind.__dataclass_fields__ for kind in kinds))
    scripts = "".join(
        (ROOT / "portal/static/portal" / f"{name}.js").read_text() for name in ("tiles", "toasts", "review")
    )
    used = set(re.findall(r"(?:message|violation)\.(\w+)", scripts)) - {"isNew", "old", "picture"}
    assert used <= fields, used - fields


# What each gets for a message about Harbour House's camera and feed: "yes", or the code with which the socket closes.
SOCKET_TABLE = [
    ("look", {"root": "yes", "alice": "yes", "bob": "yes", "vera": "yes", "charlie": 4403, "stranger": 4403, "": 4401}),
    ("ack", {"root": "yes", "alice": "yes", "bob": "yes", "vera": "yes", "charlie": "yes", "stranger": 4403, "": 4401}),
    ("missed", {"root": "yes", "alice": "yes", "bob": "yes", "vera": "yes", "charlie": "no", "stranger": 4403,
                "": 4401}),
]  # fmt: skip
SOCKET_CASES = [(message, who, expected) for message, row in SOCKET_TABLE for who, expected in row.items()]


@pytest.mark.parametrize(("message", "who", "expected"), SOCKET_CASES)
def test_who_may_say_what_over_the_socket(world: World, message: str, who: str, expected: int | str) -> None:
    seen = see(world.door)
    bodies = {
        "look": {"type": "look", "cameras": [world.door.pk]},
        "ack": {"type": "ack", "camera": world.door.pk, "number": 1},
        "missed": {"type": "missed", "after": {str(world.here.pk): 0}},
    }

    async def test() -> None:
        async with socket(getattr(world, who) if who else None) as one:
            assert await one.connect()
            if isinstance(expected, int) and who in {"", "stranger"}:
                assert await closing_code(one) == expected
                return
            await hear(one, "hello")
            await one.send_input({"type": "websocket.receive", "text": json.dumps(bodies[message])})
            if expected == 4403:
                assert await closing_code(one) == 4403
            elif message == "missed" and expected == "yes":
                assert (await hear(one, "violation"))["id"] == str(seen.pk)
            elif message == "missed":
                assert (await hear(one, "caught-up"))["feeds"] == {}
            else:
                await still_open(one)

    run(test)


async def still_open(one: SocketCommunicator) -> None:
    """Everything sent before has been processed, and the socket is still open: it answers nonsense with an error."""
    await one.send_input({"type": "websocket.receive", "text": "{}"})
    await hear(one, "error")


def test_without_the_second_factor_there_is_no_socket(world: World) -> None:
    from django_otp.plugins.otp_totp.models import TOTPDevice

    TOTPDevice.objects.create(user=world.alice, name="app", confirmed=True)

    async def test() -> None:
        async with socket(world.alice) as alice:
            assert await alice.connect()
            assert await closing_code(alice) == 4401

    run(test)


def test_watching_live_is_in_the_audit_log_from_begin_to_end(world: World) -> None:
    from portal.models import AuditEntry

    def noted() -> list[tuple[str, str, str]]:
        live = AuditEntry.objects.filter(action__startswith="live-").order_by("pk")
        return list(live.values_list("action", "subject", "site"))

    def look(*cameras: int) -> dict[str, str]:
        return {"type": "websocket.receive", "text": json.dumps({"type": "look", "cameras": cameras})}

    async def test() -> None:
        async with socket(world.alice) as alice:
            await hello(alice)
            for cameras in ([world.door.pk], [world.door.pk], [], [world.door.pk]):
                await alice.send_input(look(*cameras))
            await still_open(alice)
        begun, ended = [(f"live-{what}", "Front door", "Harbour House") for what in ("started", "stopped")]
        assert await database_sync_to_async(noted)() == [begun, ended, begun, ended]

    run(test)


def test_a_switch_to_another_camera_is_a_look_of_its_own(world: World) -> None:
    from cameras.models import Camera
    from portal.models import AuditEntry

    gate = Camera.objects.create(site=world.here, name="Gate", address="gate.mp4")

    def noted() -> list[tuple[str, str]]:
        live = AuditEntry.objects.filter(action__startswith="live-").order_by("pk")
        return list(live.values_list("action", "subject"))

    async def test() -> None:
        async with socket(world.alice) as alice:
            await hello(alice)
            for cameras in ([world.door.pk], [gate.pk], [world.door.pk], []):
                await alice.say({"type": "look", "cameras": cameras})
            await still_open(alice)
        started = [("live-started", "Front door"), ("live-started", "Gate")]
        assert await database_sync_to_async(noted)() == [*started, ("live-stopped", "Front door, Gate")]

    run(test)


def test_a_viewer_gets_previews_in_which_the_worker_hid_all_faces(world: World, redis: Any) -> None:
    """A reviewer beside them gets the others: nothing with a face is even sent to a viewer's page."""
    door = world.door.pk

    async def publish(number: int, pixelated: bool) -> None:
        await sync_to_async(redis.set)(preview_key(door, pixelated), preview(world, number), ex=10)
        await sync_to_async(redis.publish)(preview_key(door, pixelated), str(number))

    async def picture(communicator: SocketCommunicator) -> int:
        deadline = time.monotonic() + 3
        while True:
            got = await communicator.receive_output(timeout=max(0.01, deadline - time.monotonic()))
            if got.get("bytes"):
                return int(json.loads(got["bytes"][4 : 4 + int.from_bytes(got["bytes"][:4], "big")])["number"])

    async def test() -> None:
        async with socket(world.vera) as vera, socket(world.bob) as bob:
            for each in (vera, bob):
                await hello(each)
                await each.say({"type": "look", "cameras": [door]})
            channels = [preview_key(door, pixelated).encode() for pixelated in (False, True)]
            while await sync_to_async(redis.pubsub_numsub)(*channels) != [(channel, 1) for channel in channels]:
                await asyncio.sleep(0.02)
            await publish(1, pixelated=False)
            assert await picture(bob) == 1
            await publish(2, pixelated=True)
            assert await picture(vera) == 2, "and the first one never came"
            marks = [await sync_to_async(redis.exists)(looked_at_key(door, pixelated)) for pixelated in (False, True)]
            assert marks == [1, 1], "the worker knows of both"

    run(test)
