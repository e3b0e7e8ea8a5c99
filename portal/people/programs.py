"""Programs that use the API of a site: made, known by their token, and revoked."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from cameras.models import Site
from portal.models import Program, User
from portal.people.memberships import hash_of

MOST = 50  # of a site
USED_EVERY = timedelta(minutes=1)  # how exactly "last used" is kept
BEGINS = "masks_"  # so that a token is known for one wherever it turns up


def make(site: Site, name: str, rights: Sequence[str], made_by: User) -> tuple[Program, str]:
    """A program and its token, which cannot be read again later."""
    token = BEGINS + secrets.token_urlsafe(32)
    fields = {"site": site, "name": name, "rights": list(rights), "made_by": made_by}
    return Program.objects.create(token_hash=hash_of(token), **fields), token


def program_of(token: str) -> Program | None:
    """The program with this token, with its site; None if there is none, or it was revoked. One query, or two."""
    if not token.startswith(BEGINS):
        return None
    found = (
        Program.objects.filter(token_hash=hash_of(token), revoked_at=None, site__archived_at=None)
        .select_related("site")
        .first()
    )
    if found is not None:
        now = timezone.now()
        old = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_EVERY)
        if found.last_used_at is None or found.last_used_at < now - USED_EVERY:
            Program.objects.filter(old, pk=found.pk).update(last_used_at=now)
    return found


def revoke(program: Program) -> None:
    Program.objects.filter(pk=program.pk, revoked_at=None).update(revoked_at=timezone.now())
