"""Pictures as files of the storage: while a backup is made, none goes that its rows may name."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from django.core.files.storage import default_storage

from cameras.redis import Errors, connection
from portal.models import Violation, ViolationGlimpse

log = logging.getLogger(__name__)

HELD_KEY = "pictures-held"
HELD_S = 120


def hold() -> None:
    """Keep what is replaced or too old for the next two minutes; call it again while the backup goes on.

    While Redis does not answer, a picture that is replaced just now may be missing from the backup, which says so.
    """
    try:
        connection().set(HELD_KEY, "1", ex=HELD_S)
    except Errors as error:
        log.warning("pictures cannot be held for the backup: %s", type(error).__name__)


def let_go() -> None:
    with suppress(*Errors):
        connection().delete(HELD_KEY)


def are_held() -> bool:
    """Whether a backup is being made. While Redis does not answer, none is."""
    try:
        return bool(connection().exists(HELD_KEY))
    except Errors:
        return False


def names_of(violations: Iterable[Violation]) -> list[str]:
    """All stored pictures of these violations. One query."""
    rows = list(violations)
    glimpses = ViolationGlimpse.objects.filter(violation__in=[row.pk for row in rows])
    snapshots = (row.snapshot.name for row in rows)
    return [name for name in (*snapshots, *glimpses.values_list("picture", flat=True)) if name]


def known(names: Collection[str]) -> set[str]:
    """Those of these files that a row names."""
    snapshots = Violation.objects.filter(snapshot__in=names).values_list("snapshot", flat=True)
    return {*snapshots, *ViolationGlimpse.objects.filter(picture__in=names).values_list("picture", flat=True)}


def all_names() -> Iterator[str]:
    """Every file that a row names, a few at a time."""
    yield from Violation.objects.exclude(snapshot="").values_list("snapshot", flat=True).iterator(1000)
    yield from ViolationGlimpse.objects.values_list("picture", flat=True).iterator(1000)


def drop_replaced(name: str) -> None:
    """Delete a picture that its row names no more; call it on commit. If it is held, the sweep for orphans does so."""
    if not are_held():
        default_storage.delete(name)
