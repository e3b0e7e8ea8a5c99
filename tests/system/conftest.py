from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.portal_process import PortalProcess


@pytest.fixture
def portals(tmp_path: Path) -> Iterator[Callable[..., PortalProcess]]:
    """Makes portals with their DATA_DIR in the test's folder; none outlives the test."""
    made: list[PortalProcess] = []

    def make(data_dir: Path | None = None, **given: object) -> PortalProcess:
        portal = PortalProcess(data_dir or tmp_path / "data", **given)  # type: ignore[arg-type]
        made.append(portal)
        return portal

    yield make
    for portal in made:
        portal.kill()
