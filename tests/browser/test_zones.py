"""Zones in a browser: drawn by mouse, finger and keys on the camera's real picture, and black where they should be."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.portal_process import PortalProcess, python_in, wait_for

Visit = Callable[..., Page]
KEYS = "Space Shift+ArrowRight Shift+ArrowRight Space Shift+ArrowDown ArrowDown Space Space Backspace"
CORNERS = ((0.02, 0.55), (0.3, 0.55), (0.3, 0.98), (0.02, 0.98))
DOOR = "from cameras.models import Camera; print(Camera.objects.get(name='Front door').pk)"
NEWEST = """
from datetime import UTC, datetime
from portal.models import Violation
holds = datetime.fromtimestamp({moment}, UTC)
found = Violation.objects.filter(camera__name='Front door', started_at__gt=holds).first()
print(found.pk if found else '')
"""


def open_page(visit: Visit, portal: PortalProcess, **given: object) -> Page:
    page = visit(portal, portal.login(), **given)
    page.goto(f"/cameras/{python_in(portal, DOOR).strip()}/zones/")
    page.wait_for_function("document.querySelector('[data-zone-image]').naturalWidth > 0")
    return page


def save(page: Page, kind: str) -> None:
    page.get_by_label(kind).check()
    page.get_by_role("button", name="Save this zone").click()
    expect(page.locator(".message")).to_contain_text("The zone is saved")


def pause(page: Page, milliseconds: float) -> bool:
    page.wait_for_timeout(milliseconds)
    return False


def black_share(picture: Image.Image) -> float:
    """How much of the privacy zone's inside is black."""
    (left, top), (right, bottom) = CORNERS[0], CORNERS[2]
    wide, tall = picture.size
    inside = (left * wide + 8, top * tall + 8, right * wide - 8, bottom * tall - 8)
    pixels = np.asarray(picture.convert("L").crop(tuple(round(value) for value in inside)))  # type: ignore[arg-type]
    return float((pixels < 24).mean())


def test_a_zone_drawn_by_mouse_is_black_in_tile_and_snapshot(portal: PortalProcess, visit: Visit) -> None:
    page = open_page(visit, portal)
    picture = page.locator("[data-zone-picture]")
    box = picture.bounding_box()
    assert box is not None
    for x, y in CORNERS[:3]:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.7 * box["height"])  # the last one, and then dragged
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.7 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + CORNERS[3][0] * box["width"], box["y"] + CORNERS[3][1] * box["height"], steps=4)
    page.mouse.up()
    expect(page.locator("[data-zone-said]")).to_have_text("4 corners")
    save(page, "Privacy")
    expect(page.locator("polygon.zone.privacy")).to_have_count(1)
    page.goto("/")
    tile = page.locator(".tile", has_text="Front door").locator("canvas")
    wait_for(lambda: pause(page, 200) or black_share(shot_of(page)) > 0.98, 20, "black in the tile")
    assert tile.count() == 1
    newest = NEWEST.replace("{moment}", f"{time.time()}")
    key = wait_for(lambda: pause(page, 500) or python_in(portal, newest).strip(), 90, "a violation after it holds")
    answer = page.request.get(f"/violations/{key}/snapshot.jpg")
    assert black_share(Image.open(io.BytesIO(answer.body()))) > 0.98


def shot_of(page: Page) -> Image.Image:
    """What the tile of the front door shows now, from its canvas."""
    pixels = (
        page.locator(".tile", has_text="Front door")
        .locator("canvas")
        .evaluate("canvas => canvas.toDataURL('image/png').split(',')[1]")
    )
    return Image.open(io.BytesIO(base64.b64decode(pixels)))


def test_a_zone_is_drawn_by_finger(portal: PortalProcess, visit: Visit) -> None:
    page = open_page(visit, portal, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    box = page.locator("[data-zone-picture]").bounding_box()
    assert box is not None
    for x, y in ((0.6, 0.1), (0.9, 0.1), (0.9, 0.4)):
        page.touchscreen.tap(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(page.locator("[data-zone-said]")).to_have_text("3 corners")
    save(page, "Ignore")
    expect(page.locator("polygon.zone.ignore")).to_have_count(1)


def test_a_zone_is_drawn_by_keys_and_deleted(portal: PortalProcess, visit: Visit) -> None:
    page = open_page(visit, portal)
    page.locator("[data-zone-picture]").focus()
    for key in KEYS.split():
        page.keyboard.press(key)
    expect(page.get_by_label("Corners")).to_have_value("50,50 60,50 60,56")
    save(page, "Watch")
    row = page.locator("[data-zone-row].watch")
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Delete").click()
    expect(page.locator(".message")).to_contain_text("deleted")
    expect(page.locator("[data-zone-row].watch")).to_have_count(0)


def test_corners_can_be_typed_and_are_drawn(portal: PortalProcess, visit: Visit) -> None:
    page = open_page(visit, portal)
    page.get_by_label("Corners").fill("10,10 30,10 30,40")
    expect(page.locator("[data-zone-drawing]")).to_have_attribute("points", "100,100 300,100 300,400")
    page.get_by_label("Corners").fill("10,10 x")
    expect(page.locator("[data-zone-drawing]")).to_have_attribute("points", "")
    page.get_by_role("button", name="Save this zone").click()
    expect(page.locator(".error").first).to_contain_text("Write corners like")
