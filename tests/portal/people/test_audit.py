"""The audit log: what is recorded, who may read it, and that nobody can change it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core import signing
from django.db import DatabaseError, OperationalError, connection, transaction
from django.forms import model_to_dict
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from portal.models import AuditEntry, Membership, User
from portal.people import audit, looks
from portal.people.spreadsheet import harmless
from tests.html import squeezed
from tests.worlds import PASSWORD, World, see

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def actions(**given: object) -> list[str]:
    return list(AuditEntry.objects.filter(**given).order_by("pk").values_list("action", flat=True))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE portal_auditentry SET actor = 'nobody'",
        "DELETE FROM portal_auditentry",
        "DELETE FROM portal_auditentry WHERE id > 0",
    ],
)
def test_the_database_refuses_to_change_or_delete_a_line(world: World, sign_in: SignIn, statement: str) -> None:
    sign_in(world.alice).get("/violations/")
    before = list(AuditEntry.objects.values_list())
    assert before
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert list(AuditEntry.objects.values_list()) == before


def test_models_and_deleted_people_do_not_get_round_it(world: World, sign_in: SignIn) -> None:
    sign_in(world.bob).get("/violations/")
    entry = AuditEntry.objects.filter(actor_id=world.bob.pk).last()
    assert entry is not None
    for attempt in (entry.delete, entry.save, AuditEntry.objects.all().delete):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()
    world.bob.delete()
    assert AuditEntry.objects.get(pk=entry.pk).actor == "Bob <bob@example.org>"


def test_one_row_a_page_view_and_one_a_full_size_picture(world: World, sign_in: SignIn) -> None:
    violation, client = see(world.door), sign_in(world.vera)
    AuditEntry.objects.filter(actor_id=world.vera.pk).count()
    start = len(actions(actor_id=world.vera.pk))
    client.get(f"/violations/{violation.pk}/")
    for part in ("thumbnail", "face", "snapshot"):
        client.get(f"/violations/{violation.pk}/{part}.jpg")
    client.get("/strip/")
    client.get("/violations/00000000-0000-0000-0000-000000000000/")
    assert actions(actor_id=world.vera.pk)[start:] == ["viewed", "saw-picture"]
    viewed, seen = AuditEntry.objects.filter(actor_id=world.vera.pk).order_by("pk")[start:]
    assert viewed.subject == f"/violations/{violation.pk}/" and viewed.site == "Harbour House"
    assert "Front door" in seen.subject and seen.site_id == world.here.pk and seen.address == "127.0.0.1"


def test_each_look_at_a_face_is_a_row_however_the_picture_was_asked_for(world: World, sign_in: SignIn) -> None:
    """By hand, without the page that shows it; the page itself is one row for all of its small pictures."""
    first, second, client = see(world.door), see(world.door), sign_in(world.bob)
    start = len(actions(actor_id=world.bob.pk))

    def noted() -> list[str]:
        rows = AuditEntry.objects.filter(actor_id=world.bob.pk).order_by("pk")[start:]
        return [row.subject for row in rows if row.action == "saw-picture"]

    for part in ("thumbnail", "face", "thumbnail"):
        client.get(f"/violations/{first.pk}/{part}.jpg")
    assert len(noted()) == 1 and "Front door" in noted()[0], "one look, of whatever size"
    client.get("/violations/")
    for each in (first, second):
        client.get(f"/violations/{each.pk}/thumbnail.jpg")
    assert noted()[1:] == ["2 small pictures"]
    client.get(f"/violations/{second.pk}/snapshot.jpg?download")
    client.get(f"/violations/{second.pk}/snapshot.jpg?download")
    assert len(noted()) == 4, "each large one is a row"
    assert sign_in(world.alice).get(f"/violations/{first.pk}/face.jpg").status_code == 200
    assert AuditEntry.objects.filter(action="saw-picture", actor_id=world.alice.pk).count() == 1


def test_without_redis_a_look_is_noted_all_the_same(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    violation, client = see(world.door), sign_in(world.bob)

    def down() -> None:
        raise OSError("Redis is away")

    monkeypatch.setattr(looks, "connection", down)
    for _ in range(2):
        assert client.get(f"/violations/{violation.pk}/face.jpg").status_code == 200
    assert actions(actor_id=world.bob.pk).count("saw-picture") == 2


def test_a_link_that_is_a_key_is_noted_without_its_secret(world: World, sign_in: SignIn) -> None:
    """Who reads the log could open it: an invitation, a new password, the first user's account."""
    alice = sign_in(world.alice)
    form = {"site": world.here.pk, "email": "new@example.org", "role": "viewer"}
    link = re.search(r"/invitation/[\w-]+/", alice.post("/people/invite/", form).content.decode())
    assert link and sign_in(world.bob).get(link[0]).status_code == 200
    assert AuditEntry.objects.filter(subject="/invitation/…/").exists()
    reset = re.search(r"/password/[^<]+", alice.post(f"/people/{world.bob.pk}/password-link/").content.decode())
    assert reset and sign_in(world.vera).get(reset[0], follow=True).status_code == 200
    noted = " ".join(AuditEntry.objects.values_list("subject", flat=True))
    for secret in (*link[0].strip("/").split("/")[1:], *reset[0].strip("/").split("/")[1:]):
        assert secret not in noted


def test_sign_ins_are_noted_with_those_that_failed(world: World) -> None:
    client = Client()
    client.post("/sign-in/", {"username": "alice@example.org", "password": "wrong"})
    client.post("/sign-in/", {"username": "alice@example.org", "password": PASSWORD})
    client.post("/sign-out/")
    assert actions(actor_id=None) == ["sign-in-failed"]
    assert "signed-in" in actions(actor_id=world.alice.pk) and actions(actor_id=world.alice.pk)[-1] == "signed-out"
    text = " ".join(str(value) for row in AuditEntry.objects.values_list() for value in row)
    assert PASSWORD not in text and "wrong" not in text


