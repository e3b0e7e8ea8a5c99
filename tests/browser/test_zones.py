"""Zones in a browser: drawn by mouse, finger and keys on the camera's real picture, and black where they should be."""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.cameras.footage import advertising
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

ANEW = """
from django.db.models import F
from cameras.models import Camera, CameraZone
CameraZone.objects.all().delete()
Camera.objects.filter(name='Front door').update(version=F('version') + 1)
"""
ACCUSED = """
from datetime import UTC, datetime
from portal.models import Violation
rows = Violation.objects.filter(camera__name='Front door', started_at__gt=datetime.fromtimestamp({moment}, UTC))
found = {'screen': [], 'people': []}
for row in rows:
    found['screen' if row.box[0] > 0.8 and row.box[3] < 0.27 else 'people'].append(row.pk)
print(*found['{what}'][:1])
"""


def open_page(visit: Visit, portal: PortalProcess, **given: object) -> Page:
    page = visit(portal, portal.login(), **given)
    page.goto(f"/cameras/{python_in(portal, DOOR).strip()}/zones/")
    page.wait_for_function("document.querySelector('[data-zone-image]').naturalWidth > 0")
    return page


def save(page: Page, kind: str) -> None:
    page.get_by_role("radio", name=kind).check()
    page.get_by_role("button", name="Save this zone").click()
    expect(page.locator(".message")).to_contain_text("The zone has been saved")


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


def hides(picture: Image.Image) -> bool:
    """Whether it shows something, and nothing within the privacy zone: a canvas without a picture yet is black, too."""
    shown = float((np.asarray(picture.convert("L")) > 60).mean())
    return shown > 0.3 and black_share(picture) > 0.98


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
    wait_for(lambda: pause(page, 200) or hides(shot_of(page)), 20, "black in the tile")
    assert tile.count() == 1
    newest = NEWEST.replace("{moment}", f"{time.time()}")
    key = wait_for(lambda: pause(page, 500) or python_in(portal, newest).strip(), 90, "a violation after it holds")
    assert black_share(stored(page, key, "snapshot")) > 0.98


def stored(page: Page, key: object, view: str) -> Image.Image:
    answer = page.request.get(f"/violations/{key}/{view}.jpg")
    assert answer.ok
    return Image.open(io.BytesIO(answer.body()))


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


def test_of_a_face_at_the_edge_of_a_privacy_zone_no_view_shows_what_is_within(
    portal: PortalProcess, visit: Visit
) -> None:
    """The zone covers where the lobby's people are from the chin down: their crop, too, is black there."""
    page = open_page(visit, portal)
    chins = 0.44
    page.get_by_label("Corners").fill(f"0,{chins * 100:g} 100,{chins * 100:g} 100,100 0,100")
    save(page, "Privacy")
    newest = NEWEST.replace("{moment}", f"{time.time() + 6}")
    key = wait_for(lambda: pause(page, 500) or python_in(portal, newest).strip(), 90, "a violation after it holds")
    views = {view: np.asarray(stored(page, key, view).convert("L")) for view in ("snapshot", "thumbnail", "face")}
    whole = views["snapshot"]
    assert (whole[round(chins * len(whole)) + 6 :] < 24).mean() > 0.98
    for view in ("thumbnail", "face"):  # cut out of it, so that the zone begins within them
        rows = views[view]
        assert (rows[-len(rows) // 8 :] < 24).mean() > 0.98, view
        assert (rows[: len(rows) // 3] > 60).mean() > 0.5, view
    python_in(portal, "from cameras.models import CameraZone; CameraZone.objects.filter(kind='privacy').delete()")


def test_what_is_asked_of_people_and_when_is_set_with_a_zone(portal: PortalProcess, visit: Visit) -> None:
    page = open_page(visit, portal)
    page.get_by_label("Corners").fill("70,10 90,10 90,30")
    page.get_by_role("radio", name="Privacy").check()
    expect(page.get_by_text("Masks here are")).to_be_hidden()
    expect(page.get_by_text("Only at certain hours")).to_be_hidden()
    page.get_by_role("radio", name="Watch").check()
    page.get_by_role("radio", name="Recommended").check()
    page.get_by_text("Only at certain hours").click()
    monday = page.get_by_role("group", name="Monday")
    monday.get_by_label("from").fill("08:00")
    monday.get_by_label("until").fill("18:00")
    save(page, "Watch")
    row = page.locator("[data-zone-row].watch", has_text="recommended, at certain hours")
    row.get_by_role("link", name="Change").click()
    expect(page.get_by_label("Corners")).to_have_value("70,10 90,10 90,30")
    expect(page.get_by_role("group", name="Monday").get_by_label("from")).to_have_value("08:00")
    page.get_by_role("radio", name="Not required").check()
    save(page, "Watch")
    changed = page.locator("[data-zone-row].watch", has_text="not required, at certain hours")
    changed.get_by_role("button", name="Delete").click()
    expect(page.locator(".message")).to_contain_text("deleted")


def test_nothing_ever_happens_at_this_spot_stops_the_alerts_of_a_screen(
    portal: PortalProcess, visit: Visit, tmp_path: Path
) -> None:
    """A bare face on an advertising screen is accused once; after two clicks never again, though people still are."""
    clip = advertising(tmp_path / "advertising.mp4")
    os.replace(clip, portal.data_dir / "clips" / "harbour-house.mp4")
    python_in(portal, ANEW)
    page = visit(portal, portal.login())
    seen_at = time.time()

    def accused(what: str, since: float) -> str:
        pause(page, 500)
        return python_in(portal, ACCUSED.replace("{what}", what).replace("{moment}", f"{since}")).strip()

    key = wait_for(lambda: accused("screen", seen_at), 60, "the screen is accused")
    page.goto(f"/violations/{key}/")
    page.get_by_role("button", name="Dismiss").click()
    page.goto(f"/violations/{key}/")
    page.get_by_role("button", name="Ignore this spot").click()
    expect(page.locator(".message")).to_contain_text("ignores this spot")
    holds_at = time.time() + 10
    wait_for(lambda: accused("people", holds_at + 11), 90, "people are accused, a whole round of the clip later")
    assert accused("screen", holds_at) == ""
