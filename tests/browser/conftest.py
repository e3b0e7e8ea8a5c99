from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.cameras.footage import fake_camera, masking_camera
from tests.portal_process import PortalProcess, python_in

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
           "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing; in CI that is a failure.")
        pytest.skip("needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


def film_by(browser: Browser, film: Path) -> Browser:
    """Another browser like this one, whose camera plays the film in a loop."""
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-video-capture={film}"]  # fmt: skip
    return browser.browser_type.launch(executable_path=CHROMIUM, args=[*OPTIONS, *fake])


@pytest.fixture(scope="module")
def filming_browser(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows the demo's lobby: somebody without a mask walks in after a second."""
    started = film_by(browser, fake_camera(tmp_path_factory.mktemp("film") / "lobby.mjpeg"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def masking_browser(browser: Browser, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows a man who stands without a mask for five seconds, then puts one on."""
    clip = shared / "clips" / "man-puts-mask-on.mp4"
    started = film_by(browser, masking_camera(tmp_path_factory.mktemp("film") / "masking.mjpeg", clip))
    yield started
    started.close()


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """The demo, as a newcomer's first `make run` starts it."""
    one = PortalProcess(tmp_path_factory.mktemp("portal") / "data").start()
    yield one
    one.kill()


def pause_demo(portal: PortalProcess) -> PortalProcess:
    """Pause the demo's cameras, for tests of something else: watching costs a quarter of a core."""
    python_in(portal, "from cameras.models import Camera; Camera.objects.filter(kind='clip').update(paused=True)")
    return portal


def play(portal: PortalProcess, clip: Path) -> None:
    """Make both of the demo's cameras play this clip instead, from the next start on."""
    for path in (portal.data_dir / "clips").glob("*.mp4"):
        shutil.copy(clip, path)


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Opens pages of a portal, each in its own browser context; any error that a page reports fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def complain(text: str) -> None:
        if "Failed to load resource" not in text and "WebSocket connection to" not in text:
            complaints.append(text)

    def make(portal: PortalProcess, login: tuple[str, str] | None = None, **given: object) -> Page:
        options: dict[str, object] = {"viewport": {"width": 1440, "height": 900}, **given}
        context = browser.new_context(**{"base_url": portal.address} | options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complain(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complain(str(error)))
        if login is not None:
            sign_in(page, *login)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def pause(page: Page, ms: int) -> bool:
    """Let the page handle its own events between two checks; never true, so that a check can follow after `or`."""
    page.wait_for_timeout(ms)
    return False


def sign_in(page: Page, email: str, password: str) -> None:
    page.goto("/sign-in/")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".sign-out").wait_for()
