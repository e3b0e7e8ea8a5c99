"""axe-core finds no serious fault on any page, at both widths, light and dark."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from django.conf import settings
from playwright.sync_api import Page, ViewportSize

from tests.browser import gallery
from tests.conftest import ROOT
from tests.portal_process import PortalProcess, Visitor, python_in, wait_for

Visit = Callable[..., Page]
LANGUAGES = settings.LANGUAGES
COLOURS = ("color-contrast", "link-in-text-block")  # what dark may change; names, roles and structure it does not
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture(scope="session")
def axe() -> Path:
    """axe-core's script, as package-lock.json names it."""
    script = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if os.environ.get("CI"):
            pytest.fail("axe-core is missing; in CI that is a failure.")
        pytest.skip("needs axe-core, which `make check` installs where there is npm")
    return script


@pytest.fixture(scope="module")
def things(portal: PortalProcess) -> dict[str, str]:
    """The gallery's world, with a violation to look at."""
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    found = wait_for(visitor.violations, 60, "a violation")
    return gallery.make_world(portal) | {"violation": found[0]}


def test_every_page_of_the_url_list_is_in_the_gallery() -> None:
    shown = {shot.route for shot in gallery.SHOTS} | gallery.ELSEWHERE
    assert gallery.page_routes() <= shown, gallery.page_routes() - shown


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_has_a_serious_fault_light_or_dark(
    portal: PortalProcess, visit: Visit, axe: Path, things: dict[str, str], width: int
) -> None:
    # Without motion: a notice that is just fading in or out has no contrast of its own.
    options = {"viewport": {"width": width, "height": 844}, "bypass_csp": True, "reduced_motion": "reduce"}
    pages: dict[str, Page] = {}
    faults = {}
    for shot in gallery.SHOTS:
        if shot.who not in pages:
            pages[shot.who] = visit(portal, gallery.login_of(portal, shot.who) if shot.who else None, **options)
        page = pages[shot.who]
        page.goto(shot.path.format(**things))
        shot.act(page)
        page.add_script_tag(path=axe)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            if found := look(page, COLOURS if scheme == "dark" else ()):
                faults[f"{shot.name}, {scheme}"] = found
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{shot.name} is wider than its window"
    assert faults == {}


def test_in_each_language_pages_fit_and_have_no_serious_fault(
    portal: PortalProcess, visit: Visit, axe: Path, things: dict[str, str]
) -> None:
    """Words are longer or shorter, and in two languages everything runs from right to left."""
    page = visit(portal, portal.login(), bypass_csp=True, reduced_motion="reduce")
    faults = {}
    for language, _name in LANGUAGES:
        python_in(portal, f"from portal.models import User; User.objects.update(language={language!r})")
        for address in ("/", "/violations/", "/violations/{violation}/", "/figures/", "/cameras/add/", "/profile/"):
            page.goto(address.format(**things))
            html = page.locator("html")
            assert html.get_attribute("lang") == language
            assert html.get_attribute("dir") == ("rtl" if language in {"ar", "he"} else "ltr")
            page.add_script_tag(path=axe)
            for width in (390, 1440):
                page.set_viewport_size({"width": width, "height": 844})
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    faults[f"{address}, {language}, {width}"] = [f"is {wide} px wide"]
            if found := look(page):
                faults[f"{address}, {language}"] = found
    python_in(portal, "from portal.models import User; User.objects.update(language='')")
    assert faults == {}


def test_the_pages_of_other_portals_have_no_serious_fault(visit: Visit, axe: Path, tmp_path: Path) -> None:
    portal = PortalProcess(tmp_path / "data", environment={"DEMO": "0", "HTTPS": "1"}).start()
    try:
        page = visit(
            portal, bypass_csp=True, ignore_https_errors=True, base_url=portal.address.replace("http", "https")
        )
        link = re.search(r"https://\S+/first-user/\S+", portal.output)
        assert link
        faults = {}
        for path in (link[0], "/connect/"):
            page.goto(path)
            page.add_script_tag(path=axe)
            faults[path] = look(page)
        assert not any(faults.values()), faults
    finally:
        portal.kill()


A4 = ViewportSize(width=718, height=1047)  # in CSS px, with margins of a centimetre
SIZES = {"desktop": (1440, 900, "light"), "phone-dark": (390, 844, "dark")}


@pytest.mark.parametrize("size", SIZES)
def test_screenshots_of_all_pages(portal: PortalProcess, visit: Visit, things: dict[str, str], size: str) -> None:
    """Written to docs/screenshots/all with SCREENSHOTS=1, else skipped: the tests above visit the whole gallery."""
    if not os.environ.get("SCREENSHOTS"):
        pytest.skip("SCREENSHOTS=1 writes them")
    width, height, scheme = SIZES[size]
    folder = ROOT / "docs" / "screenshots" / "all"
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[str, Page] = {}
    for shot in gallery.SHOTS:
        if shot.who not in pages:
            login = gallery.login_of(portal, shot.who) if shot.who else None
            pages[shot.who] = visit(portal, login, viewport={"width": width, "height": height}, color_scheme=scheme)
        page = pages[shot.who]
        page.goto(shot.path.format(**things))
        shot.act(page)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{shot.name}-{size}.jpg", full_page=True, type="jpeg", quality=70)
    if size == "desktop":
        page = pages["olivia"]
        page.goto("/figures/?site={harbour}&from={year_ago}&to={today}".format(**things))
        page.set_viewport_size(A4)
        page.emulate_media(media="print")
        page.screenshot(path=folder / "figures-printed.jpg", full_page=True, type="jpeg", quality=70)


def look(page: Page, rules: tuple[str, ...] = ()) -> list[str]:
    """What axe finds, by these rules, or by all."""
    given = {"resultTypes": ["violations"]} | ({"runOnly": {"type": "rule", "values": list(rules)}} if rules else {})
    found = page.evaluate("given => axe.run(given).then(result => result.violations)", given)
    return [
        f"{fault['id']}: {node['html']}"
        for fault in found
        if fault["impact"] in {"serious", "critical"}
        for node in fault["nodes"]
    ]
