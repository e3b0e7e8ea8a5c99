"""Each person's look at stored faces is one row of the audit log, by whichever way the picture came to them.

A page that shows pictures says so when it is made; its pictures, which the browser then asks for one by one, are
covered by that for a while. A picture that was asked for without such a page is a look of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation

from cameras.redis import Errors, connection
from portal.models import Violation
from portal.people import audit
from portal.people.audit import Action

COVERED_S = 600  # a page's pictures are asked for within seconds, and again when it is scrolled
PAGE_OF_MANY = "%d small pictures"


def note_list(request: HttpRequest, rows: Sequence[Violation]) -> None:
    """A page with a small picture of each of these: one row a site, that says how many."""
    shown = [row for row in rows if row.snapshot]
    for site, count in Counter(row.site for row in shown).items():
        audit.note_look(request, Action.SAW_PICTURE, PAGE_OF_MANY % count, site)
    _cover(request, shown)


def note_page(request: HttpRequest, violation: Violation) -> None:
    """A page about one violation, whose view is a row already; its large picture is noted when it is asked for."""
    _cover(request, [violation])


def note_picture(request: HttpRequest, violation: Violation, *, large: bool) -> None:
    """A picture was asked for. A large one is always a row, another unless a page has covered it."""
    if large or not _is_covered(request, violation):
        audit.note_look(request, Action.SAW_PICTURE, describe(violation), violation.site)
        _cover(request, [violation])


def note_push(user_id: int, address: str, violation_id: UUID) -> None:
    """A notice with a small picture was sent to a person's open page: once for each person, however many pages."""
    try:
        is_first = connection().set(_key(user_id, violation_id), b"1", ex=COVERED_S, nx=True)
    except Errors:
        is_first = True
    found = Violation.objects.select_related("site", "camera").filter(pk=violation_id).first() if is_first else None
    if found is not None:
        audit.note_push(user_id, describe(found), found.site, address)


@translation.override(settings.LANGUAGE_CODE)
def describe(violation: Violation) -> str:
    """A violation, as the audit log names it: in one language, whoever looked."""
    return f"{violation.get_label_display()}, {violation.camera.name}, {violation.started_at:%Y-%m-%d %H:%M:%S} UTC"


def _key(user_id: int | None, violation_id: UUID) -> str:
    return f"look:{user_id}:{violation_id}"


def _cover(request: HttpRequest, rows: Sequence[Violation]) -> None:
    """Without Redis nothing is covered: then a look may be two rows, never none."""
    with suppress(*Errors):
        pipeline = connection().pipeline(transaction=False)
        for row in rows:
            pipeline.set(_key(request.user.pk, row.pk), b"1", ex=COVERED_S)
        pipeline.execute()


def _is_covered(request: HttpRequest, violation: Violation) -> bool:
    try:
        return bool(connection().exists(_key(request.user.pk, violation.pk)))
    except Errors:
        return False
