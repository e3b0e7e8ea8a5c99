"""The portal as an app on a phone: a bar at the thumb, and a page that says so while there is no connection."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.portal_process import PortalProcess, python_in, wait_for

Visit = Callable[..., Page]
KEPT = """
async () => {
  const found = [];
  for (const name of await caches.keys())
    for (const request of await (await caches.open(name)).keys()) found.push(new URL(request.url).pathname);
  return found.sort();
}
"""


def test_on_a_phone_the_ways_lie_at_the_thumb(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login(), viewport={"width": 390, "height": 700}, has_touch=True)
    bar = page.locator(".top nav")
    for name in ("Live", "Violations", "Figures", "More"):
        box = bar.get_by_role("link", name=name).bounding_box()
        assert box is not None and box["height"] >= 44 and 600 < box["y"] < 700
    assert bar.get_by_role("link").filter(visible=True).count() == 4
    bar.get_by_role("link", name="More").click()
    menu = page.locator("main nav")
    for name in ("Cameras", "Sites", "People", "Log", "News", "Your profile"):
        expect(menu.get_by_role("link", name=name)).to_be_visible()
    menu.get_by_role("link", name="People").click()
    page.wait_for_url("**/people/")
    page.evaluate("scrollTo({top: 99999, behavior: 'instant'})")
    last, under = page.locator("main").bounding_box(), bar.bounding_box()
    assert last and under and last["y"] + last["height"] <= under["y"] + 1, "it covers nothing at the end of a page"


def test_without_a_connection_it_says_so_and_no_picture_was_kept(portal: PortalProcess, visit: Visit) -> None:
    page = visit(portal, portal.login())
    count = "from portal.models import Violation; print(Violation.objects.count() or '')"
    wait_for(lambda: python_in(portal, count).strip(), 60, "a violation, with its picture")
    page.goto("/violations/?status=open")
    expect(page.locator(".row img").first).to_be_visible()
    wait_for(lambda: "/offline/" in page.evaluate(KEPT), 20, "the page for later")
    page.wait_for_function("navigator.serviceWorker.controller !== null || navigator.serviceWorker.ready")
    kept = page.evaluate(KEPT)
    assert all(path == "/offline/" or path.endswith((".css", ".svg")) for path in kept), kept
    portal.stop()
    page.goto("/figures/")
    expect(page.get_by_role("heading", name="No connection")).to_be_visible()
    look = page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius")
    assert look not in {"", "0px"}, "it looks like a page of ours"
    portal.start()
    page.get_by_role("link", name="Try again").click()
    page.wait_for_url("**/figures/")
    expect(page.get_by_role("heading", name="Figures")).to_be_visible()
