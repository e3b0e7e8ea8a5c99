"""The whole product, in a real browser against real processes: see, be alerted, review."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import pause, play, sign_in
from tests.conftest import DEMO_CLIPS, ROOT
from tests.portal_process import PortalProcess, Visitor, marked_processes, python_in, wait_for
from tests.system.test_run import cmdline

Visit = Callable[..., Page]
WITHIN_A_MINUTE_MS = 60_000
PIXELS = "tile => tile.querySelector('canvas').toDataURL('image/jpeg', 0.3)"


def block_http(page: Page) -> list[str]:
    """Block all requests from now on, so that only the socket works; returns the addresses requested anyway."""
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    page.context.route("**/*", refuse)
    return asked


def change_of_pixels(page: Page, tile: str) -> bool:
    before = page.eval_on_selector(tile, PIXELS)
    return bool(wait_for(lambda: page.eval_on_selector(tile, PIXELS) != before, 10, "another picture"))


def see_be_told_and_review(portal: PortalProcess, page: Page, cameras: int) -> None:
    """What the product is for, step by step."""
    expect(page.locator(".tile[data-fresh]")).to_have_count(cameras, timeout=20_000)
    for tile in page.locator(".tile[data-fresh]").all():
        assert change_of_pixels(page, f"[data-camera='{tile.get_attribute('data-camera')}']")
    block_http(page)
    toast = page.locator("[data-toast]").first
    toast.wait_for(timeout=WITHIN_A_MINUTE_MS)
    picture = toast.locator("img").first
    assert picture.evaluate("img => img.complete && img.naturalWidth") > 100, "the snapshot came with the message"
    expect(page).to_have_title(re.compile(r"^\(\d+\) Live"))
    page.context.unroute_all()
    violation = str(toast.get_attribute("data-toast"))
    if violation == "many":
        page.goto("/violations/?status=open")
        violation = str(page.locator(".row").first.get_attribute("data-violation"))
    page.goto(f"/violations/{violation}/")
    expect(page.locator(".snapshot img")).to_have_js_property("complete", True)
    assert page.locator(".snapshot img").evaluate("img => img.naturalWidth") > 300
    page.keyboard.press("c")
    page.wait_for_url(lambda url: violation not in url)
    page.goto(f"/violations/{violation}/")
    page.reload()
    expect(page.locator("[data-status] .badge")).to_have_text("Confirmed")
    expect(page.locator("[data-status]")).to_contain_text("by Olivia Reis")


def test_a_manager_sees_two_lobbies_is_told_reviews_and_finds_it_reviewed(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login())
    see_be_told_and_review(portal, page, cameras=2)


def test_the_same_with_real_footage(shared: Path, tmp_path: Path, visit: Visit) -> None:
    """The bearded man from ../shared/clips as the live camera: alert, snapshot of him, review."""
    portal = PortalProcess(tmp_path / "data", environment={"LOCAL_CAMERAS": "*:man.mp4"})
    try:
        portal.start()
        python_in(portal, "from cameras.models import Camera; Camera.objects.update(paused=True)")
        wait_for(lambda: portal.health()["cameras_watched"] == 0, 10, "both cameras to pause")
        shutil.copy(shared / "clips" / "man-no-mask.mp4", portal.data_dir / "clips" / "man.mp4")
        page = visit(portal, portal.login())
        expect(page.locator("body")).to_have_attribute("data-live", "live")
        python_in(
            portal,
            "from cameras.models import Camera; from django.db.models import F; Camera.objects.filter(name='Lobby')"
            ".update(address='man.mp4', paused=False, version=F('version') + 1)",
        )
        see_be_told_and_review(portal, page, cameras=1)
        faces = json.loads(python_in(portal, DETECT_AGAIN))
        assert faces and all(face["iou"] > 0.5 and face["label"] == "no_mask" for face in faces)
    finally:
        portal.kill()


DETECT_AGAIN = """
import json, numpy
from detection import Detector, decode_picture
from detection.detector import intersection_over_union
from portal.models import Violation
detector, found = Detector.load(), []
for row in Violation.objects.all():
    with row.snapshot.open("rb") as file:
        faces = detector.detect(decode_picture(file.read()))
    boxes = numpy.asarray([face.box for face in faces], numpy.float32).reshape(-1, 4)
    overlaps = intersection_over_union(numpy.asarray([row.box], numpy.float32), boxes)[0]
    best = int(overlaps.argmax()) if len(faces) else -1
    found.append({"iou": float(overlaps[best]) if faces else 0.0, "label": faces[best].label if faces else ""})
