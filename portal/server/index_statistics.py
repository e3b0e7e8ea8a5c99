"""What SQLite knows of its rows, by which it chooses an index: it collects that only when it is asked to.

Without, it finds the violations of a person's sites and sorts them all, to show the newest thirty: at a million rows,
seconds a page. PostgreSQL collects by itself (autovacuum).
"""

from __future__ import annotations

from django.db import connection

ROWS_LOOKED_AT = 1000  # of each index; so it takes milliseconds, however many there are (sqlite.org/lang_analyze.html)


def refresh() -> None:
    """Collect anew; does nothing on another database."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA analysis_limit={ROWS_LOOKED_AT}")
            cursor.execute("ANALYZE")
