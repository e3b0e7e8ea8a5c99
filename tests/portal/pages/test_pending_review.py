"""A decision is not lost: its note goes with it, and it waits when the session has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from portal.events.review import review
from portal.models import User, Violation
from portal.pages import pending_review
from tests.html import squeezed
from tests.worlds import PASSWORD, World, see

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def decide(client: Client, *rows: Violation, decision: str = "dismiss", **given: str) -> Any:
    seen = [f"{row.pk}:{row.review_version}" for row in rows]
    return client.post("/violations/review/", {"seen": seen, "decision": decision, **given})


def after_sign_in(client: Client, answer: Any, user: User) -> Any:
    """What a person sees who follows the answer, and signs in."""
    assert answer["Location"].startswith("/sign-in/?next=")
    onward = client.get(answer["Location"]).context["next"]
    form = {"username": user.email, "password": PASSWORD, "next": onward}
    return client.post("/sign-in/", form, follow=True)


@pytest.mark.parametrize(("decision", "status"), [("confirm", "confirmed"), ("dismiss", "dismissed")])
def test_a_note_typed_is_kept_with_the_decision(world: World, sign_in: SignIn, decision: str, status: str) -> None:
    violation = see(world.door)
    decide(sign_in(world.bob), violation, decision=decision, note="a long beard", flow="1")
    violation.refresh_from_db()
    assert (violation.status, violation.note, violation.reviewed_by) == (status, "a long beard", world.bob)


def test_a_decision_about_many_touches_no_note(world: World, sign_in: SignIn) -> None:
    rows = [see(world.door), see(world.door)]
    review(world.bob, {rows[0].pk: 0}, note="seen before")
    rows[0].refresh_from_db()
    decide(sign_in(world.bob), *rows)
    assert sorted(Violation.objects.values_list("status", "note")) == [("dismissed", ""), ("dismissed", "seen before")]


def test_a_note_is_not_lost_when_a_colleague_was_faster(world: World, sign_in: SignIn) -> None:
    violation = see(world.door)
    review(world.alice, {violation.pk: 0}, "confirmed")
    answer = decide(sign_in(world.bob), violation, note="my words")
    page = answer.content.decode()
    assert answer.status_code == 422 and "my words" in page and "Your note is not saved yet" in page
    assert Violation.objects.get().status == "confirmed"


def test_a_decision_made_after_the_session_ended_waits_to_be_confirmed(world: World) -> None:
    violation, client = see(world.door), Client()
    answer = decide(client, violation, note="a <b>beard</b>")
    page = after_sign_in(client, answer, world.bob)
    assert page.request["PATH_INFO"] == f"/violations/{violation.pk}/", "she is back there"
    text = page.content.decode()
    assert "You were signed out when you decided" in text and "“Dismiss”" in text
    assert text.count("a &lt;b&gt;beard&lt;/b&gt;") >= 2, "in the field, and in what waits"
    violation.refresh_from_db()
    assert violation.status == "open", "nothing was decided by itself"
    decide(client, violation, note="a <b>beard</b>")
    violation.refresh_from_db()
    assert (violation.status, violation.note, violation.reviewed_by) == ("dismissed", "a <b>beard</b>", world.bob)
    assert "You were signed out" not in client.get(f"/violations/{violation.pk}/").content.decode()


def test_one_about_many_waits_on_the_list(world: World) -> None:
    rows, client = [see(world.door), see(world.door), see(world.hall)], Client()
    page = after_sign_in(client, decide(client, *rows), world.bob)
    assert page.request["PATH_INFO"] == "/violations/"
    waiting = page.context["waiting"]
    assert waiting.count == 2, "of another site's violation she is told nothing"
    assert str(rows[2].pk) not in page.content.decode()
    client.post("/violations/review/", {"seen": waiting.seen, "decision": waiting.decision})
    assert sorted(Violation.objects.values_list("status", flat=True)) == ["dismissed", "dismissed", "open"]


def test_what_waits_goes_on_waiting_while_others_are_decided(world: World) -> None:
    first, second, client = see(world.door), see(world.door), Client()
    after_sign_in(client, decide(client, first), world.bob)
    decide(client, second)
    assert "You were signed out" in client.get(f"/violations/{first.pk}/").content.decode()


def test_what_waits_can_be_forgotten_and_is_nothing_for_a_viewer(world: World) -> None:
    violation, client = see(world.door), Client()
    page = after_sign_in(client, decide(client, violation), world.bob)
    assert "Discard it</" in page.content.decode()
    client.post("/violations/review/forget/", {"back": f"/violations/{violation.pk}/"})
    assert "Discard it</" not in client.get(f"/violations/{violation.pk}/").content.decode()
    other = Client()
    assert "Discard it</" not in after_sign_in(other, decide(other, violation), world.vera).content.decode()


def test_a_form_of_an_older_session_waits_too_if_it_came_from_a_page_of_ours(world: World) -> None:
    """She signed out and in again in another tab: the token of this one is old."""
    violation, client = see(world.door), Client(enforce_csrf_checks=True)
    client.force_login(world.bob, backend="django.contrib.auth.backends.ModelBackend")
    form = {"seen": f"{violation.pk}:0", "decision": "confirm", "csrfmiddlewaretoken": "x" * 64}
    foreign = client.post("/violations/review/", form, HTTP_ORIGIN="https://evil.example")
    assert foreign.status_code == 403 and pending_review.KEY not in client.session
    ours = client.post("/violations/review/", form, HTTP_ORIGIN="http://testserver", follow=True)
    assert "Your decision is not saved yet: “Confirm”" in squeezed(ours)
    assert Violation.objects.get().status == "open"


def test_nobody_fills_the_database_with_what_waits(world: World) -> None:
    violation = see(world.door)
    kept = 0
    for _ in range(pending_review.KEPT_A_MINUTE + 5):
        client = Client()
        decide(client, violation)
        kept += pending_review.KEY in client.session
    assert kept == pending_review.KEPT_A_MINUTE


@pytest.mark.parametrize("path", ["/sign-out/", "/cameras/{camera}/pause/", "/people/invite/", "/voice-less/"])
def test_an_address_that_takes_only_forms_is_no_bare_error(world: World, sign_in: SignIn, path: str) -> None:
    for client in (sign_in(world.alice), Client()):
        answer = client.get(path.format(camera=world.door.pk), follow=True)
        assert "<h1" in answer.content.decode(), path
    answer = sign_in(world.alice).get("/people/invite/")
    assert answer.status_code == 405 and answer["Allow"] == "POST" and "press it again" in squeezed(answer)
    assert sign_in(world.alice).get("/violations/review/")["Location"] == "/violations/"
