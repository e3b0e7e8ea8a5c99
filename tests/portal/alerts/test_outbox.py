"""What waits is sent, in order, at least once: to a real mail server."""

from __future__ import annotations

import email.policy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from cameras.models import Camera, Outage
from portal.alerts import channels, outbox
from portal.alerts.outbox import LONGEST_PAUSE, claim, pause_after, send_due
from portal.models import AuditEntry, Delivery, User
from portal.server import environment
from tests.html import squeezed
from tests.portal_process import free_port
from tests.worlds import World

pytestmark = pytest.mark.django_db(transaction=True)
State = Delivery.State


class MailServer:
    """Takes mails; `answer` is what it says to a receiver's address, or to the mail itself."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.rcpt, self.data = "250 OK", "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data.startswith("250"):
            parsed = email.message_from_bytes(envelope.original_content or b"", policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            self.mails.append(parsed)
        return self.data


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    handler = MailServer()
    port = free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    settings.EMAIL_URL = f"smtp://127.0.0.1:{port}"
    for name, value in environment.email(settings.EMAIL_URL).items():
        setattr(settings, name, value)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    yield handler
    controller.stop()


def decide(camera: Camera, receiver: User, event: str = "outage-began", **given: Any) -> Delivery:
    began_at = datetime(2026, 11, 29, 11, 0, tzinfo=UTC)
    why = {"began_at": began_at, "reason": "Nothing listens on port 554."}
    outage, _is_new = Outage.objects.get_or_create(camera=camera, ended_at=None, defaults=why)
    return Delivery.objects.create(
        site=camera.site, camera=camera, outage=outage, event=event, channel="email", receiver=receiver, **given
    )


def test_a_mail_says_which_camera_since_when_why_and_how_to_stop_it(world: World, server: MailServer) -> None:
    delivery = decide(world.door, world.alice)
    assert send_due() == 1
    (mail,) = server.mails
    assert mail["Subject"] == "Front door at Harbour House is down" and mail["To"] == "alice@example.org"
    assert mail["Message-ID"].startswith(f"<{delivery.pk}@") and mail["Auto-Submitted"] == "auto-generated"
    bodies = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    assert len(bodies) == 2
    for body in bodies:
        for part in ("29 Nov 2026, 11:00", "Europe/Lisbon", "Nothing listens on port 554.", "/profile/",
                     f"/cameras/{world.door.pk}/"):  # fmt: skip
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
    second = decide(world.door, world.alice, "outage-hour")
    other = decide(world.hall, world.charlie)
    Delivery.objects.filter(pk=first.pk).update(next_at=timezone.now() + timedelta(minutes=5))
    assert send_due() == 1
    assert set(Delivery.objects.filter(state=State.SENT)) == {other}
    assert send_due(timezone.now() + timedelta(minutes=6)) == 2
    assert [mail["Message-ID"][1:37] for mail in server.mails[1:]] == [str(first.pk), str(second.pk)]


def test_who_is_killed_after_claiming_sends_again_later_and_nobody_meanwhile(world: World, server: MailServer) -> None:
    delivery, now = decide(world.door, world.alice), timezone.now()
    claimed = claim(now)
    assert claimed is not None and claim(now) is None and send_due(now) == 0
    assert send_due(now + timedelta(minutes=3)) == 1
    assert server.mails[0]["Message-ID"].startswith(f"<{delivery.pk}@"), "under the same id, so that it can be dropped"


def test_a_server_that_hangs_holds_up_one_round_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job worker has two threads, and more to do than to send."""
    for camera, receiver in ((world.door, world.alice), (world.hall, world.charlie)):
        decide(camera, receiver)
    tried: list[int] = []

    def hang(delivery: Delivery) -> None:
        tried.append(send_due())  # what the other thread gets, in the middle of it
        raise channels.SendError("The mail server does not answer.")

    monkeypatch.setattr(outbox, "send", hang)
    monkeypatch.setattr(outbox, "ROUND_S", 0.0)
    assert send_due() == 0 and tried == [], "no time, no message"
    monkeypatch.setattr(outbox, "ROUND_S", 10.0)
    assert send_due() == 0 and tried == [0, 0]


def test_a_fault_of_ours_stops_that_one_alone(
    world: World, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = decide(world.door, world.alice), decide(world.hall, world.charlie)
    real = channels.send

    def send(delivery: Delivery) -> None:
        if delivery.pk == broken.pk:
            raise RuntimeError
        real(delivery)

    monkeypatch.setattr(outbox, "send", send)
    assert send_due() == 1
    broken.refresh_from_db()
    fine.refresh_from_db()
    assert (broken.state, fine.state) == (State.FAILED, State.SENT) and "its log says more" in broken.why


@given(st.integers(1, 10_000))
def test_pauses_grow_and_end_at_an_hour(tries: int) -> None:
    assert timedelta(seconds=30) <= pause_after(tries) <= pause_after(tries + 1) <= LONGEST_PAUSE


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
    assert AuditEntry.objects.filter(action="sent-again", subject="alice@example.org").exists()


def test_what_was_told_goes_with_the_sites_days(world: World) -> None:
    from portal.events import retention

    decide(world.door, world.alice)
    retention.sweep()
    assert Delivery.objects.count() == 1
    retention.sweep(timezone.now() + timedelta(days=31))
    assert Delivery.objects.count() == 0


def test_a_manager_switches_it_off_in_her_profile(world: World, sign_in: Callable[[User], Client]) -> None:
    alice = sign_in(world.alice)
    assert "E-mail when a camera is down" in squeezed(alice.get("/profile/"))
    alice.post("/profile/", {"name": "Alice", "theme": "system"})
    world.alice.refresh_from_db()
    assert not world.alice.mail_outages
