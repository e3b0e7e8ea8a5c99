"""Counts that wait to be added to what is in Redis."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Unsent:
    """Shared by threads: whatever is not taken is kept for the next time."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._new: Counter[str] = Counter()

    def add(self, values: Mapping[str, int]) -> None:
        with self._guard:
            self._new.update(values)

    def count(self, field: str) -> int:
        with self._guard:
            return self._new[field]

    @contextmanager
    def taken(self) -> Iterator[Counter[str]]:
        """All of them, to be sent within; kept if that fails."""
        with self._guard:
            new, self._new = self._new, Counter()
        try:
            yield new
        except BaseException:
            self.add(new)
            raise
