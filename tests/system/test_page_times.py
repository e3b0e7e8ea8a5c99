"""The command that measures pages fills a portal of its own and asks its web process; little is enough to see that."""

from __future__ import annotations

import pytest

from portal.server import page_times


@pytest.mark.slow
def test_each_page_is_measured_as_a_manager_of_all_sites_gets_it() -> None:
    found = page_times.measure(300, days=2)
    assert (found.database, found.violations, found.cameras) == ("SQLite", 300, 200)
    names = {each.page for each in found.pages}
    assert {"dashboard", "violations, to review", "a violation", "figures, a year", "log"} <= names
    assert all(0 < each.median_ms <= each.p95_ms and each.kb > 5 for each in found.pages)
    assert found.lists_a_second > 1
