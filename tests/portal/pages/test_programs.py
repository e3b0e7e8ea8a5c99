"""The page on which a site's managers let programs in, and revoke their tokens."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from portal.models import AuditEntry, Program, User
from portal.people import programs
from tests.html import squeezed
from tests.worlds import World

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def test_a_token_is_shown_once_and_works_until_it_is_revoked(world: World, sign_in: SignIn) -> None:
    client, page = sign_in(world.alice), f"/sites/{world.here.pk}/programs/"
    answer = client.post(page, {"name": "Screen", "rights": ["figures", "violations"]})
    assert "no-store" in answer["Cache-Control"]
    (token,) = re.findall(r"masks_[\w-]{43}", answer.content.decode())

    def ask() -> int:
        return Client().get("/api/v1/sites", headers={"Authorization": f"Bearer {token}"}).status_code

    assert "not used yet" in squeezed(answer) and ask() == 200
    shown = squeezed(client.get(page))
    assert token not in shown and "not used yet" not in shown and "Read figures, cameras and outages" in shown
    made = Program.objects.get()
    assert made.made_by == world.alice
    assert "not valid any more" in squeezed(client.post(f"/programs/{made.pk}/revoke/", follow=True))
    assert ask() == 401
    noted = AuditEntry.objects.filter(action__startswith="program-").values_list("action", "subject", "site")
    assert set(noted) == {
        ("program-added", "Screen: figures, violations", "Harbour House"),
        ("program-revoked", "Screen", "Harbour House"),
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "", "rights": ["figures"]}, "This field is required"),
        ({"name": "Screen"}, "Choose at least one"),
        ({"name": "Screen", "rights": ["everything"]}, "everything"),
        ({"name": "x" * 81, "rights": ["figures"]}, "at most 80"),
    ],
)
def test_what_cannot_be_made_is_said_where_it_was_typed(
    world: World, sign_in: SignIn, given: dict[str, object], says: str
) -> None:
    answer = sign_in(world.alice).post(f"/sites/{world.here.pk}/programs/", given)
    assert answer.status_code == 422 and says in squeezed(answer) and not Program.objects.exists()


def test_a_site_has_so_many_programs(world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MOST", 1)
    client, page = sign_in(world.alice), f"/sites/{world.here.pk}/programs/"
    for status in (200, 422):
        assert client.post(page, {"name": "Screen", "rights": ["figures"]}).status_code == status
    programs.revoke(Program.objects.get())
    assert client.post(page, {"name": "Screen", "rights": ["figures"]}).status_code == 200
