"""What the database needs from a long-lived process, besides Django's own connections."""

from __future__ import annotations

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

_held: BaseDatabaseWrapper | None = None


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
