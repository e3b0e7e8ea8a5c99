"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
DEMO_CLIPS = ROOT / "portal" / "demo" / "clips"


@pytest.fixture(scope="session")
def shared() -> Path:
    """../shared with the real footage; skipped by name where it is absent, a failure in CI."""
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
    """Django empties SQLite's tables by DELETE after a test: the audit log's triggers make way for that."""
    from django.db.backends.sqlite3.base import DatabaseOperations

    from portal.models import audit_triggers

    flush = DatabaseOperations.sql_flush

    def sql_flush(self: Any, *args: Any, **kwargs: Any) -> list[str]:
        return [*audit_triggers.drop("sqlite"), *flush(self, *args, **kwargs), *audit_triggers.create("sqlite")]

    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign]
