"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

# A loaded machine draws examples slowly: that is not the code's fault.
hypothesis_settings.register_profile(
    "loaded", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
hypothesis_settings.load_profile("loaded")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
DEMO_CLIPS = ROOT / "portal" / "demo" / "clips"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, only the tests that touch rows run again."""
    if "TEST_DATABASE_URL" not in os.environ:
        return
    rows = [item for item in items if "db" in item.fixturenames or item.get_closest_marker("django_db")]  # type: ignore[attr-defined]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(rows)])
    items[:] = rows


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """On PostgreSQL, each worker's database is a copy of one that is already migrated."""
    from django.conf import settings

    if template := os.environ.get("TEST_DATABASE_TEMPLATE"):
        test: dict[str, object] = settings.DATABASES["default"].setdefault("TEST", {})  # type: ignore[assignment]
        test["TEMPLATE"] = template


@pytest.fixture(scope="session")
def shared() -> Path:
    """../shared with the real footage; where it is absent, the test is skipped with that reason, but fails in CI."""
    if not (SHARED / "clips" / "man-no-mask.mp4").is_file():
        if os.environ.get("CI"):
            pytest.fail("../shared is absent; in CI it must lie beside the checkout.")
        pytest.skip("needs the real footage in ../shared, which is absent")
    return SHARED


@pytest.fixture(scope="session")
def _valkey() -> Iterator[None]:
    from tests.services import valkey

    with valkey():
        yield


@pytest.fixture
def redis(_valkey: None) -> Iterator[Any]:
    """An empty Valkey."""
    from cameras.redis import connection

    connection().flushall()
    yield connection()


@pytest.fixture(scope="session", autouse=True)
def _flushable_audit_log() -> None:
    """Django empties SQLite's tables with DELETE after a test: the audit log's triggers are dropped while it does."""
    from django.db.backends.sqlite3.base import DatabaseOperations  # type: ignore[attr-defined]

    from portal.models import audit_triggers

    flush = DatabaseOperations.sql_flush

    def sql_flush(self: Any, *args: Any, **kwargs: Any) -> list[str]:
        return [*audit_triggers.drop("sqlite"), *flush(self, *args, **kwargs), *audit_triggers.create("sqlite")]

    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign]
