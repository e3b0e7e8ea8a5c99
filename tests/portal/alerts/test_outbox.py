"""What waits is sent, in order, at least once: to a real mail server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from cameras.models import Camera, Outage
from cameras.reach.credentials import seal
from portal.alerts import channels, outbox, waking
from portal.alerts.outbox import LONGEST_PAUSE, claim, pause_after, send_due
from portal.alerts.sender import Sender
from portal.models import AuditEntry, Delivery, Destination, Rule, User
from portal.people.access import Audience
from portal.people.pictures import PictureView, render
from tests.html import squeezed
from tests.portal.alerts.conftest import MailServer, Receiver
from tests.portal_process import wait_for
from tests.worlds import World, see

pytestmark = pytest.mark.django_db(transaction=True)
State = Delivery.State


def decide(camera: Camera, receiver: User, event: str = "outage.began", **given: Any) -> Delivery:
    began_at = datetime(2026, 11, 29, 11, 0, tzinfo=UTC)
    why = {"began_at": began_at, "reason": "Nothing listens on port 554."}
    outage, _is_new = Outage.objects.get_or_create(camera=camera, ended_at=None, defaults=why)
    return Delivery.objects.create(
        site=camera.site, camera=camera, outage=outage, event=event, about=str(outage.pk), channel="email",
        lane=f"email:{receiver.pk}", receiver=receiver, **given,
    )  # fmt: skip


def test_a_mail_says_which_camera_since_when_why_and_how_to_stop_it(world: World, server: MailServer) -> None:
    delivery = decide(world.door, world.alice)
    assert send_due() == 1
    (mail,) = server.mails
    assert mail["Subject"] == "Front door at Harbour House is down" and mail["To"] == "alice@example.org"
    assert mail["Message-ID"].startswith(f"<{delivery.key}@") and mail["Auto-Submitted"] == "auto-generated"
    bodies = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    assert len(bodies) == 2
    for body in bodies:
        for part in ("29 Nov 2026, 11:00", "Europe/Lisbon", "Nothing listens on port 554.", "/profile/",
                     f"/told/{delivery.key}/"):  # fmt: skip
            assert part in body
    delivery.refresh_from_db()
    assert delivery.state == State.SENT and delivery.sent_at is not None and send_due() == 0


def test_names_cannot_write_headers_or_markup(world: World, server: MailServer) -> None:
    Camera.objects.filter(pk=world.door.pk).update(name="Door\r\nBcc: all@example.org <b>x</b>")
    decide(Camera.objects.get(pk=world.door.pk), world.alice)
    assert send_due() == 1
    (mail,) = server.mails
    assert mail["Bcc"] is None and "Bcc: all@example.org" in mail["Subject"]
    html = next(part.get_content() for part in mail.walk() if part.get_content_type() == "text/html")
    assert "&lt;b&gt;" in html and "<b>x" not in html


@pytest.mark.parametrize(("step", "answer", "permanent"), [
    ("rcpt", "550 no such user", True), ("rcpt", "451 greylisted", False),
    ("data", "554 spam", True), ("data", "452 full", False),
])  # fmt: skip
def test_a_refusal_for_good_stops_with_its_reason_and_another_is_tried_again(
    world: World, server: MailServer, step: str, answer: str, permanent: bool
) -> None:
    setattr(server, step, answer)
    delivery = decide(world.door, world.alice)
    assert send_due() == 0
    delivery.refresh_from_db()
    assert delivery.state == (State.FAILED if permanent else State.WAITING) and answer[:3] in delivery.why
    setattr(server, step, "250 OK")
    assert send_due() == 0, "not at once"
    assert send_due(timezone.now() + timedelta(minutes=1)) == (0 if permanent else 1)


def test_a_server_that_is_down_is_tried_for_a_day(world: World, settings: Any) -> None:
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    delivery, now = decide(world.door, world.alice), timezone.now()
    for step in range(200):
        send_due(now + step * timedelta(minutes=10))
        delivery.refresh_from_db()
        if delivery.state == State.FAILED:
            break
    assert delivery.state == State.FAILED and "does not answer" in delivery.why
    assert timedelta(hours=23) < step * timedelta(minutes=10) < timedelta(hours=26)


def test_to_one_receiver_nothing_overtakes_and_another_does_not_wait(world: World, server: MailServer) -> None:
    first = decide(world.door, world.alice)
    second = decide(world.door, world.alice, "outage.hour")
    other = decide(world.hall, world.charlie)
    Delivery.objects.filter(pk=first.pk).update(next_at=timezone.now() + timedelta(minutes=5), tries=1)
    assert send_due() == 1
    assert set(Delivery.objects.filter(state=State.SENT)) == {other}
    assert send_due(timezone.now() + timedelta(minutes=6)) == 2
    assert [mail["Message-ID"][1:37] for mail in server.mails[1:]] == [str(first.key), str(second.key)]


def test_who_is_killed_after_claiming_sends_again_later_and_nobody_meanwhile(world: World, server: MailServer) -> None:
    delivery, now = decide(world.door, world.alice), timezone.now()
    assert claim(delivery.lane, now) == [delivery] and claim(delivery.lane, now) == [] and send_due(now) == 0
    assert send_due(now + timedelta(minutes=3)) == 1
    assert server.mails[0]["Message-ID"].startswith(f"<{delivery.key}@"), "under the same id, so that it can be dropped"


def test_a_fault_of_ours_stops_that_one_alone(
    world: World, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = decide(world.door, world.alice), decide(world.hall, world.charlie)
    real = channels.send

    def send(batch: list[Delivery]) -> None:
        if broken in batch:
            raise RuntimeError
        real(batch)

    monkeypatch.setattr(outbox, "send", send)
    assert send_due() == 1
    broken.refresh_from_db()
    fine.refresh_from_db()
    assert (broken.state, fine.state) == (State.WAITING, State.SENT) and "its log says more" in broken.why
    for hours in range(1, 6):
        send_due(timezone.now() + timedelta(hours=hours))
    broken.refresh_from_db()
    assert broken.state == State.FAILED and broken.tries == outbox.MOST_FAULTS


@given(st.integers(1, 10_000))
def test_pauses_grow_and_end_at_a_quarter_of_an_hour(tries: int) -> None:
    assert timedelta(seconds=5) <= pause_after(tries) <= pause_after(tries + 1) <= LONGEST_PAUSE


def test_the_page_lists_what_went_where_and_sends_again(
    world: World, server: MailServer, sign_in: Callable[[User], Client]
) -> None:
    server.rcpt = "550 no such user"
    delivery = decide(world.door, world.alice)
    send_due()
    alice = sign_in(world.alice)
    page = squeezed(alice.get(f"/sites/{world.here.pk}/deliveries/"))
    assert "A camera is down" in page and "refuses this address (550)" in page and "Send again" in page
    server.rcpt = "250 OK"
    alice.post(f"/deliveries/{delivery.pk}/again/")
    assert send_due() == 1 and "Send again" not in squeezed(alice.get(f"/sites/{world.here.pk}/deliveries/"))
    assert AuditEntry.objects.filter(action="sent-again", subject="Alice").exists()


def test_what_was_told_goes_with_the_sites_days(world: World) -> None:
    from portal.events import retention

    decide(world.door, world.alice)
    retention.sweep()
    assert Delivery.objects.count() == 1
    retention.sweep(timezone.now() + timedelta(days=31))
    assert Delivery.objects.count() == 0


def test_one_click_stops_a_rule_without_signing_in_and_a_look_at_the_link_does_not(
    world: World, server: MailServer
) -> None:
    rule = world.here.rules.get(name="Trouble")
    decide(world.door, world.alice, rule=rule)
    send_due()
    (mail,) = server.mails
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = mail["List-Unsubscribe"].strip("<>").partition(":8000")[2]
    nobody = Client(enforce_csrf_checks=True)
    assert "Stop these messages?" in squeezed(nobody.get(path)) and not rule.stopped_by.exists()
    assert nobody.post(path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert list(rule.stopped_by.all()) == [world.alice]
    assert nobody.get(f"{path[:-2]}x/").status_code == 404


def test_she_stops_it_in_her_profile_and_has_it_told_again(world: World, sign_in: Callable[[User], Client]) -> None:
    rule, alice = world.here.rules.get(name="Trouble"), sign_in(world.alice)
    assert "A camera is down, or back" in squeezed(alice.get("/profile/"))
    alice.post(f"/profile/rules/{rule.pk}/", {"to": "stop"})
    assert list(rule.stopped_by.all()) == [world.alice] and "Start again" in squeezed(alice.get("/profile/"))
    alice.post(f"/profile/rules/{rule.pk}/", {"to": "go-on"})
    assert not rule.stopped_by.exists()
    assert sign_in(world.charlie).post(f"/profile/rules/{rule.pk}/", {"to": "stop"}).status_code == 404


def test_a_test_by_mail_says_what_the_server_said(
    world: World, server: MailServer, sign_in: Callable[[User], Client]
) -> None:
    vera = sign_in(world.vera)
    assert "The mail server accepted it for vera@example.org." in squeezed(
        vera.post("/profile/mail/test/", follow=True)
    )
    assert server.mails[0]["To"] == "vera@example.org"
    server.rcpt = "550 no such user"
    assert "refuses this address (550)" in squeezed(vera.post("/profile/mail/test/", follow=True))
    assert "Too many tests" in squeezed(vera.post("/profile/mail/test/", follow=True))


def test_who_has_left_the_site_gets_nothing_of_what_was_decided_before(world: World, server: MailServer) -> None:
    delivery = decide(world.door, world.alice)
    world.alice.memberships.all().delete()
    assert send_due() == 0 and server.mails == []
    delivery.refresh_from_db()
    assert delivery.state == State.FAILED and "no access" in delivery.why


def test_cameras_that_fail_together_are_one_mail(world: World, server: MailServer) -> None:
    others = [Camera.objects.create(site=world.here, name=f"Desk {number}", address="x.mp4") for number in range(24)]
    for camera in (world.door, *others):
        decide(camera, world.alice)
    assert send_due() == 25
    (mail,) = server.mails
    text = next(part.get_content() for part in mail.walk() if part.get_content_type() == "text/plain")
    assert mail["Subject"] == "25 cameras at Harbour House are down"
    assert "Front door" in text and "Desk 18" in text and "and 5 more" in text


@pytest.mark.parametrize("who", ["alice", "vera"])
def test_the_picture_is_the_one_that_the_receivers_role_may_see_and_is_noted(
    world: World, server: MailServer, who: str
) -> None:
    rule = Rule.objects.create(site=world.here, name="All", topics=["no_mask"], during="always", by_push=False)
    rule.people.set([getattr(world, who)])
    found = see(world.door)
    assert send_due() == 1
    (mail,) = server.mails
    assert mail["Subject"] == "No mask: Front door, Harbour House" and mail.get_content_type() == "multipart/related"
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/jpeg"]
    html = next(part.get_content() for part in mail.walk() if part.get_content_type() == "text/html")
    assert picture["Content-ID"] == "<picture>" and 'src="cid:picture"' in html
    assert ("Mute alerts for an hour" in html) == (who == "alice"), "a viewer may not"
    audience = Audience.FACES if who == "alice" else Audience.PIXELATED
    assert picture.get_content() == render(found, audience, PictureView.THUMBNAIL)
    other = Audience.PIXELATED if who == "alice" else Audience.FACES
    assert picture.get_content() != render(found, other, PictureView.THUMBNAIL)
    noted = AuditEntry.objects.get(action="sent-picture")
    assert noted.actor.startswith(who.title()) and "Front door" in noted.subject


def test_a_picture_that_was_not_taken_is_not_noted_as_seen(world: World, server: MailServer) -> None:
    rule = Rule.objects.create(site=world.here, name="All", topics=["no_mask"], during="always", by_push=False)
    rule.people.set([world.alice])
    see(world.door)
    server.data = "451 later"
    send_due()
    assert not AuditEntry.objects.filter(action="sent-picture").exists()


def test_a_mail_server_that_is_slow_is_left_after_a_while(world: World, settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()
        assert settings.EMAIL_TIMEOUT == 20, "Django's own default waits for ever"
        settings.EMAIL_TIMEOUT = 0.5
        delivery = decide(world.door, world.alice)
        send_due()
    delivery.refresh_from_db()
    assert delivery.state == State.WAITING and "does not answer" in delivery.why


def test_a_hanging_receiver_holds_up_its_own_lane_alone(world: World, server: MailServer, receiver: Receiver) -> None:
    """The job worker's sender, with its threads."""
    place = Destination.objects.create(
        site=world.here,
        name="Slow",
        kind="webhook",
        sealed_address=seal(receiver.url),
        sealed_secret=seal("whsec_YQ=="),
    )
    receiver.hangs.clear()
    Delivery.objects.create(
        site=world.here, event="outage.began", about="1", channel="destination", lane=f"destination:{place.pk}",
        destination=place,
    )  # fmt: skip
    sender = Sender()
    sender.start()
    try:
        wait_for(lambda: receiver.calls, 5, "the first call")
        with transaction.atomic():
            decide(world.door, world.alice)
            transaction.on_commit(waking.wake)
        wait_for(lambda: server.mails, 5, "the mail")
        assert Delivery.objects.get(channel="destination").state == State.WAITING
        receiver.hangs.set()
        wait_for(lambda: not Delivery.objects.exclude(state=State.SENT).exists(), 5, "the call to be taken")
    finally:
        sender.stop()
