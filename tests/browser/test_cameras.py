"""A manager sets up a camera in a real browser: real RTSP and web cameras, every failure, the whole product."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.cameras.footage import lobby
from tests.cameras.http_camera import HttpCamera, http_camera, redirect
from tests.cameras.rtsp_server import RtspCamera
from tests.portal_process import PortalProcess, python_in, wait_for

Visit = Callable[..., Page]
PASSWORD = "p@ss/w%rd"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """The demo, allowed to watch cameras on loopback, where those of the tests are."""
    environment = {"CAMERA_NETWORKS": "127.0.0.0/8"}
    one = PortalProcess(tmp_path_factory.mktemp("portal") / "data", environment=environment).start()
    yield one
    one.kill()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lobby(tmp_path_factory.mktemp("footage") / "lobby.mp4", seconds=12, start_s=6)


def fill(page: Page, name: str, address: str, user: str = "", password: str = "") -> None:
    page.goto("/cameras/add/")
    page.get_by_label("Site").select_option(label="Harbour House")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Make").select_option("http" if address.startswith("http") else "rtsp")
    page.get_by_label("Address").fill(address)
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(password)


def run_test(page: Page) -> None:
    """Press the button, and wait for the verdict."""
    page.get_by_role("button", name=re.compile("^Test it")).click()
    expect(page.locator(".verdict")).to_be_visible(timeout=16_000)


def test_a_camera_is_tested_saved_watched_killed_and_comes_back(
    portal: PortalProcess, visit: Visit, clip: Path
) -> None:
    page = visit(portal, portal.login())
    with RtspCamera(clip, login=("admin", PASSWORD)) as camera:
        fill(page, "Back door", camera.address.replace("://", f"://admin:{PASSWORD}@"))
        run_test(page)
        steps = page.locator(".steps li")
        expect(steps).to_have_count(6)
        expect(page.locator(".steps .passed")).to_have_count(6)
        expect(page.locator(".steps")).to_contain_text("H.264, 640×360, 10 pictures a second, a whole one every 1 s")
        picture = page.locator(".picture img")
        wait_for(lambda: picture.evaluate("image => image.naturalWidth") == 640, 5, "the first picture")
        expect(page.get_by_label("Address")).to_have_value(camera.address)
        expect(page.get_by_label("User")).to_have_value("admin")
        page.get_by_role("button", name="Add this camera").click()
        tile = page.locator(".tile", has_text="Back door")
        expect(tile).to_have_attribute("data-fresh", "", timeout=10_000)
        camera.kill()
        expect(tile).to_have_attribute("data-state", "offline", timeout=15_000)
        expect(tile.locator(".veil")).to_contain_text("nothing listens on port", timeout=15_000)
        expect(tile.locator(".veil")).to_contain_text("Last seen")
        outage = "from cameras.models import *; print(Outage.objects.filter(ended_at=None).count())"
        wait_for(lambda: python_in(portal, outage).strip() == "1", 30, "the outage")
        camera.revive()
        expect(tile).to_have_attribute("data-fresh", "", timeout=15_000)
        wait_for(lambda: python_in(portal, outage).strip() == "0", 30, "the outage's end")
        page.goto("/cameras/")
        page.get_by_role("link", name="Back door").click()
        expect(page.get_by_role("heading", name="Outages").locator("..").locator("li")).to_have_count(1)

        # Changes take effect within 5 s, without a restart.
        lease = "from cameras.models import *; l = CameraLease.objects.get(camera__name='Back door')"
        before = len(camera.requests)
        page.get_by_text("What it looks at, and how often").click()
        page.get_by_label("What it looks at").select_option("512")
        page.get_by_role("button", name="Save the changes").click()
        expect(page.locator(".message")).to_contain_text("is saved")
        wait_for(lambda: len(camera.requests) > before, 5, "the worker to start again")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".message")).to_contain_text("is paused")
        wait_for(lambda: "TEARDOWN" in camera.requests[-1], 5, "the worker to let the camera go")
        page.locator(".message").get_by_role("button", name="Undo").click()
        wait_for(lambda: camera.requests[-1].startswith("PLAY"), 15, "the camera, watched again")
        page.get_by_role("link", name="Back door").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.locator("main table").first).not_to_contain_text("Back door")
        wait_for(lambda: "TEARDOWN" in camera.requests[-1], 5, "the worker to let the camera go")
        page.locator(".message").get_by_role("button", name="Undo").click()
        expect(page.locator("main table").first).to_contain_text("Back door")
        wait_for(lambda: "online" in python_in(portal, f"{lease}; print(l.state)"), 20, "the camera, online again")
        assert PASSWORD not in page.content()


def no_face(tmp_path: Path) -> Path:
    return lobby(tmp_path / "empty.mp4", seconds=4, start_s=0.0)


FAILURES = [
    ("rtsp://10.0.0.5/a b", "There is a space in the address"),
    ("file:///etc/passwd", "must begin with rtsp://"),
    ("concat:a.mp4|b.mp4", "must begin with rtsp://"),
    ("subfile,,start,0,end,9,,:/etc/passwd", "must begin with rtsp://"),
]


@pytest.mark.parametrize(("address", "says"), FAILURES)
def test_an_address_that_cannot_be_is_said_beside_its_field(
    portal: PortalProcess, visit: Visit, address: str, says: str
) -> None:
    page = visit(portal, portal.login())
    fill(page, "Door", address, "admin", PASSWORD)
    page.get_by_role("button", name="Test it").click()
    expect(page.locator("[data-part=address] .error")).to_contain_text(says)
    expect(page.get_by_label("Address")).to_be_focused()
    expect(page.get_by_label("Password")).to_have_value(PASSWORD)
    page.get_by_role("button", name="Add this camera").click()
    expect(page.locator("[data-part=address] .error")).to_contain_text(says)
    expect(page.get_by_label("Address")).to_have_value(address)


def failed(page: Page, step: str, says: str) -> None:
    line = page.locator(".steps li.failed")
    expect(line).to_have_count(1)
    expect(line).to_contain_text(step)
    expect(line).to_contain_text(says)
    expect(page.locator(".verdict")).to_contain_text("Fix the marked step")


def test_each_step_that_fails_says_why_and_what_to_do(
    portal: PortalProcess, visit: Visit, clip: Path, tmp_path: Path
) -> None:
    page = visit(portal, portal.login())

    def attempt(address: str, user: str = "", password: str = "") -> None:
        fill(page, "Door", address, user, password)
        run_test(page)

    attempt("rtsp://nothing.invalid/live")
    failed(page, "Address", "There is no “nothing.invalid” in this network")
    attempt("rtsp://169.254.169.254/live")
    failed(page, "Address", "link-local")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        attempt(f"rtsp://127.0.0.1:{taken.getsockname()[1]}/live")
        failed(page, "Connection", "nothing listens on port")
    with RtspCamera(clip, login=("admin", PASSWORD)) as camera:
        attempt(camera.address)
        failed(page, "Login", "Fill in both")
        attempt(camera.address, "admin", "wrong")
        failed(page, "Login", "does not accept this user and password")
        assert camera.refused == 1
    with RtspCamera(clip, redirect_to="rtsp://127.0.0.1:9/") as camera:
        attempt(camera.address)
        failed(page, "Login", "redirects to another address")
    with http_camera(HttpCamera(redirect("http://127.0.0.1:9/"))) as web:
        attempt(web.address)
        failed(page, "Login", "redirects to another address")


def test_pictures_that_are_rare_black_or_empty_are_told(portal: PortalProcess, visit: Visit, tmp_path: Path) -> None:
    page = visit(portal, portal.login())
    rare = lobby(tmp_path / "rare.mp4", key_every_s=30, seconds=30, start_s=0)
    with RtspCamera(rare, start_at_key=False) as camera:
        began = time.monotonic()
        page.wait_for_timeout(400)  # its only key frame has already been sent
        fill(page, "Door", camera.address)
        page.get_by_role("button", name="Test it").click()
        page.get_by_label("Name", exact=True).fill("Typed meanwhile")  # the page is not blocked
        expect(page.locator(".verdict")).to_be_visible(timeout=16_000)
        failed(page, "Picture", "No picture yet: your camera sends a whole picture only every 10 s")
        expect(page.get_by_label("Name", exact=True)).to_have_value("Typed meanwhile")
        assert time.monotonic() - began < 20
    with RtspCamera(lobby(tmp_path / "black.mp4", black=True)) as camera:
        fill(page, "Door", camera.address)
        run_test(page)
        expect(page.locator(".steps li.remark").first).to_contain_text("The picture is black")
        expect(page.locator(".steps li.remark").last).to_contain_text("stand in front of the camera")
        expect(page.locator(".verdict")).to_contain_text("This camera works")


def test_the_fields_follow_the_make(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login())
    page.goto("/cameras/add/")
    page.get_by_label("Make").select_option(label="Hikvision")
    expect(page.get_by_label("Host")).to_be_visible()
    expect(page.get_by_label("Address")).to_be_hidden()
    expect(page.get_by_text("201 is the second camera")).to_be_visible()
    page.get_by_label("Make").select_option("usb")
    expect(page.get_by_label("Address")).to_be_visible()
    expect(page.get_by_label("Password")).to_be_hidden()
    expect(page.get_by_text("201 is the second camera")).to_be_hidden()


# -- first steps ----------------------------------------------------------------------------------------------------


def test_a_new_installation_leads_to_the_first_picture(visit: Visit, tmp_path: Path, clip: Path) -> None:
    environment = {"DEMO": "0", "CAMERA_NETWORKS": "127.0.0.0/8"}
    empty = PortalProcess(tmp_path / "data", environment=environment).start()
    try:
        link = re.search(r"http://\S+/first-user/\S+", empty.output)
        assert link
        page = visit(empty, timezone_id="Asia/Tokyo")
        page.goto(link[0])
        page.get_by_label("Name").fill("Ada")
        page.get_by_label("E-mail").fill("ada@example.org")
        page.get_by_label("Password", exact=True).fill("a-Long-pass-4u")
        page.get_by_label("Password confirmation").fill("a-Long-pass-4u")
        page.get_by_role("button", name="Create my account").click()
        expect(page.get_by_text("First steps: 1 of 3")).to_be_visible()
        expect(page.get_by_role("navigation")).to_have_count(0)
        page.get_by_label("Name").fill("Harbour House")
        expect(page.get_by_label("Time zone")).to_have_value("Asia/Tokyo")
        page.get_by_label("Time zone").select_option("Europe/Lisbon")
        page.get_by_role("button", name="Create the site, then its camera").click()
        expect(page.get_by_text("First steps: 2 of 3")).to_be_visible()
        expect(page.get_by_role("navigation")).to_have_count(0)
        for other in ("Use a phone or computer", "Later"):
            expect(page.get_by_role("link", name=other)).to_be_visible()
        expect(page.get_by_role("button", name="Play our demo clip")).to_be_visible()
        with RtspCamera(clip) as camera:
            page.get_by_label("Name", exact=True).fill("Front door")
            page.get_by_label("Address").fill(camera.address)
            run_test(page)
            expect(page.locator(".steps .failed")).to_have_count(0)
            page.get_by_role("button", name="Add this camera").click()
            expect(page.get_by_text("First steps: 3 of 3")).to_be_visible()
            expect(page.locator(".tile[data-fresh]")).to_have_count(1, timeout=15_000)
            page.get_by_role("link", name="Go on to the portal").click()
            expect(page.get_by_role("navigation")).to_have_count(1)
            expect(page.locator(".tile[data-fresh]")).to_have_count(1, timeout=15_000)
    finally:
        empty.kill()


# -- people ---------------------------------------------------------------------------------------------------------


def test_a_colleague_is_invited_joins_and_sees_the_lobby(portal: PortalProcess, visit: Visit) -> None:
    manager = visit(portal, portal.login())
    manager.goto("/people/")
    manager.get_by_label("E-mail").fill("bob@example.org")
    manager.get_by_label("Site").select_option(label="Maple Tower")
    manager.get_by_role("button", name="Invite").click()
    link = manager.get_by_label("Link").input_value()
    assert link.startswith(portal.address)
    guest = visit(portal)
    guest.goto(link)
    guest.get_by_label("Name").fill("Bob")
    guest.get_by_label("Password", exact=True).fill("a-Long-pass-4u")
    guest.get_by_label("Password confirmation").fill("a-Long-pass-4u")
    guest.get_by_role("button", name="Join Maple Tower").click()
    expect(guest.locator(".tile")).to_have_count(1, timeout=10_000)
    expect(guest.locator(".tile")).to_contain_text("Maple Tower")
    manager.goto("/people/")
    manager.get_by_label("Role of Bob", exact=True).select_option("viewer")
    manager.get_by_role("button", name="Change the role of Bob").click()
    expect(manager.locator(".message")).to_contain_text("Bob is now Viewer")
    manager.get_by_label("More for Bob").click()
    manager.get_by_role("button", name="Remove access for Bob").click()
    expect(guest.get_by_text("You have no access to a site yet")).to_be_visible(timeout=15_000)


def test_the_second_factor_is_set_up_and_asked_for(portal: PortalProcess, visit: Visit) -> None:
    make = ("from portal.models import *; from cameras.models import *;"
            "u = User.objects.create_user('eve@example.org', 'a-Long-pass-4u', name='Eve');"
            "Membership.objects.create(user=u, site=Site.objects.first(), role='viewer')")  # fmt: skip
    python_in(portal, make)
    code = ("from django_otp.plugins.otp_totp.models import TOTPDevice as T; from django_otp.oath import TOTP;"
            "import time; d = T.objects.get(user__email='eve@example.org'); t = TOTP(d.bin_key);"
            "T.objects.update(last_t=-1); t.time = time.time(); print(f'{t.token():06d}')")  # fmt: skip
    page = visit(portal, ("eve@example.org", "a-Long-pass-4u"))
    page.goto("/profile/")
    page.get_by_role("link", name="Turn two-factor on").click()
    assert page.get_by_alt_text("QR code for your app").evaluate("image => image.naturalWidth") > 100
    page.get_by_label("Code").fill(python_in(portal, code).strip())
    page.get_by_role("button", name="Turn it on").click()
    expect(page.locator(".codes li")).to_have_count(10)
    page.get_by_role("link", name="I have saved them").click()
    expect(page.locator(".tile").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("E-mail").fill("eve@example.org")
    page.get_by_label("Password").fill("a-Long-pass-4u")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    page.get_by_label("Code").fill(python_in(portal, code).strip())
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".tile").first).to_be_visible()


def test_dark_is_dark_whatever_the_device_says(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, color_scheme="light")
    sign_in(page, *portal.login())
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.goto("/profile/")
    page.get_by_label("Appearance").select_option("dark")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".message")).to_contain_text("Saved")
    assert page.evaluate(ground) != light
    page.get_by_label("Appearance").select_option("system")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("html")).not_to_have_attribute("data-theme", "dark")
