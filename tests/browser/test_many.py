"""The portal with many cameras: filled by `manage.py demo`, and looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.portal_process import PortalProcess, python_in, wait_for

Visit = Callable[..., Page]
FILL = """
from cameras.models import Camera
from portal.demo.fill import Amount, fill
Camera.objects.update(paused=True)
fill(Amount(sites=5, cameras=40, violations=3, days=2, masked=1), seed=1)
Camera.objects.filter(kind='clip', site__name='Aster Court').update(paused=False)
Camera.objects.filter(kind='clip').exclude(site__name='Aster Court').update(paused=True)
Camera.objects.filter(site__name__in=['Birch Lane 4', 'Canal Works']).update(
    kind='rtsp', address='rtsp://127.0.0.1:9/live', paused=False)  # sixteen, and nothing listens there
"""
MUCH = """
import uuid
from datetime import timedelta
from django.db.models import F
from django.utils import timezone
from portal.models import Passage, SiteFeed, Violation
first = Violation.objects.select_related('passage').first()
now, APART = timezone.now(), 0
for number in range(700):
    passage = first.passage
    passage.pk = uuid.uuid4()
    passage.save(force_insert=True)
    first.pk, first.passage_id, first.note, first.opened_at = uuid.uuid4(), passage.pk, 'pile', now
    first.status, first.review_version = 'open', 0
    first.started_at -= timedelta(minutes=APART)
    first.save(force_insert=True)
