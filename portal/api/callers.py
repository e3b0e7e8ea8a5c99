"""Who calls the reading part of the API: a program by its token, or a person by the session of their browser."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.security import HttpBearer, SessionAuth

from cameras.models import Site
from cameras.redis import Errors, connection
from portal.api.problems import Problem
from portal.models import Program
from portal.people import access, audit, programs
from portal.people.access import Actor, Right
from portal.people.audit import Action
from portal.server import throttling

CALLS_A_MINUTE = 300
READING_NOTED_EVERY_S = 3600  # a program that reads each minute is a row an hour, not sixty


class ProgramBearer(HttpBearer):
    """The token of a program, from the site's page “Programs”."""

    def authenticate(self, request: HttpRequest, token: str) -> Program | None:
        found = programs.program_of(token)
        request.program = found  # type: ignore[attr-defined]
        return found


class PersonSession(SessionAuth):
    """The session of somebody who is signed in; not asked where a token is sent, even a wrong one."""

    def __call__(self, request: HttpRequest) -> Any:
        return None if request.headers.get("Authorization") else super().__call__(request)


CALLER: list[Any] = [ProgramBearer(), PersonSession()]


def caller(request: HttpRequest) -> Actor:
    """Who calls; raises Problem if they call too often."""
    found: Actor = request.auth  # type: ignore[attr-defined]
    kind = "program" if isinstance(found, Program) else "person"
    try:
        if not throttling.allow("api", f"{kind}:{found.pk}", CALLS_A_MINUTE):
            raise Problem(429, _("At most %(most)d calls a minute. Wait a little.") % {"most": CALLS_A_MINUTE}, 10)
    except Errors:
        pass  # reading goes on while Redis is away
    return found


def sites(request: HttpRequest, right: Right, site_id: int | None = None) -> list[Site]:
    """The caller's sites where they have `right`, or this one of them; raises Problem if there is none.

    A site that the caller may not know of is not found (404); a right that they lack is refused (403).
    """
    actor = caller(request)
    rows = access.sites(actor, right).select_related("policy").order_by("name", "pk")
    found = list(rows if site_id is None else rows.filter(pk=site_id))
    if site_id is not None and not found and not access.sites(actor, Right.READ_FIGURES).filter(pk=site_id).exists():
        raise Problem(404, _("There is no such site, or you have no access to it."))
    if not found and isinstance(actor, Program):
        raise Problem(403, _("This token may not do that. Make one that may on the site's page “Programs”."))
    return found


def note_reading(request: HttpRequest, what: str, read_of: list[Site]) -> None:
    """Note that people or violations were read: each time for a person, once an hour for a program."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    for site in read_of:
        is_first = True
        if isinstance(actor, Program):
            with suppress(*Errors):
                key = f"api-read:{actor.pk}:{what}"
                is_first = bool(connection().set(key, b"1", ex=READING_NOTED_EVERY_S, nx=True))
        if is_first:
            audit.note_look(request, Action.READ_BY_API, what, site)
