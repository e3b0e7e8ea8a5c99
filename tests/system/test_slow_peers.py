"""Slow peers leave pages as fast as before: a whole portal, hundreds of real connections."""

from __future__ import annotations

import pytest

from portal.server import slow_peers

pytestmark = pytest.mark.slow


def test_pages_stay_fast_and_memory_small_whoever_comes() -> None:
    before, crowd, endless, sign_ins, after = slow_peers.measure(bodies=200, heads=500, endless=10, sign_ins=60)
    print(*(before, crowd, endless, sign_ins, after), sep="\n")
    for figures in (crowd, endless, sign_ins, after):
        assert figures.page_ms < 3 * before.page_ms + 10, figures.phase
        assert figures.slowest_ms < 500, figures.phase
        assert figures.memory_mb < before.memory_mb + 60, figures.phase
