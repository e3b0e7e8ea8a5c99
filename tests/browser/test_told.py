"""With the manager's browser closed, somebody comes without a mask: mail, push and MQTT say so within five seconds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from playwright.sync_api import Browser, expect

from tests.browser.conftest import sign_in
from tests.portal.alerts.brokers import Mosquitto, Subscriber
from tests.portal.alerts.conftest import MailServer, Receiver
from tests.portal.alerts.test_push import Browser as Subscription
from tests.portal_process import PortalProcess, free_port, python_in, wait_for

WITHIN_S = 5.0
PAUSE = "from cameras.models import Camera\nCamera.objects.update(paused={paused})"
WATCHED = """
from cameras.models import CameraLease; from portal.models import Violation
watched = CameraLease.objects.exclude(worker="").exists() or Violation.objects.filter(ended_at=None).exists()
print("some" if watched else "none")
"""
TOLD = """
import json
from portal.models import *
row = Violation.objects.get(pk="{key}")
print(json.dumps([row.opened_at.timestamp(), {{each.channel: str(each.key) for each in row.deliveries.all()}}]))
"""
PUSH = """
const subscription = %s;
PushManager.prototype.subscribe = async (options) => {
  if (!options.userVisibleOnly || options.applicationServerKey.length !== 65) throw new Error("no key");
  return { toJSON: () => subscription };
};
"""


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[tuple[MailServer, Controller, Receiver, Mosquitto]]:
    mail = MailServer()
    controller = Controller(mail, hostname="127.0.0.1", port=free_port())
    controller.start()
    mosquitto = Mosquitto(tmp_path)
    mosquitto.start()
    with Receiver() as push:
        push.status = 201
        threading.Thread(target=push.serve_forever, daemon=True).start()
        yield mail, controller, push, mosquitto
        push.shutdown()
    mosquitto.kill()
    controller.stop()


def test_mail_push_and_mqtt_tell_within_five_seconds(
    browser: Browser, receivers: tuple[MailServer, Controller, Receiver, Mosquitto], tmp_path: Path
) -> None:
    mail, controller, push, mosquitto = receivers
    given = {
        "EMAIL_URL": f"smtp://127.0.0.1:{controller.port}", "MQTT_URL": mosquitto.url, "PUSH_SERVICES": "127.0.0.1",
        "CAMERA_NETWORKS": "127.0.0.0/8",
    }  # fmt: skip
    portal = PortalProcess(tmp_path / "data", environment=given).start()
    ears = Subscriber(mosquitto.port)
    subscription = Subscription(f"{push.url}/send/1")
    try:
        python_in(portal, PAUSE.format(paused=True))
        wait_for(lambda: python_in(portal, WATCHED).strip().endswith("none"), 20, "the pause")
        set_up(browser, portal, subscription)
        ears.heard.clear()
        python_in(portal, PAUSE.format(paused=False))
        heard = wait_for(lambda: opened(ears), 60, "somebody without a mask")[0]
        seen: dict[str, float] = {"mqtt": time.time()}
        wait_for(lambda: note(seen, mail.mails, push.calls), 30, "mail and push")
        violation = heard["id"]
        opened_at, keys = json.loads(python_in(portal, TOLD.format(key=violation)).strip().splitlines()[-1])
        assert set(keys) == {"email", "push", "mqtt"}
        assert {name: round(at - opened_at, 1) for name, at in seen.items() if at - opened_at > WITHIN_S} == {}
        assert mail.mails[0]["Message-ID"].startswith(f"<{keys['email']}@")
        pictures = [part for part in mail.mails[0].walk() if part.get_content_type() == "image/jpeg"]
        assert len(pictures) == 1
        shown = subscription.read(push.calls[0][3])
        assert shown["tag"] == f"violation-{violation}" and f"/told/{keys['push']}/" in shown["link"]
    finally:
        ears.stop()
        portal.kill()


def opened(ears: Subscriber) -> list[dict[str, Any]]:
    return [body for body in ears.bodies("/violation") if body["event_type"] == "opened"]


def note(seen: dict[str, float], mails: Sequence[object], calls: Sequence[object]) -> bool:
    for name, there in (("email", mails), ("push", calls)):
        if there:
            seen.setdefault(name, time.time())
    return len(seen) == 3


def set_up(browser: Browser, portal: PortalProcess, subscription: Subscription) -> None:
    """As a manager does: notifications in her profile, and mails about people, too. Then she closes the browser."""
    context = browser.new_context(base_url=portal.address, permissions=["notifications"])
    context.add_init_script(PUSH % json.dumps(subscription.subscription))
    page = context.new_page()
    sign_in(page, *portal.login())
    page.goto("/profile/")
    page.get_by_role("button", name="Switch on in this browser").click()
    expect(page.get_by_text("Switch off")).to_be_visible()
    page.goto("/sites/")
    sites = page.locator("a.row-link").count()
    for number in range(sites):
        page.goto("/sites/")
        page.locator("a.row-link").nth(number).click()
        page.get_by_role("link", name="Who is notified").click()
        page.get_by_role("link", name="People without a mask").click()
        page.get_by_label("By e-mail").check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("People without a mask is saved.")).to_be_visible()
    context.close()