def test_changes_are_noted(world: World, sign_in: SignIn) -> None:
    alice, violation = sign_in(world.alice), see(world.door)
    start = AuditEntry.objects.order_by("pk").last()
    bob = Membership.objects.get(user=world.bob)
    alice.post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "confirm"})
    alice.post(f"/cameras/{world.door.pk}/pause/")
    alice.post(f"/people/roles/{bob.pk}/", {"role": "viewer"})
    alice.post(f"/people/{world.bob.pk}/password-link/")
    assert start is not None
    assert actions(pk__gt=start.pk) == ["reviewed", "camera-paused", "role-changed", "password-link"]


def test_a_manager_reads_her_sites_and_her_people_and_no_more(world: World, sign_in: SignIn) -> None:
    there, here = see(world.hall), see(world.door)
    sign_in(world.charlie).get(f"/violations/{there.pk}/")
    sign_in(world.bob).get("/violations/")
    sign_in(world.bob).get(f"/violations/{here.pk}/")
    page = squeezed(sign_in(world.alice).get("/audit/"))
    assert "Bob" in page and "Charlie" not in page and str(there.pk) not in page
    assert "the list of violations" not in page, "what belongs to no site is for superusers"
    assert "opened <strong>the list of violations</strong>" in squeezed(sign_in(world.root).get("/audit/"))
    everything = sign_in(world.root).get("/audit/").content.decode()
    assert "Bob" in everything and "Charlie" in everything
    found = sign_in(world.root).get("/audit/?who=charlie&what=viewed").content.decode().split("<tbody>")[1]
    assert "Charlie" in found and "Bob" not in found


def test_the_log_is_turned_page_by_page(world: World, sign_in: SignIn) -> None:
    AuditEntry.objects.bulk_create(
        AuditEntry(action="viewed", site_id=world.here.pk, subject=f"row {number:03d}") for number in range(120)
    )
    alice = sign_in(world.alice)
    first = alice.get("/audit/?what=viewed").content.decode()
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = alice.get(older).content.decode()
    assert "row 119" in first and "row 060" not in first and "row 060" in second and "row 119" not in second
    assert alice.get("/audit/?before=x&what=nonsense").status_code == 422


def test_the_export_runs_no_formula(world: World, sign_in: SignIn) -> None:
    User.objects.filter(pk=world.bob.pk).update(name='=HYPERLINK("http://x")')
    sign_in(User.objects.get(pk=world.bob.pk)).get(f"/violations/{see(world.door).pk}/")
    answer = sign_in(world.alice).get("/audit.csv")
    rows = list(csv.reader(io.StringIO(answer.getvalue().decode())))
    assert rows[0] == list(audit.COLUMNS) and "attachment" in answer["Content-Disposition"]
    assert any(cell.startswith("'=HYPERLINK") for row in rows for cell in row)
    assert not any(cell[:1] in "=+-@" for row in rows for cell in row if cell)
    assert "exported" in actions(actor_id=world.alice.pk)


@given(st.text(max_size=20))
def test_any_value_is_harmless_and_still_itself(value: str) -> None:
    quoted = harmless(value)
    assert quoted.removeprefix("'") == value.removeprefix("'") or quoted == value
    assert quoted.lstrip()[:1] not in {"=", "+", "-", "@"}


def test_what_is_seen_while_the_database_cannot_be_written_is_noted_later(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, violation = sign_in(world.bob), see(world.door)
    start = AuditEntry.objects.order_by("pk").last()

    def full(self: AuditEntry, **given: object) -> None:
        raise OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(AuditEntry, "save", full)
        assert client.get(f"/violations/{violation.pk}/").status_code == 200
        assert client.get(f"/violations/{violation.pk}/snapshot.jpg").status_code == 200
    assert start is not None and actions(pk__gt=start.pk) == []
    assert audit.write_late() == 2 and audit.write_late() == 0
    late = AuditEntry.objects.filter(pk__gt=start.pk).order_by("pk")
    assert [row.action for row in late] == ["viewed", "saw-picture"]
    assert all(row.actor_id == world.bob.pk and row.site == "Harbour House" for row in late)


def test_what_nobody_of_us_signed_never_gets_into_the_log_and_stops_nothing(world: World, redis: Any) -> None:
    own = audit.entry_of(None, audit.Action.VIEWED, "/late/", world.here, world.bob)
    forged = {"action": "viewed", "subject": "forged", "at": "2026-01-01T00:00:00+00:00"}
    redis.rpush(audit.LATE_KEY, json.dumps(forged), b"\xff\x00", signing.dumps(forged, salt="another"))
    redis.rpush(audit.LATE_KEY, signing.dumps({"at": 7}, salt=audit.LATE_KEY))
    kept = model_to_dict(own) | {"at": own.at.isoformat()}
    redis.rpush(audit.LATE_KEY, signing.dumps(kept, salt=audit.LATE_KEY))
    assert audit.write_late() == 1
    assert AuditEntry.objects.get(subject="/late/").actor_id == world.bob.pk
    assert not AuditEntry.objects.filter(subject="forged").exists()
    assert redis.llen(audit.UNREADABLE_KEY) == 4, "set aside, for a person to look at"


def test_what_is_done_in_djangos_admin_is_noted_too(world: World, sign_in: SignIn) -> None:
    his = Membership.objects.get(user=world.bob)
    sign_in(world.root).post(f"/admin/portal/membership/{his.pk}/delete/", {"post": "yes"})
    entry = AuditEntry.objects.filter(action="administered").get()
    assert entry.actor_id == world.root.pk and "Bob: reviewer" in entry.subject
