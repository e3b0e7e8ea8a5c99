"""How alerts are grouped: the real page, with the test at the other end of its socket."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import pause
from tests.portal_process import PortalProcess, wait_for

Visit = Callable[..., Page]


class Server:
    """Stands in for the portal at the other end of the socket."""

    def __init__(self, page: Page) -> None:
        self.heard: list[dict[str, Any]] = []
        self.sockets: list[WebSocketRoute] = []
        page.route_web_socket("**/ws/live/", self._come)

    def _come(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda text: self.heard.append(json.loads(text)))
        self.say({"type": "hello", "now": datetime.now(UTC).timestamp(), "feeds": {}, "cameras": []})

    def say(self, message: dict[str, Any]) -> None:
        self.sockets[-1].send(json.dumps(message))


def violation(number: int, age_s: float = 0, **more: Any) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    numbers = {"version": 1, "review_version": 0, "number": number, "opened_number": number, "to_review": number}
    place = {"site": 99, "site_name": "Elm Court", "camera": 9, "camera_name": "Gate"}
    state = {"label": "no_mask", "label_name": "No mask", "status": "open", "status_name": "To review"}
    times = {"started_at": at, "opened_at": at, "reviewed_by": "", "picture": ""}
    return {"type": "violation", "id": str(uuid.uuid4()), **numbers, **place, **state, **times} | more


@pytest.fixture
def page_and_server(portal: PortalProcess, visit: Visit) -> tuple[Page, Server]:
    page = visit(portal)
    server = Server(page)
    from tests.browser.conftest import sign_in

    sign_in(page, *portal.login())
    expect(page.locator("body")).to_have_attribute("data-live", "live")
    return page, server


def test_eight_at_once_are_one_toast(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    for number in range(1, 9):
        server.say(violation(number))
    expect(page.locator("[data-toast]")).to_have_text(["8 people without a maskReview them×"])


def test_what_is_older_than_a_minute_comes_as_while_you_were_away(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    for number in (1, 2):
        server.say(violation(number, age_s=120))
    server.say(violation(3))
    expect(page.locator("[data-toast=away]")).to_contain_text("While you were away: 2 people without a mask")
    expect(page.locator(".toast:not(.away)")).to_contain_text("No mask at Gate, Elm Court")


def test_the_same_message_twice_is_one_toast_and_a_later_version_none(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    one = violation(1)
    server.say(one)
    expect(page.locator("[data-toast]")).to_have_count(1)
    for message in (one, one | {"version": 2, "number": 2}, violation(3, camera_name="Yard")):
        server.say(message)
    expect(page.locator("[data-toast]").nth(1)).to_contain_text("No mask at Yard")
    expect(page.locator("[data-toast]")).to_have_count(2)


def test_what_was_known_when_the_page_was_made_is_no_toast(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    server.say(violation(1, opened_number=0))
    server.say(violation(2, camera_name="Yard"))
    expect(page.locator("[data-toast]")).to_contain_text("No mask at Yard")
    expect(page.locator("[data-toast]")).to_have_count(1)


def test_a_gap_in_the_numbers_is_asked_for(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    server.say(violation(1))
    server.say(violation(5))
    wait_for(lambda: pause(page, 20) or {"type": "missed", "after": {"99": 1}} in server.heard, 5, "the question")


def test_a_heartbeat_with_a_newer_number_is_asked_for(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    feeds = {"99": {"number": 7, "to_review": 4}}
    server.say({"type": "heartbeat", "now": datetime.now(UTC).timestamp(), "feeds": feeds})
    wait_for(lambda: pause(page, 20) or {"type": "missed", "after": {"99": 0}} in server.heard, 5, "the question")
    expect(page.locator("[data-count] [data-number]")).to_have_text("4")
    assert page.title().startswith("(4) ")


def test_a_toast_goes_when_somebody_decides_about_it(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    one = violation(1)
    server.say(one)
    expect(page.locator("[data-toast]")).to_have_count(1)
    server.say(one | {"version": 2, "number": 2, "status": "confirmed", "to_review": 0})
    expect(page.locator("[data-toast]")).to_have_count(0)


def test_a_name_is_text_and_never_markup(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    server.say(violation(1, camera_name="<img src=x onerror=alert(1)>"))
    expect(page.locator("[data-toast]")).to_contain_text("<img src=x onerror=alert(1)>")


def test_browser_notifications_come_only_where_they_were_switched_on(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal)
    page.context.grant_permissions(["notifications"], origin=portal.address)
    page.add_init_script(
        """window.shown = [];
        class Shown extends EventTarget { constructor(text) { super(); window.shown.push(text); } }
        Shown.permission = "granted"; Shown.requestPermission = async () => "granted";
        window.Notification = Shown;
        Object.defineProperty(document, "hidden", { get: () => true });"""
    )
    server = Server(page)
    from tests.browser.conftest import sign_in

    sign_in(page, *portal.login())
    expect(page.locator("body")).to_have_attribute("data-live", "live")
    server.say(violation(1))
    expect(page.locator("[data-toast]")).to_have_count(1)
    assert page.evaluate("window.shown") == []
    page.get_by_role("button", name="Turn on desktop alerts").click()
    server.say(violation(2))
    expect(page.locator("[data-toast]")).to_have_count(2)
    assert page.evaluate("window.shown") == ["No mask at Gate, Elm Court"]


def test_what_was_asked_for_but_not_answered_is_asked_again(page_and_server: tuple[Page, Server]) -> None:
    page, server = page_and_server
    beat = {"type": "heartbeat", "now": datetime.now(UTC).timestamp(), "feeds": {"99": {"number": 7, "to_review": 4}}}
    question = {"type": "missed", "after": {"99": 0}}
    for count in (1, 2):
        server.say(beat)
        wait_for(lambda: pause(page, 20) or server.heard.count(question) == count, 5, "it")  # noqa: B023 - called here
    server.say({"type": "caught-up", "feeds": {"99": 7}})
    server.say(beat)
    server.say(violation(9))
    wait_for(lambda: pause(page, 20) or {"type": "missed", "after": {"99": 7}} in server.heard, 5, "the gap")
    assert server.heard.count(question) == 2


def test_a_key_that_is_held_decides_about_nobody(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal)
    from tests.browser.conftest import sign_in

    sign_in(page, *portal.login())
    page.goto("/violations/")
    page.locator(".row-link").first.click()
    page.locator("article.violation").wait_for()
    address = page.url
    page.evaluate(
        "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'c', repeat: true, bubbles: true}));"
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'd', repeat: true, bubbles: true}))"
    )
    page.get_by_role("button", name="Keyboard shortcuts are on").click()
    page.keyboard.press("c")
    expect(page.get_by_role("button", name="Keyboard shortcuts are off")).to_be_visible()
    assert page.url == address, "a key that is held, or switched off, is no decision"
    page.reload()
    expect(page.locator("[data-status] .badge")).to_have_text("To review")
