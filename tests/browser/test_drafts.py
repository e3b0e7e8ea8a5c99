"""What somebody typed and did not save is not lost: sessions end, portals are restarted, pages are left by mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.browser.conftest import pause_demo, sign_in
from tests.portal_process import PortalProcess, python_in

Visit = Callable[..., Page]
END_SESSIONS = "from django.contrib.sessions.models import Session; Session.objects.all().delete()"


ROOT = ("root@example.org", "a-Long-pass-4u")
MAKE_ROOT = f"from portal.models import User; User.objects.create_superuser(*{ROOT!r}, name='Root')"


@pytest.fixture(scope="module")
def quiet(portal: PortalProcess) -> PortalProcess:
    """A portal with a superuser, who may create sites."""
    python_in(portal, MAKE_ROOT)
    return pause_demo(portal)


def type_a_site(page: Page) -> None:
    page.goto("/sites/add/")
    page.get_by_label("Name").fill("Canal Works")
    page.get_by_label("Address").fill("Kade 4")
    page.get_by_label("Time zone").select_option("Europe/Amsterdam")


def expect_it_back(page: Page) -> None:
    expect(page.locator(".draft")).to_contain_text("What you typed is here again")
    expect(page.get_by_label("Name")).to_have_value("Canal Works")
    expect(page.get_by_label("Address")).to_have_value("Kade 4")
    expect(page.get_by_label("Time zone")).to_have_value("Europe/Amsterdam")


def test_a_session_that_ended_takes_nothing_with_it(quiet: PortalProcess, visit: Visit) -> None:
    page = visit(quiet, ROOT)
    type_a_site(page)
    python_in(quiet, END_SESSIONS)
    page.locator("main form").get_by_role("button").first.click()
    page.wait_for_url("**/sign-in/**")
    email, password = ROOT
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/sites/add/")
    expect_it_back(page)
    page.locator("main form").get_by_role("button", name="Create").click()
    page.wait_for_url("**/cameras/add/**")
    page.goto("/sites/add/")
    expect(page.get_by_label("Name")).to_have_value("")
    expect(page.locator(".draft")).to_have_count(0)


def test_a_portal_that_was_restarted_takes_nothing_with_it(quiet: PortalProcess, visit: Visit) -> None:
    page = visit(quiet, ROOT)
    type_a_site(page)
    quiet.stop()
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("main form").get_by_role("button", name="Create").click()
    page.wait_for_url(lambda url: url.startswith("chrome-error:") or "/add/" in url)
    quiet.start()
    page.goto("/sites/add/")
    expect_it_back(page)
    page.locator(".draft").get_by_role("button", name="Discard it").click()
    expect(page.get_by_label("Name")).to_have_value("")
    page.reload()
    expect(page.locator(".draft")).to_have_count(0)


def test_a_page_left_by_mistake_asks_and_keeps_but_never_a_password(quiet: PortalProcess, visit: Visit) -> None:
    page = visit(quiet, quiet.login())
    page.goto("/cameras/add/?kind=rtsp")
    page.get_by_label("Name").fill("Side door")
    page.get_by_label("Password").fill("of-the-camera")
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    page.goto("/violations/")
    assert asked == ["beforeunload"]
    assert "of-the-camera" not in str(page.evaluate("JSON.stringify(sessionStorage)"))
    page.goto("/cameras/add/?kind=rtsp")
    expect(page.get_by_label("Name")).to_have_value("Side door")
    expect(page.get_by_label("Password")).to_have_value("")


def test_somebody_else_who_signs_in_here_sees_nothing_of_it(quiet: PortalProcess, visit: Visit) -> None:
    page = visit(quiet, ROOT)
    page.on("dialog", lambda dialog: dialog.accept())
    type_a_site(page)
    python_in(quiet, END_SESSIONS)
    sign_in(page, *quiet.login())
    assert "Canal Works" not in str(page.evaluate("JSON.stringify(sessionStorage)"))