SiteFeed.objects.filter(pk=first.site_id).update(to_review=F('to_review') + 700)
"""
NEEDY = ".tile:not([data-state=online], [data-state=unknown], [data-state=paused])"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    environment = {"CAMERA_NETWORKS": "127.0.0.0/8", "WORKER_CAPACITY": "40"}
    one = PortalProcess(tmp_path_factory.mktemp("portal") / "data", environment=environment).start()
    python_in(one, FILL)
    yield one
    one.kill()


LONG_STRIP = """
from django.db.models import Count
from portal.models import Violation
row = Violation.objects.annotate(count=Count('glimpses')).filter(count=5).first()
print(row.pk if row else '')
"""


def test_what_needs_somebody_comes_first_and_what_is_paused_is_folded_away(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login())
    needy = page.locator(NEEDY)
    expect(page.locator(".tile[data-state=online][data-fresh]").first).to_be_visible(timeout=30_000)
    expect(page.locator(".tile:is([data-state=waiting], [data-state=connecting])")).to_have_count(0, timeout=40_000)
    count = needy.count()
    assert count >= 16
    expect(needy.filter(visible=True)).to_have_count(8)
    highest = [box["y"] for box in (each.bounding_box() for each in needy.filter(visible=True).all()) if box]
    seen = [box["y"] for each in page.locator(".tile[data-fresh]").all() if (box := each.bounding_box())]
    assert max(highest) < min(seen), "notes first, pictures after them"
    button = page.get_by_role("button", name="All cameras that need attention")
    expect(button).to_contain_text(str(count))
    button.click()
    expect(needy.filter(visible=True)).to_have_count(count)
    paused = page.locator(".tile[data-state=paused]")
    expect(paused.filter(visible=True)).to_have_count(0)
    page.get_by_role("button", name="Paused cameras").click()
    expect(paused.first).to_be_visible()
    assert paused.count() > 5


def test_a_site_and_a_name_are_chosen_and_kept(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login(), viewport={"width": 390, "height": 844})
    expect(page.locator("body")).to_have_attribute("data-live", "live")  # its scripts listen
    page.get_by_label("Site").select_option("Aster Court")
    page.wait_for_url("**/?site=*")
    expect(page.locator(".tile .site").filter(has_not_text="Aster Court")).to_have_count(0)
    of_site = page.locator(".tile").count()
    assert 1 < of_site < 20
    page.get_by_label("Find a camera").fill("front")
    page.get_by_label("Find a camera").press("Enter")
    page.wait_for_url("**find=front")
    assert 0 < page.locator(".tile").count() < of_site
    page.goto("/")
    expect(page.get_by_label("Find a camera")).to_have_value("front")
    page.get_by_label("Find a camera").fill("no such door")
    page.get_by_label("Find a camera").press("Enter")
    expect(page.get_by_text("No camera has this name")).to_be_visible()
    expect(page.locator(".strip").get_by_text("to review")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("link", name="All cameras").click()
    expect(page.locator(".tile")).to_have_count(42)


def test_several_cameras_are_chosen_of_a_list_that_a_press_elsewhere_closes(
    portal: PortalProcess, visit: Visit
) -> None:
    page = visit(portal, portal.login())
    page.goto("/violations/?status=")
    expect(page.locator("body")).to_have_attribute("data-live", "live")
    pick = page.locator(".pick", has_text="Cameras")
    pick.locator("summary").click()
    boxes = pick.get_by_role("checkbox")
    boxes.nth(0).check()
    boxes.nth(1).check()
    expect(pick.locator(".pick-chosen")).to_have_text("2 chosen")
    page.keyboard.press("Escape")
    expect(boxes.nth(0)).to_be_hidden()
    pick.locator("summary").click()
    page.locator("h1").click()
    expect(boxes.nth(0)).to_be_hidden()
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**camera=*&camera=*")
    expect(pick.locator(".pick-chosen")).to_have_text("2 chosen")


def test_the_one_it_is_about_is_framed_and_reasons_have_keys(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login(), viewport={"width": 1440, "height": 1300})
    page.goto("/violations/?status=open")
    page.locator(".row-link").first.click()
    page.wait_for_url("**/violations/*-*/**")
    frame, picture = page.locator(".snapshot rect"), page.locator(".snapshot img")
    expect(frame).to_be_visible()
    around, whole = frame.bounding_box(), picture.bounding_box()
    box = [float(edge) for edge in str(page.locator(".snapshot svg").get_attribute("data-accused")).split()]
    assert around and whole
    assert abs((around["x"] - whole["x"]) / whole["width"] - box[0]) < 0.02
    assert abs((around["y"] - whole["y"]) / whole["height"] - box[1]) < 0.02
    page.keyboard.press("b")
    expect(frame).to_be_hidden()
    key = page.locator("[data-violation]").get_attribute("data-violation")
    page.keyboard.press("4")
    page.wait_for_url(lambda url: str(key) not in url)
    page.goto(f"/violations/{key}/")
    expect(page.locator("[data-status]")).to_contain_text("Not clearly visible")
    expect(frame).to_be_hidden()  # as it was left


def test_a_filmstrip_shows_a_person_before_and_after(portal: PortalProcess, visit: Visit) -> None:
    """Several moments of one person, each framed; the switch of the frames is one for all."""

    def with_strip() -> str:
        return python_in(portal, LONG_STRIP).strip()

    page = visit(portal, portal.login())
    page.goto(f"/violations/{wait_for(with_strip, 60, 'a violation with its whole filmstrip')}/")
    pictures = page.locator(".filmstrip img")
    expect(pictures).to_have_count(5)
    shown = [str(pictures.nth(number).get_attribute("src")) for number in range(5)]
    bodies = {page.request.get(src).body() for src in shown}
    assert len(bodies) == 5, "five pictures, and not one repeated"
    for number in range(5):
        expect(page.locator(".filmstrip rect").nth(number)).to_be_visible()
    expect(page.locator(".filmstrip figcaption", has_text="the snapshot")).to_have_count(1)
    page.keyboard.press("b")
    for number in range(5):
        expect(page.locator(".filmstrip rect").nth(number)).to_be_hidden()


def test_on_a_phone_the_decision_stays_at_the_thumb(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login(), viewport={"width": 390, "height": 700})
    page.goto("/violations/?status=open")
    page.locator(".row-link").first.click()
    page.wait_for_url("**/violations/*-*/**")
    confirm = page.get_by_role("button", name="Confirm")
    for where in (0, 99_999):
        page.evaluate(f"scrollTo({{top: {where}, behavior: 'instant'}})")
        box = confirm.bounding_box()
        assert box is not None and 560 < box["y"] < 700 and box["height"] >= 44
    last, box = page.locator(".violation > *").last.bounding_box(), confirm.bounding_box()
    assert last is not None and box is not None and last["y"] + last["height"] <= box["y"], (
        "it covers nothing at the end of the page"
    )


def test_a_group_opens_and_is_decided_as_a_whole_while_it_is_closed(portal: PortalProcess, visit: Visit) -> None:
    python_in(portal, MUCH.replace("700", "12").replace("'pile'", "'group'"))
    page = visit(portal, portal.login())
    page.goto("/violations/?status=open&note=group")
    expect(page.locator("body")).to_have_attribute("data-live", "live")
    rows = page.locator(".row")
    expect(rows).to_have_count(12)
    expect(rows.filter(visible=True)).to_have_count(1)
    page.get_by_text("11 more of this camera within a minute").click()
    expect(rows.filter(visible=True)).to_have_count(12)
    rows.first.get_by_role("checkbox").check()
    expect(page.locator("[name=seen]:checked")).to_have_count(1)
    rows.first.get_by_role("checkbox").uncheck()
    page.get_by_text("11 more of this camera within a minute").click()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[name=seen]:checked")).to_have_count(12)
    page.keyboard.press("1")
    expect(page.get_by_text("12 dismissed.")).to_be_visible()
    page.get_by_role("button", name="Undo").first.click()
    page.goto("/violations/?status=open&note=group")
    expect(rows).to_have_count(12)


def test_sixty_are_reviewed_by_keys_within_a_minute_and_none_is_lost(portal: PortalProcess, visit: Visit) -> None:
    """On pages of thirty, chosen one by one."""
    apart = MUCH.replace("timezone.now(), 0", "timezone.now(), 2")
    python_in(portal, apart.replace("700", "60").replace("'pile'", "'sixty'"))
    page = visit(portal, portal.login())
    page.goto("/violations/?status=open&note=sixty")
    expect(page.locator("body")).to_have_attribute("data-live", "live")
    began = time.monotonic()
    for number in range(2):
        expect(page.locator(".row")).to_have_count(30)
        for _row in range(15):
            page.keyboard.press("j")
            page.keyboard.press("x")
        page.keyboard.press("c")
        expect(page.get_by_text("15 confirmed.")).to_be_visible()
        expect(page.locator(".row")).to_have_count(30 if number == 0 else 15)
        for _row in range(15):
            page.keyboard.press("j")
            page.keyboard.press("x")
        page.keyboard.press("3")
        expect(page.get_by_text("15 dismissed.")).to_be_visible()
    took_s = time.monotonic() - began
    print(f"sixty by keys in {took_s:.1f} s")
    assert took_s < 60
    page.goto("/violations/?status=open&note=sixty")
    expect(page.get_by_text("No violation matches this filter")).to_be_visible()
    for status in ("confirmed", "dismissed"):
        page.goto(f"/violations/?status={status}&note=sixty")
        expect(page.get_by_text("30 violations")).to_be_visible()


def test_all_that_fit_are_dismissed_with_progress_and_undone(portal: PortalProcess, visit: Visit) -> None:
    python_in(portal, MUCH)
    page = visit(portal, portal.login())
    page.goto("/violations/?status=open&note=pile")
    expect(page.locator("body")).to_have_attribute("data-live", "live")
    expect(page.get_by_text("700 violations")).to_be_visible()
    page.get_by_label("All that match the filter").check()
    expect(page.locator("[name=seen]").first).to_be_disabled()
    page.locator(".bulk").get_by_role("button", name="Dismiss all").click()
    told = page.locator("[data-told]")
    expect(told).to_have_text("700 dismissed.", timeout=30_000)
    page.goto("/violations/?status=open&note=pile")
    expect(page.get_by_text("No violation matches this filter")).to_be_visible()
    page.locator("[data-bulk]").get_by_role("button", name="Undo").click()
    expect(told).to_have_text("700 are as they were before.", timeout=30_000)
    page.goto("/violations/?status=open&note=pile")
    expect(page.get_by_text("700 violations")).to_be_visible()