print(json.dumps(found))
"""


def test_each_stored_snapshot_detected_again_has_a_bare_face_at_the_stored_box(
    portal: PortalProcess, visit: Visit
) -> None:
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    wait_for(lambda: len(visitor.violations()) >= 4, 90, "four violations")
    faces = json.loads(python_in(portal, DETECT_AGAIN))
    assert len(faces) >= 4
    assert all(face["iou"] > 0.5 and face["label"] in {"no_mask", "incorrect"} for face in faces), faces


def test_a_camera_that_sees_only_masks_makes_no_violation(tmp_path: Path) -> None:
    portal = PortalProcess(tmp_path / "data")
    count = "from portal.models import *; print(Passage.objects.exclude(ended_at=None).filter(label='{}').count())"
    try:
        portal.start().stop()
        before = int(python_in(portal, "from portal.models import *; print(Violation.objects.count())"))
        play(portal, DEMO_CLIPS / "masked-only.mp4")
        portal.start()
        wait_for(lambda: int(python_in(portal, count.format("mask"))) >= 4, 60, "four masked people")
        assert int(python_in(portal, count.format("no_mask"))) == 0
        assert int(python_in(portal, "from portal.models import *; print(Violation.objects.count())")) == before
    finally:
        portal.kill()


def two_or_more(portal: PortalProcess) -> list[float]:
    """When the violations of Harbour House began; nothing while there are not two."""
    script = (
        "import json; from portal.models import *; print(json.dumps([row.started_at.timestamp() for row in "
        "Violation.objects.filter(site__name='Harbour House').order_by('started_at')]))"
    )
    found: list[float] = json.loads(python_in(portal, script))
    return found if len(found) > 1 else []


def test_the_two_who_follow_each_other_are_two_violations(portal: PortalProcess) -> None:
    """In Harbour House's clip two bare people walk three seconds apart, every 21 seconds."""
    starts = wait_for(lambda: two_or_more(portal), 60, "two violations")
    gaps = [after - before for before, after in zip(starts, starts[1:], strict=False)]
    assert gaps and all(abs(gap - 3) < 1 or abs(gap - 18) < 1 for gap in gaps), gaps


# -- another site's manager -------------------------------------------------------------------------------------------

MAKE_CHARLIE = """
from cameras.models import Site
from portal.models import *
site = Site.objects.create(name="Elm Court")
Membership.objects.create(user=User.objects.create_user("charlie@example.org", "a-Long-pass-4u", name="Charlie"),
                          site=site, role="manager")
"""


def test_another_sites_manager_sees_none_of_it_on_the_page_the_socket_or_by_address(
    portal: PortalProcess, visit: Visit
) -> None:
    python_in(portal, MAKE_CHARLIE)
    alice = Visitor(portal.address)
    alice.sign_in(*portal.login())
    known = wait_for(alice.violations, 60, "a violation")
    page = visit(portal)
    heard: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))))
    sign_in(page, "charlie@example.org", "a-Long-pass-4u")
    expect(page.locator("body")).to_have_attribute("data-live", "live")
    wait_for(lambda: set(alice.violations()) - set(known), 60, "a violation while Charlie looks")
    wait_for(lambda: pause(page, 50) or any("heartbeat" in frame for frame in heard), 15, "a heartbeat")
    assert not any(name in frame for frame in heard for name in ("Harbour", "Maple", "Front door", '"violation"'))
    assert page.locator(".tile").count() == page.locator("[data-toast]").count() == 0
    for path in ("", "snapshot.jpg", "face.jpg", "thumbnail.jpg"):
        assert page.request.get(f"/violations/{known[0]}/{path}").status == 404
    page.goto("/violations/")
    assert known[0] not in page.content()


# -- pictures only while somebody is looking --------------------------------------------------------------------------


def encoded(portal: PortalProcess) -> dict[str, int]:
    from redis import Redis

    connection = Redis.from_url((portal.data_dir / "valkey-url").read_text())
    counts = cast("dict[bytes, bytes]", connection.hgetall("preview-encoded"))
    connection.close()
    return {key.decode(): int(value) for key, value in counts.items()}


