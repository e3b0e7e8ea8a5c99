"""Tables for spreadsheets: CSV (RFC 4180), one line at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence


def lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The columns' names, then the rows. What a spreadsheet would take for a formula is escaped."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)

    def line(values: Sequence[object]) -> str:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow([harmless(value) if isinstance(value, str) else value for value in values])
        return buffer.getvalue()

    yield line(columns)
    for row in rows:
        yield line(row)


def harmless(value: str) -> str:
    """A value that no spreadsheet runs: an apostrophe precedes what begins a formula (OWASP, CSV injection)."""
    return f"'{value}" if value.lstrip()[:1] in {"=", "+", "-", "@"} or value[:1] in {"\t", "\r"} else value
