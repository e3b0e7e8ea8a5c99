"""What the database needs from a long-lived process, besides Django's own connections."""

from __future__ import annotations

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

PAGES_WAIT_S = 2.0

_held: BaseDatabaseWrapper | None = None


def wait_less() -> None:
    """In the web process: a page waits for SQLite's lock for PAGES_WAIT_S, then says so; workers wait longer.

    Call it before the first connection is made. Does nothing on PostgreSQL.
    """
    default = connections.settings["default"]
    if default["ENGINE"].endswith("sqlite3"):
        default["OPTIONS"]["timeout"] = PAGES_WAIT_S


def hold_open() -> None:
    """Keep one connection to SQLite open for as long as this process lives.

    When the last connection closes, SQLite deletes its -wal and -shm files, and the next one must create them again.
    On a full disk it cannot, and then not even a page could be read. Does nothing on PostgreSQL.
    """
    global _held
    if _held is None and connections["default"].vendor == "sqlite":
        _held = connections.create_connection("default")
        with _held.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM sqlite_master")
