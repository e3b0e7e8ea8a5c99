"""Webhooks and chats, against a real HTTP server: what they get, what counts as taken, and what is never called."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from cameras.reach.credentials import seal, unseal
from portal.alerts import outbox
from portal.alerts.channels import calls, destinations, vendors
from portal.alerts.channels.destinations import sign
from portal.models import AuditEntry, Delivery, Destination, Rule, User
from tests.html import squeezed
from tests.portal.alerts.conftest import Receiver
from tests.worlds import World, see

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]
SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"


def place(world: World, address: str, kind: str = "webhook", secret: str = SECRET, **given: Any) -> Destination:
    """A destination, and a rule that leads there."""
    made = Destination.objects.create(
        site=world.here, name="There", kind=kind, sealed_address=seal(address), sealed_secret=seal(secret), **given
    )
    rule = Rule.objects.create(
        site=world.here, name="Out", topics=["no_mask", "outage"], during="always", by_email=False, by_push=False
    )
    rule.destinations.set([made])
    return made


def test_signatures_are_those_of_standard_webhooks() -> None:
    """The example of the specification."""
    body = b'{"event_type":"ping","data":{"success":true}}'
    signed = sign(SECRET, "msg_loFOjxBNrRLzqYUf", "1731705121", body)
    assert signed == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def test_a_webhook_gets_every_event_as_signed_data(world: World, receiver: Receiver) -> None:
    place(world, f"{receiver.url}/hook?x=1")
    found = [see(world.door) for _ in range(3)]
    assert outbox.send_due() == 3
    assert [json.loads(body)["data"]["id"] for _, _, _, body in receiver.calls] == [str(each.pk) for each in found]
    method, path, headers, body = receiver.calls[0]
    assert (method, path, headers["content-type"]) == ("POST", "/hook?x=1", "application/json")
    assert json.loads(body)["type"] == "violation.opened"
    key, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    assert headers["webhook-signature"] == sign(SECRET, key, stamp, body)
    assert abs(int(stamp) - timezone.now().timestamp()) < 10
    assert key == str(Delivery.objects.order_by("pk")[0].key)


@pytest.mark.parametrize(("status", "state"), [
    (200, "sent"), (204, "sent"), (302, "failed"), (307, "failed"), (400, "failed"), (404, "failed"), (410, "failed"),
    (408, "waiting"), (429, "waiting"), (500, "waiting"), (503, "waiting"),
])  # fmt: skip
def test_an_answer_counts_by_its_status_and_no_redirect_is_followed(
    world: World, receiver: Receiver, status: int, state: str
) -> None:
    place(world, f"{receiver.url}/hook")
    receiver.status = status
    receiver.headers = {"Location": f"{receiver.url}/inside"} if status in {302, 307} else {}
    see(world.door)
    outbox.send_due()
    row = Delivery.objects.get()
    assert row.state == state and (state == "sent" or str(status) in row.why)
    assert [path for _, path, _, _ in receiver.calls] == ["/hook"]


def test_what_was_not_taken_comes_again_under_the_same_id_and_later_ones_wait(world: World, receiver: Receiver) -> None:
    place(world, receiver.url)
    receiver.status = 503
    see(world.door)
    see(world.door)
    outbox.send_due()
    assert len(receiver.calls) == 1, "the second does not overtake"
    receiver.status = 200
    assert outbox.send_due(timezone.now() + timedelta(seconds=6)) == 2
    ids = [headers["webhook-id"] for _, _, headers, _ in receiver.calls]
    assert ids[0] == ids[1] != ids[2]


def test_ten_megabytes_of_answer_are_not_read(world: World, receiver: Receiver) -> None:
    place(world, receiver.url)
    receiver.body = b"x" * 10_000_000
    answer = destinations.deliver([Delivery(site=world.here, event="test", destination=Destination.objects.get())])
    assert len(answer.body) == calls.MOST_BYTES


def test_one_that_never_answers_is_left_after_a_while(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "WITHIN_S", 1.0)
    place(world, receiver.url)
    receiver.hangs.clear()
    see(world.door)
    outbox.send_due()
    row = Delivery.objects.get()
    assert row.state == "waiting" and "does not answer" in row.why


@pytest.mark.parametrize("address", [
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
    "http://2130706433:{port}/", "http://169.254.169.254/latest/meta-data/",
])  # fmt: skip
@pytest.mark.parametrize("kind", ["webhook", "ntfy", "gotify", "matrix", "teams", "own"])
def test_nothing_inside_is_called_whatever_was_typed(world: World, settings: Any, address: str, kind: str) -> None:
    settings.CAMERA_NETWORKS = []
    with socket.create_server(("127.0.0.1", 0)) as inside:
        place(world, address.format(port=inside.getsockname()[1]), kind, SECRET)
        see(world.door)
        outbox.send_due()
        row = Delivery.objects.get()
        assert row.state == "failed" and "may not be called" in row.why
        inside.settimeout(0.05)
        with pytest.raises(TimeoutError):
            inside.accept()


def test_chats_get_a_sentence_and_a_link_in_their_own_form(world: World, receiver: Receiver) -> None:
    for kind, path in (("ntfy", "/doors"), ("gotify", ""), ("matrix", "/!room:example.org"), ("teams", "/flow")):
        place(world, f"{receiver.url}{path}", kind, "t0ken")
    see(world.door)
    assert outbox.send_due() == 4
    got = {path: (method, headers, json.loads(body)) for method, path, headers, body in receiver.calls}
    _, headers, ntfy = got["/"]
    assert ntfy["topic"] == "doors" and ntfy["title"] == "No mask: Front door, Harbour House"
    assert "/told/" in ntfy["click"] and headers["authorization"] == "Bearer t0ken"
    _, headers, gotify = got["/message"]
    assert gotify["title"] == ntfy["title"] and headers["x-gotify-key"] == "t0ken"
    method, headers, matrix = next(value for path, value in got.items() if path.startswith("/_matrix/"))
    assert method == "PUT" and "No mask" in matrix["body"] and headers["authorization"] == "Bearer t0ken"
    assert any("/rooms/%21room%3Aexample.org/send/m.room.message/" in path for path in got)
    card = got["/flow"][2]["attachments"][0]["content"]
    assert card["type"] == "AdaptiveCard" and card["body"][0]["text"] == ntfy["title"]


def test_an_own_request_fills_its_placeholders_escaped_for_where_they_go(world: World, receiver: Receiver) -> None:
    world.door.name = 'A "B" & C/ü'
    world.door.save()
    body = '{"text": "$title", "where": "$camera", "price": "5 $$"}'
    place(world, f"{receiver.url}/x/$camera?s=$site", "own", "", body=body)
    see(world.door)
    assert outbox.send_due() == 1
    _, path, _, sent = receiver.calls[0]
    assert path == "/x/A%20%22B%22%20%26%20C%2F%C3%BC?s=Harbour%20House"
    assert json.loads(sent)["where"] == 'A "B" & C/ü' and json.loads(sent)["price"] == "5 $"


def test_a_chats_flood_is_two_messages(world: World, receiver: Receiver) -> None:
    place(world, f"{receiver.url}/doors", "ntfy", "")
    for _ in range(9):
        see(world.door)
    outbox.send_due()
    outbox.send_due(timezone.now() + timedelta(minutes=11))
    titles = [json.loads(body)["title"] for *_, body in receiver.calls]
    assert titles == ["No mask: Front door, Harbour House", "8 people without a mask: Front door, Harbour House"]


# -- vendors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [
    "ntfy://127.0.0.1/x", "json://127.0.0.1/", "xml://localhost", "matrix://a:b@127.0.0.1", "gotify://localhost/t",
    "mailto://a:b@127.0.0.1", "file:///etc/passwd", "exec:///bin/sh", "tgram://", "",
    "tgram://123456789:abcdefg_hijklmnop/12315544/?template=http://127.0.0.1/x",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?template=file:///etc/passwd",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=http://169.254.169.254/",
])  # fmt: skip
def test_only_vendors_own_hosts_are_taken(address: str) -> None:
    assert vendors.check(address)


def test_vendors_are_called_through_the_door_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, bytes]] = []

    def ask(method: str, url: str, headers: dict[str, str], body: bytes) -> calls.Reply:
        asked.append((method, url, body))
        said = b"ok" if "slack" in url else b'{"ok": true}'
        return calls.Reply(200, said, {"Content-Type": "application/json"})

    def refuse(*given: object, **more: object) -> None:
        raise AssertionError("a connection of its own")

    monkeypatch.setattr(vendors, "ask", ask)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    addresses = {
        "tgram://123456789:abcdefg_hijklmnop/12315544/": "https://api.telegram.org/",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js": "https://discord.com/",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general": "https://hooks.slack.com/",
        "pover://abcdefghijklmnopqrstuvwxyz1234@abcdefghijklmnopqrstuvwxyz1234": "https://api.pushover.net/",
    }
    place(world, next(iter(addresses)), "vendor", "")
    see(world.door)
    assert outbox.send_due() == 1
    for address, host in addresses.items():
        asked.clear()
        Destination.objects.update(sealed_address=seal(address))
        assert "It was accepted (200)" in destinations.try_out(Destination.objects.get())
        assert asked and all(url.startswith(host) for _, url, _ in asked), asked


def test_a_vendor_that_leads_elsewhere_is_not_followed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """apprise itself follows a 307, and calls what comes of it a success."""
    asked: list[str] = []

    def ask(method: str, url: str, headers: dict[str, str], body: bytes) -> calls.Reply:
        asked.append(url)
        return calls.Reply(307, b"", {"Location": "http://127.0.0.1/"})

    monkeypatch.setattr(vendors, "ask", ask)
    place(world, "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "vendor", "")
    see(world.door)
    outbox.send_due()
    assert Delivery.objects.get().state == "failed" and not any("127.0.0.1" in url for url in asked)


# -- pages ------------------------------------------------------------------------------------------------------------


def test_a_webhook_is_added_its_secret_shown_once_and_tested(world: World, receiver: Receiver, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    form = {"name": "Ours", "kind": "webhook", "address": f"{receiver.url}/hook/s3cret"}
    page = squeezed(alice.post(f"/sites/{world.here.pk}/destinations/add/", form))
    made = Destination.objects.get()
    secret = unseal(made.sealed_secret)
    assert secret.startswith("whsec_") and secret in page
    for path in (f"/destinations/{made.pk}/", f"/sites/{world.here.pk}/rules/"):
        page = squeezed(alice.get(path))
        assert secret not in page and "s3cret" not in page and "http://127.0.0.1" in page
    receiver.status, receiver.body = 422, b"no"
    page = squeezed(alice.post(f"/destinations/{made.pk}/test/", follow=True))
    assert "Ours: It answers with error 422." in page
    receiver.status, receiver.body = 202, b"got it"
    page = squeezed(alice.post(f"/destinations/{made.pk}/test/", follow=True))
    assert "Ours: It was accepted (202). got it" in page
    alice.post(f"/destinations/{made.pk}/", {"name": "Renamed", "kind": "webhook"})
    made.refresh_from_db()
    assert made.name == "Renamed" and unseal(made.sealed_secret) == secret
    assert AuditEntry.objects.filter(action="rule-changed").count() == 2
    assert "s3cret" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(("form", "said"), [
    ({"kind": "webhook", "address": "ftp://x"}, "must begin with https://"),
    ({"kind": "webhook", "address": ""}, "Enter the address."),
    ({"kind": "vendor", "address": "ntfy://127.0.0.1/x"}, "It must begin with one of slack://"),
    ({"kind": "own", "address": "https://$camera/x"}, "Write the host itself"),
    ({"kind": "own", "address": "https://a/x", "body": "$nonsense"}, "$nonsense is unknown"),
    ({"kind": "own", "address": "https://a/x", "body": "{{ settings.SECRET_KEY }} $title"}, None),
])  # fmt: skip
def test_a_destination_that_cannot_be_is_said_where_it_is_wrong(
    world: World, sign_in: SignIn, form: dict[str, str], said: str | None
) -> None:
    answer = sign_in(world.alice).post(f"/sites/{world.here.pk}/destinations/add/", {"name": "D"} | form)
    if said is None:
        assert answer.status_code == 302, "no template engine reads it"
    else:
        assert answer.status_code == 422 and said in squeezed(answer)


def test_a_kept_token_is_not_sent_to_another_host(world: World, receiver: Receiver, sign_in: SignIn) -> None:
    made = place(world, f"{receiver.url}/doors", "ntfy", "t0ken")
    form = {"name": "D", "kind": "ntfy", "address": "https://elsewhere.example/doors"}
    answer = sign_in(world.alice).post(f"/destinations/{made.pk}/", form)
    assert answer.status_code == 422 and "Enter the token again" in squeezed(answer)


def test_a_key_that_is_missing_is_said(world: World, receiver: Receiver, settings: Any, tmp_path: Any) -> None:
    place(world, receiver.url)
    see(world.door)
    settings.DATA_DIR = tmp_path
    outbox.send_due()
    row = Delivery.objects.get()
    assert row.state == "failed" and "key that is missing" in row.why


def test_no_log_holds_an_address(world: World, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    place(world, f"{receiver.url}/hook/s3cret")
    see(world.door)
    receiver.status = 500
    outbox.send_due()
    assert "was not taken" in caplog.text and "s3cret" not in caplog.text
