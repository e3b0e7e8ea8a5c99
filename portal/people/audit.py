"""The only way into the audit log: sign-ins, a row per page view or full-size picture, live start and stop, changes.

    audit.note(request, Action.CAMERA_CHANGED, subject="Front door", site=camera.site)

Nobody can change or delete the rows: triggers in the database refuse it (portal/migrations).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core import signing
from django.db import OperationalError
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.forms import model_to_dict
from django.http import HttpRequest, HttpResponse

from cameras.models import Site
from cameras.redis import connection
from portal.models import AuditEntry, User
from portal.people import spreadsheet

log = logging.getLogger(__name__)

Action = AuditEntry.Action

# Pages are noted unless listed here: these show nobody, or are requested by a page that is itself noted.
NOT_VIEWS = frozenset(
    {
        "strip",
        "healthz",
        "readyz",
        "face",
        "thumbnail",
        "snapshot",
        "probe",
        "probe_picture",
        "audit_export",
        "figures_export",
        "authority",
        "push_worker",
        "picture_now",
    }
)
SECRET_PARTS = frozenset({"secret", "token", "uidb64", "key"})  # of a path, by their name in portal/urls.py
HIDDEN = "…"
MARK = "audited_site"
LATE_KEY = "audit-late"  # a list: rows that wait until the database can be written, signed
UNREADABLE_KEY = "audit-unreadable"  # a list: what was found there and is none of ours
MOST_UNREADABLE = 1000


def note(
    request: HttpRequest | None,
    action: AuditEntry.Action,
    subject: str = "",
    site: Site | None = None,
    actor: User | None = None,
) -> None:
    """Add a row. The actor is the person signed in for `request`, unless given. One query."""
    entry_of(request, action, subject, site, actor).save(force_insert=True)


def note_look(request: HttpRequest, action: AuditEntry.Action, subject: str, site: Site | None) -> None:
    """Add a row for what somebody sees. An unwritable database does not hold up the page: the row is written later."""
    _write_or_put_off(entry_of(request, action, subject, site, None))


def _write_or_put_off(entry: AuditEntry) -> None:
    try:
        entry.save(force_insert=True)
    except OperationalError:
        given = model_to_dict(entry) | {"at": entry.at.isoformat()}
        connection().rpush(LATE_KEY, signing.dumps(given, salt=LATE_KEY))


def write_late() -> int:
    """Write what had to be put off; returns how many rows. What is not signed by us is set aside. Run by beat."""
    count = 0
    while (text := cast("bytes | None", connection().lindex(LATE_KEY, 0))) is not None:
        try:
            given = signing.loads(text.decode(), salt=LATE_KEY)
            entry = AuditEntry(**(given | {"at": datetime.fromisoformat(given["at"])}))
        except (signing.BadSignature, ValueError, TypeError, KeyError):
            log.error("a row that waited for the audit log is not ours; it is set aside in %s", UNREADABLE_KEY)
            connection().rpush(UNREADABLE_KEY, text)
            connection().ltrim(UNREADABLE_KEY, -MOST_UNREADABLE, -1)
        else:
            entry.save(force_insert=True)
            count += 1
        connection().lpop(LATE_KEY)
    return count


def entry_of(
    request: HttpRequest | None, action: AuditEntry.Action, subject: str, site: Site | None, actor: User | None
) -> AuditEntry:
    program = getattr(request, "program", None) if actor is None else None  # its token counted, whoever is signed in
    who = actor
    if who is None and program is None and request is not None and request.user.is_authenticated:
        who = request.user
    return AuditEntry(
        action=action,
        subject=subject[:400],
        actor_id=who.pk if who else None,
        actor=f"{program.name} ({program._meta.verbose_name} {program.pk})" if program else describe(who),
        site_id=site.pk if site else None,
        site=site.name if site else "",
        address=address_of(request),
    )


def note_live(user_id: int, action: AuditEntry.Action, cameras: Iterable[tuple[Site, str]], address: str) -> None:
    """Live watching began or ended: add a row for each site, with the names of its cameras."""
    user = User.objects.filter(pk=user_id).first()
    by_site: dict[int, tuple[Site, list[str]]] = {}
    for site, name in cameras:
        by_site.setdefault(site.pk, (site, []))[1].append(name)
    for site, names in by_site.values():
        entry = entry_of(None, action, ", ".join(names), site, user)
        entry.actor_id, entry.address = user_id, address[:64]
        _write_or_put_off(entry)


def note_sent(subject: str, site: Site, user: User) -> None:
    """A picture was sent to somebody. If the database cannot be written, the row is written later."""
    _write_or_put_off(entry_of(None, Action.SENT_PICTURE, subject, site, user))


def note_push(user_id: int, subject: str, site: Site, address: str) -> None:
    """A picture was sent to somebody's open page by itself."""
    user = User.objects.filter(pk=user_id).first()
    entry = entry_of(None, Action.SAW_PICTURE, subject, site, user)
    entry.address = address[:64]
    _write_or_put_off(entry)


def describe(user: User | None) -> str:
    """The person, in words that are still clear when the account is gone."""
    return f"{user.name} <{user.email}>"[:300] if user else ""


def address_of(request: HttpRequest | None) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))[:64] if request is not None else ""


def about(request: HttpRequest, site: Site) -> None:
    """This page is about one site: its view is noted there."""
    setattr(request, MARK, site)


def without_secrets(path: str, parts: Mapping[str, Any]) -> str:
    """A page's path without what makes a link a key: who reads the log could use it, as long as it is valid."""
    for name, value in parts.items():
        if name in SECRET_PARTS:
            path = path.replace(str(value), HIDDEN)
    return path


class PageViewMiddleware:
    """Notes each page that was shown to a person."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        match = request.resolver_match
        if (
            request.method == "GET"
            and response.status_code == 200
            and request.user.is_authenticated
            and match is not None
            and match.url_name not in NOT_VIEWS
            and response.get("Content-Type", "").startswith("text/html")
        ):
            path = without_secrets(request.get_full_path(), match.kwargs)
            note_look(request, Action.VIEWED, path, getattr(request, MARK, None))
        return response


@receiver(user_logged_in)
def _signed_in(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    note(request, Action.SIGNED_IN, actor=user)


@receiver(user_logged_out)
def _signed_out(sender: Any, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        note(request, Action.SIGNED_OUT, actor=user)


@receiver(user_login_failed)
def _failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    AuditEntry.objects.create(
        action=Action.SIGN_IN_FAILED, subject=str(credentials.get("username", ""))[:400], address=address_of(request)
    )


def _administered(sender: Any, instance: Any, created: bool, **kwargs: Any) -> None:
    """Note what is done in Django's admin, which keeps a log of its own; that log knows the actor by number."""
    if created:
        who = User.objects.filter(pk=instance.user_id).first()
        subject = f"{instance.content_type}: {instance.object_repr} ({instance.get_action_flag_display()})"
        note(None, Action.ADMINISTERED, subject, actor=who)


post_save.connect(_administered, sender="admin.LogEntry")


# -- export ---------------------------------------------------------------------------------------------------------

COLUMNS = ("at", "actor", "action", "subject", "site", "address")


def export(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """CSV, one line at a time."""
    rows = ((entry.at.isoformat(), *(getattr(entry, name) for name in COLUMNS[1:])) for entry in entries)
    return spreadsheet.lines(COLUMNS, rows)