def standing_still(portal: PortalProcess, seconds: float) -> bool:
    before, until = encoded(portal), time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > until, seconds + 1, "the time to pass")
    return encoded(portal) == before


def test_nobody_looks_nothing_is_encoded(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login())
    expect(page.locator(".tile[data-fresh]")).to_have_count(2, timeout=20_000)
    assert not standing_still(portal, 2)
    page.goto("/violations/")  # a page without tiles
    wait_for(lambda: standing_still(portal, 2), 12, "the counter to stand still")


def test_without_an_acknowledgement_no_second_picture_comes(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal)
    page.add_init_script(
        """const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (data) { if (!String(data).includes('"ack"')) send.call(this, data); };"""
    )
    pictures: list[bytes] = []

    def note(frame: Any) -> None:
        if isinstance(frame, bytes):
            pictures.append(frame)

    page.on("websocket", lambda socket: socket.on("framereceived", note))
    sign_in(page, *portal.login())
    wait_for(lambda: pause(page, 50) or len(pictures) >= 2, 20, "one picture a camera")
    before = sum(encoded(portal).values())
    wait_for(lambda: pause(page, 50) or sum(encoded(portal).values()) > before + 10, 10, "newer pictures")
    assert len(pictures) == 2, "one of each camera is under way, and no other is sent"


# -- reconnecting -----------------------------------------------------------------------------------------------------


def test_a_page_says_when_it_is_not_live_comes_back_and_fetches_what_it_missed(
    portal: PortalProcess, visit: Visit
) -> None:
    page = visit(portal, portal.login())
    expect(page.locator("body")).to_have_attribute("data-live", "live")
    (web,) = [pid for pid in marked_processes(portal.marker) if b"uvicorn" in cmdline(pid)]
    os.kill(web, signal.SIGKILL)
    expect(page.locator("body")).to_have_attribute("data-live", "connecting", timeout=5_000)
    page.context.set_offline(True)  # keeps the page offline when the web process is back, which takes a moment
    note = page.locator("[data-connection]")
    expect(note).to_be_visible(timeout=10_000)
    expect(note).to_have_text("Not live: reconnecting…")
    visitor = Visitor(portal.address)
    wait_for(lambda: is_up(portal), 20, "the web process to come back")
    visitor.sign_in(*portal.login())
    before = set(visitor.violations())
    wait_for(lambda: set(visitor.violations()) - before, 60, "a violation that the page misses")
    assert page.locator("[data-toast]").count() == 0
    page.context.set_offline(False)
    expect(page.locator("body")).to_have_attribute("data-live", "live", timeout=15_000)
    expect(note).to_be_hidden()
    page.locator("[data-toast]").first.wait_for(timeout=5_000)


def test_a_frozen_valkey_is_said_and_no_tile_is_online_meanwhile(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login())
    tile = page.locator(".tile").first
    state = tile.locator("[data-state-name]")
    expect(tile).to_have_attribute("data-fresh", "", timeout=15_000)
    with portal.standing_still("valkey-server"):
        expect(state).to_have_text("Not known", timeout=10_000)
        page.evaluate("document.documentElement.dataset.sameDocument = '1'")  # it is told without a reload
        expect(tile.locator("[data-veil]")).to_contain_text("Redis does not answer", timeout=5_000)
        another = visit(portal)  # signing in needs Redis for nothing that it cannot do without
        sign_in(another, *portal.login())
        expect(another.get_by_text("The portal's Redis does not answer").first).to_be_visible(timeout=20_000)
        expect(another.locator("[data-state-name]").first).to_have_text("Not known")
    expect(state).to_have_text("Online", timeout=15_000)
    assert page.evaluate("document.documentElement.dataset.sameDocument") == "1"


def is_up(portal: PortalProcess) -> bool:
    try:
        return bool(portal.health()["status"] == "ok")
    except OSError:
        return False


def test_signing_out_in_one_tab_ends_the_other(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login())
    other = page.context.new_page()
    other.goto("/")
    expect(other.locator("body")).to_have_attribute("data-live", "live")
    page.get_by_role("button", name="Sign out").click()
    other.wait_for_url("**/sign-in/**", timeout=8_000)


