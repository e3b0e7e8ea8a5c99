"""Web push: a push service of the tests' own takes what is sent, decrypts and checks it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any

import http_ece  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from django.test import Client

from portal.alerts import outbox
from portal.alerts.channels import push
from portal.models import Delivery, PushSubscription, User
from tests.html import squeezed
from tests.portal.alerts.conftest import Receiver
from tests.worlds import World, passage_record, see, violation_record

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Browser:
    """What a browser keeps of its subscription."""

    def __init__(self, endpoint: str) -> None:
        self.key, self.secret, self.endpoint = ec.generate_private_key(ec.SECP256R1()), os.urandom(16), endpoint

    @property
    def subscription(self) -> dict[str, Any]:
        point = serialization.PublicFormat.UncompressedPoint
        public = self.key.public_key().public_bytes(serialization.Encoding.X962, point)
        return {"endpoint": self.endpoint, "keys": {"p256dh": text(public), "auth": text(self.secret)}}

    def read(self, body: bytes) -> dict[str, Any]:
        return dict(json.loads(http_ece.decrypt(body, private_key=self.key, auth_secret=self.secret)))


@pytest.fixture
def browser(world: World, receiver: Receiver, settings: Any) -> Browser:
    settings.PUSH_SERVICES = frozenset({"127.0.0.1"})
    receiver.status = 201
    return Browser(f"{receiver.url}/send/alice")


def subscribe(client: Client, browser: Browser, **given: Any) -> Any:
    return client.post("/profile/push/", browser.subscription | given, content_type="application/json")


def test_somebody_without_a_mask_is_told_encrypted_and_signed_without_a_face(
    world: World, receiver: Receiver, browser: Browser, sign_in: SignIn
) -> None:
    alice = sign_in(world.alice)
    assert subscribe(alice, browser).json() == {"ok": True}
    found = see(world.door)
    assert outbox.send_due() == 1
    method, path, headers, body = receiver.calls[0]
    assert (method, path) == ("POST", "/send/alice")
    assert headers["content-encoding"] == "aes128gcm" and int(headers["ttl"]) == 86_400
    assert headers["urgency"] == "high" and len(headers["topic"]) == 32
    told = browser.read(body)
    assert told["title"] == "No mask: Front door, Harbour House" and "/told/" in told["link"]
    assert told["tag"] == f"violation-{found.pk}" and "image" not in told
    check_signature(headers["authorization"], receiver.url)


def check_signature(header: str, audience: str) -> None:
    """RFC 8292: a token for this service, by the key with which browsers subscribe here."""
    parts = dict(part.strip().split("=", 1) for part in header.removeprefix("vapid ").split(","))
    head, claims, signature = parts["t"].split(".")
    raw = push.unpadded(signature)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), push.unpadded(push.public_key()))
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    assert parts["k"] == push.public_key() and json.loads(push.unpadded(claims))["aud"] == audience


def test_what_lies_on_the_screen_is_replaced_in_silence_when_it_is_over(
    world: World, receiver: Receiver, browser: Browser, sign_in: SignIn
) -> None:
    from portal.events.recording import record

    subscribe(sign_in(world.alice), browser)
    found = see(world.door)
    outbox.send_due()
    began = found.started_at.timestamp()
    times = {"started_at": began, "last_seen_at": began + 9, "ended_at": began + 9}
    record(passage_record(world.door, found.passage_id, 1, 2, label="mask", started_at=began))
    record(violation_record(world.door, found.pk, found.passage_id, 1, 2, picture=b"", **times))
    outbox.send_due()
    opened, closed = (browser.read(body) for *_, body in receiver.calls)
    assert closed["tag"] == opened["tag"] and (opened["silent"], closed["silent"]) == (False, True)
    assert closed["title"] == "Now with a mask: Front door, Harbour House"


def test_a_face_is_shown_only_where_it_was_switched_on_and_comes_from_the_portal(
    world: World, receiver: Receiver, browser: Browser, sign_in: SignIn
) -> None:
    subscribe(sign_in(world.alice), browser, with_picture=True)
    found = see(world.door)
    outbox.send_due()
    assert browser.read(receiver.calls[0][3])["image"] == f"/violations/{found.pk}/thumbnail.jpg"


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_gone_is_forgotten(
    world: World, receiver: Receiver, browser: Browser, sign_in: SignIn, status: int
) -> None:
    subscribe(sign_in(world.alice), browser)
    receiver.status = status
    see(world.door)
    outbox.send_due()
    assert Delivery.objects.get().state == "failed" and not PushSubscription.objects.exists()
    see(world.door)
    assert Delivery.objects.count() == 1, "and nothing more is written for it"


@pytest.mark.parametrize("endpoint", [
    "https://example.org/push", "http://127.0.0.1:6379/", "https://fcm.googleapis.com.evil.example/x",
    "http://fcm.googleapis.com/x", "https://evil.example/fcm.googleapis.com", "file:///etc/passwd", "",
])  # fmt: skip
def test_only_known_push_services_are_called(
    world: World, receiver: Receiver, settings: Any, sign_in: SignIn, endpoint: str
) -> None:
    settings.PUSH_SERVICES = frozenset()
    answer = subscribe(sign_in(world.alice), Browser(endpoint))
    assert answer.status_code == 422 and "not known here" in answer.json()["error"]
    PushSubscription.objects.create(user=world.alice, endpoint=endpoint or "x")
    see(world.door)
    outbox.send_due()
    assert Delivery.objects.get().state == "failed" and receiver.calls == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"endpoint": "https://fcm.googleapis.com/x"}', b"\xff",
                                  b'{"endpoint": 1, "keys": {"p256dh": "AA", "auth": "AA"}}'])  # fmt: skip
def test_what_is_no_subscription_is_refused(world: World, sign_in: SignIn, body: bytes) -> None:
    answer = sign_in(world.alice).post("/profile/push/", body, content_type="application/json")
    assert answer.status_code == 400 and not PushSubscription.objects.exists()


def test_a_key_that_cannot_be_used_is_said_and_stops_that_one_alone(
    world: World, receiver: Receiver, browser: Browser, sign_in: SignIn
) -> None:
    subscribe(sign_in(world.alice), browser)
    other = Browser(f"{receiver.url}/send/bob")
    subscribe(sign_in(world.bob), other)
    PushSubscription.objects.filter(user=world.alice).update(p256dh=text(b"\x04" + b"\x01" * 64))
    see(world.door)
    outbox.send_due()
    states = dict(Delivery.objects.values_list("receiver__name", "state"))
    assert states == {"Alice": "failed", "Bob": "sent"}


def test_her_browsers_are_listed_and_switched_off(world: World, browser: Browser, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    subscribe(alice, browser)
    subscribe(alice, browser)  # the same again is the same
    row = PushSubscription.objects.get()
    page = squeezed(alice.get("/profile/"))
    assert f"/profile/push/{row.pk}/off/" in page and push.public_key() in page
    sign_in(world.bob).post(f"/profile/push/{row.pk}/off/")
    assert PushSubscription.objects.exists(), "not hers to switch off"
    alice.post(f"/profile/push/{row.pk}/off/")
    assert not PushSubscription.objects.exists()


def test_a_test_is_shown_and_says_how_it_went(
    world: World, receiver: Receiver, browser: Browser, sign_in: SignIn
) -> None:
    alice = sign_in(world.alice)
    subscribe(alice, browser)
    path = f"/profile/push/{PushSubscription.objects.get().pk}/test/"
    assert "Sent." in squeezed(alice.post(path, follow=True))
    assert browser.read(receiver.calls[0][3])["title"] == "It works"
    receiver.status = 429
    assert "It answers with error 429." in squeezed(alice.post(path, follow=True))
    receiver.status = 410
    assert "no longer accepts notifications" in squeezed(alice.post(path, follow=True))
    assert not PushSubscription.objects.exists()


def test_the_portals_key_is_made_once_and_private(tmp_path: Any) -> None:
    made = push.vapid(tmp_path / "keys" / "push.pem")
    assert oct((tmp_path / "keys" / "push.pem").stat().st_mode)[-3:] == "600"
    push.vapid.cache_clear()
    again = push.vapid(tmp_path / "keys" / "push.pem")
    assert made.private_pem() == again.private_pem() and list((tmp_path / "keys").iterdir()) == [
        tmp_path / "keys" / "push.pem"
    ]


def test_the_worker_has_an_address_that_never_changes_and_is_compared_each_time(client: Client) -> None:
    answer = client.get("/push-worker.js")
    assert (
        answer.status_code == 200
        and answer["Cache-Control"] == "no-cache"
        and "worker-src 'self'" in answer["Content-Security-Policy"]
    )
    assert b"showNotification" in answer.content


def test_who_was_not_told_of_somebody_is_not_told_that_they_are_gone(
    world: World, receiver: Receiver, browser: Browser, sign_in: SignIn
) -> None:
    from portal.events.recording import record

    subscribe(sign_in(world.alice), browser)
    see(world.door)
    outbox.send_due()
    second = see(world.door)  # waits for the end of the window
    began = second.started_at.timestamp()
    times = {"started_at": began, "last_seen_at": began + 9, "ended_at": began + 9}
    record(violation_record(world.door, second.pk, second.passage_id, 1, 2, picture=b"", **times))
    outbox.send_due()
    assert len(receiver.calls) == 1 and not Delivery.objects.filter(event="violation.closed").exists()


def test_a_browser_that_somebody_else_uses_now_gets_nothing_of_before(
    world: World, receiver: Receiver, browser: Browser, sign_in: SignIn
) -> None:
    subscribe(sign_in(world.alice), browser)
    see(world.door)
    subscribe(sign_in(world.charlie), browser)
    outbox.send_due()
    assert receiver.calls == [] and Delivery.objects.get().state == "failed"
