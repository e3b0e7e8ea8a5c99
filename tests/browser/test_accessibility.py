"""axe-core finds no serious fault on any page, at both widths, light and dark."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.portal_process import PortalProcess, Visitor, wait_for

Visit = Callable[..., Page]
AXE = "axe-core@4.14.1"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """axe.min.js from npm."""
    npm = shutil.which("npm")
    if npm is None:
        if os.environ.get("CI"):
            pytest.fail("npm is missing; in CI that is a failure.")
        pytest.skip("needs npm, for axe-core: apt install npm")
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), AXE], check=True)
    return folder / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_has_a_serious_fault(portal: PortalProcess, visit: Visit, axe: Path, width: int, scheme: str) -> None:
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    violation = wait_for(visitor.violations, 60, "a violation")[0]
    page = visit(portal, viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True)
    faults = {path: look(page, path, axe) for path in ("/sign-in/", "/password/")}
    from tests.browser.conftest import sign_in

    sign_in(page, *portal.login())
    expect(page.locator(".tile[data-fresh]")).to_have_count(2, timeout=20_000)
    paths = ("/", "/violations/", "/violations/?status=nonsense", "/violations/?status=dismissed",
             f"/violations/{violation}/", "/people/", "/nothing/")  # fmt: skip
    faults |= {path: look(page, path, axe) for path in paths}
    assert {path: found for path, found in faults.items() if found} == {}


def look(page: Page, path: str, axe: Path) -> list[str]:
    page.goto(path)
    page.add_script_tag(path=axe)
    found = page.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{fault['id']}: {node['html']}"
        for fault in found
        if fault["impact"] in {"serious", "critical"}
        for node in fault["nodes"]
    ]
