"""What the documentation promises about the code is there."""

from __future__ import annotations

import re

from tests.conftest import ROOT

ROW = re.compile(r"^\| (?!I want)(?!---)(.+?) \| (.+?) \| `(.+?)` \|$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[\w-]+)?\)")


def test_where_names_files_that_hold_what_to_look_for() -> None:
    rows = ROW.findall((ROOT / "docs" / "where.md").read_text())
    assert len(rows) >= 20
    for change, places, word in rows:
        files = [(ROOT / "docs" / link).resolve() for link in LINK.findall(places)]
        assert files and all(path.is_file() for path in files), change
        assert any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", path.read_text()) for path in files), (change, word)


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "models" / "README.md"]:
        for link in LINK.findall(page.read_text()):
            if "://" not in link and not link.startswith("mailto:"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_no_line_of_a_template_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "portal" / "templates").rglob("*.html")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 120
    ]
    assert long == []


def test_no_class_name_stands_for_two_things() -> None:
    """Django's own inner names aside: Meta, a command's Command, a migration's Migration."""
    found: dict[str, list[str]] = {}
    for house in ("portal", "cameras", "detection"):
        for path in (ROOT / house).rglob("*.py"):
            for name in re.findall(r"^class (\w+)", path.read_text(), re.MULTILINE):
                found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    twice = {name: places for name, places in found.items() if len(places) > 1 and name not in {"Command", "Migration"}}
    assert twice == {}


def test_each_promise_names_tests_that_there_are() -> None:
    """And each row has one, or that of the row before."""
    text = (ROOT / "docs" / "promises.md").read_text()
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"
    rows = [
        line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "| what"))
    ]
    assert len(rows) > 25 and all("::test_" in row or row.endswith("| the same |") for row in rows)