# -- reviewing --------------------------------------------------------------------------------------------------------


def test_a_review_is_seen_live_by_another_dashboard(portal: PortalProcess, visit: Visit) -> None:
    first, second = visit(portal, portal.login()), visit(portal, portal.login())
    second.goto("/violations/?status=open")
    expect(second.locator("body")).to_have_attribute("data-live", "live")
    row = second.locator(".row").first
    violation = row.get_attribute("data-violation")
    first.goto(f"/violations/{violation}/")
    first.get_by_role("button", name="Dismiss").click()
    expect(second.locator(f"[data-violation='{violation}'] .badge")).to_have_text("Dismissed", timeout=5_000)


def test_ten_violations_are_reviewed_by_keys_alone(portal: PortalProcess, visit: Visit) -> None:
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    wait_for(
        lambda: len(re.findall("badge open", visitor.text("/violations/?status=open"))) >= 10, 120, "ten to review"
    )
    page = visit(portal, portal.login())
    page.goto("/violations/?status=open")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/violations/*-*/**")
    began = time.monotonic()
    for number in range(10):
        before = page.url
        page.keyboard.press("c" if number % 2 else "d")
        page.wait_for_url(lambda url, before=before: url != before)  # type: ignore[misc]
        page.locator("[data-page]").wait_for()  # the next violation, or the list after the last one
    assert time.monotonic() - began < 20


def test_with_scripts_off_pages_still_list_filter_and_review(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login(), java_script_enabled=False)
    box = page.locator("[name=seen]").first
    wait_for(lambda: page.goto("/violations/") and box.count(), 40, "a violation")
    page.get_by_label("Status").select_option("To review")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**status=open**")
    key = str(box.get_attribute("value")).partition(":")[0]
    box.check()
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Confirmed: No mask")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Confirmed: No mask")).to_have_count(0)
    page.goto(f"/violations/{key}/")
    assert page.locator("[data-status] .badge").inner_text() == "To review"


# -- appearance -------------------------------------------------------------------------------------------------------

PATHS = ("/", "/violations/", "/people/", "/nothing/")


@pytest.mark.parametrize("width", [360, 390, 768, 1440])
def test_no_page_scrolls_sideways(portal: PortalProcess, visit: Visit, width: int) -> None:
    page = visit(portal, portal.login(), viewport={"width": width, "height": 800})
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    one = f"/violations/{wait_for(visitor.violations, 60, 'a violation')[0]}/"
    for path in (*PATHS, one):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def somebody_in_each(page: Page) -> bool:
    labels = page.locator(".tile canvas").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    return all("face" in label for label in labels) and page.locator("[data-toast]").count() > 0


SHOTS = [("desktop", 1440, 900, "light"), ("desktop-dark", 1440, 900, "dark"), ("phone", 390, 844, "light"),
         ("phone-dark", 390, 844, "dark")]  # fmt: skip


@pytest.mark.parametrize(("name", "width", "height", "scheme"), SHOTS)
def test_screenshots(
    portal: PortalProcess, visit: Visit, tmp_path: Path, name: str, width: int, height: int, scheme: str
) -> None:
    """Written to docs/screenshots with SCREENSHOTS=1, otherwise to a temporary folder."""
    folder = ROOT / "docs" / "screenshots" if os.environ.get("SCREENSHOTS") else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    page = visit(portal, viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto("/sign-in/")
    page.screenshot(path=folder / f"sign-in-{name}.png")
    sign_in(page, *portal.login())
    expect(page.locator(".tile[data-fresh]")).to_have_count(2, timeout=20_000)
    page.locator("[data-toast]").first.wait_for(timeout=WITHIN_A_MINUTE_MS)
    wait_for(lambda: pause(page, 100) or somebody_in_each(page), 60, "somebody in each lobby, and a toast")
    page.screenshot(path=folder / f"live-{name}.png")
    page.goto("/violations/")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=folder / f"violations-{name}.png")
    page.locator(".row-link").filter(visible=True).last.click()  # not in a closed group
    page.wait_for_load_state("networkidle")
    page.screenshot(path=folder / f"violation-{name}.png")
    assert (folder / f"violation-{name}.png").stat().st_size > 10_000
