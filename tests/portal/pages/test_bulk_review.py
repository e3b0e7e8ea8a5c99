"""Deciding about all that fit the filter: a fixed set, in steps, with what others decide meanwhile, and back again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal import tasks
from portal.events import bulk_review
from portal.events.review import MOST_AT_ONCE, review
from portal.models import AuditEntry, BulkReview, Membership, SiteFeed, User, Violation
from tests.worlds import World, see

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]


def press(client: Client, decision: str, query: str = "") -> Any:
    """As the list's form is sent, from the list as it is now."""
    page = client.get(f"/violations/{query}").content.decode()
    hidden = dict(re.findall(r'type="hidden" name="(filter|as_of)" value="([^"]*)"', page))
    given = {name: value.replace("&amp;", "&") for name, value in hidden.items()}
    return client.post("/violations/review/", given | {"all": "1", "decision": decision}, follow=True)


@pytest.fixture(autouse=True)
def _pages_of_three() -> Any:
    with patch("portal.pages.violations.PAGE_ROWS", 3), patch("portal.pages.violations.TOGETHER", timedelta(0)):
        yield


def work() -> None:
    tasks.reviews()


def test_all_that_fit_are_decided_and_nothing_else(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.root)
    wrong = [see(world.door, label="incorrect") for _ in range(5)]
    bare, there = see(world.door), see(world.hall, label="incorrect")
    press(client, "dismiss:nobody", f"?site={world.here.pk}&label=incorrect")
    work()
    dismissed = Violation.objects.filter(status="dismissed", reason="nobody")
    assert set(dismissed) == set(wrong)
    for other in (bare, there):
        other.refresh_from_db()
        assert other.status == "open"
    assert SiteFeed.objects.get(site=world.here).to_review == 1
    page = client.get("/violations/").content.decode()
    assert "5 dismissed." in page
    assert AuditEntry.objects.get(action="reviewed").subject == "all that fit, dismissed (nobody): 5"


def test_what_came_after_the_page_was_shown_is_not_among_them(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    old = [see(world.door, time.time() - 5) for _ in range(4)]
    page = client.get("/violations/").content.decode()
    hidden = dict(re.findall(r'type="hidden" name="(filter|as_of)" value="([^"]*)"', page))
    new = see(world.door, time.time() + 0.01)
    client.post("/violations/review/", hidden | {"all": "1", "decision": "confirm"})
    late = see(world.door)
    work()
    assert set(Violation.objects.filter(status="confirmed")) == set(old)
    assert set(Violation.objects.filter(status="open")) == {new, late}


def test_it_goes_on_in_steps_and_says_how_far_it_is(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    for _ in range(7):
        see(world.door)
    with patch("portal.events.bulk_review.MOST_AT_ONCE", 3):
        page = press(client, "confirm").content.decode()
        (address,) = re.findall(r'data-bulk="([^"]+)"', page)
        assert "0 of 7 decided" in page
        (bulk_id,) = bulk_review.unfinished()
        assert bulk_review.step(bulk_id)
        now = client.get(address).json()
        assert (now["told"][:6], now["position"], now["is_over"]) == ("3 of 7", 3, False)
        assert bulk_review.step(bulk_id) and not bulk_review.step(bulk_id) and not bulk_review.step(bulk_id)
    assert client.get(address).json()["told"] == "7 confirmed."
    assert sign_in(world.bob).get(address).status_code == 404, "nobody else's"


def test_what_somebody_else_decided_first_stays_as_they_decided(world: World, sign_in: SignIn) -> None:
    """Two managers, who dismiss and confirm the same ones."""
    rows = [see(world.door) for _ in range(6)]
    mine, others = sign_in(world.alice), sign_in(world.bob)
    press(mine, "dismiss")
    press(others, "confirm")
    review(world.root, {rows[0].pk: 0}, "confirmed", note="looked at it")
    work()
    assert Violation.objects.filter(status="dismissed", reviewed_by=world.alice).count() == 5
    assert Violation.objects.get(status="confirmed") == Violation.objects.get(note="looked at it")
    assert "5 dismissed. 1 was left out" in mine.get("/violations/").content.decode()
    assert "0 confirmed. 6 were left out" in others.get("/violations/").content.decode()


def test_all_of_it_is_undone_but_for_what_was_decided_since(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    rows = [see(world.door) for _ in range(5)]
    review(world.bob, {rows[0].pk: 0}, "dismissed", reason="masked")
    press(client, "confirm", "?status=")
    work()
    assert Violation.objects.filter(status="confirmed").count() == 5
    review(world.bob, {rows[1].pk: 1}, "dismissed")
    page = client.get("/violations/?status=confirmed").content.decode()
    (address,) = re.findall(r'action="(/violations/all/[^"]+/undo/)"', page)
    for _pressed_twice in range(2):
        client.post(address)
    work()
    assert Violation.objects.filter(status="open").count() == 3
    by_key = {row.pk: (row.status, row.reason) for row in Violation.objects.all()}
    assert by_key[rows[0].pk] == ("dismissed", "masked"), "as it was before"
    assert Violation.objects.get(pk=rows[0].pk).reviewed_by == world.bob
    assert by_key[rows[1].pk] == ("dismissed", ""), "as somebody decided since"
    assert "4 are as they were before. 1 was left out" in client.get("/violations/").content.decode()
    assert sign_in(world.bob).post(address).status_code == 404


def test_each_of_several_can_be_undone(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    for label in ("no_mask", "incorrect"):
        for _ in range(4):
            see(world.door, label=label)
        press(client, "confirm", f"?label={label}")
        work()
    undos = re.findall(r'action="(/violations/all/[^"]+/undo/)"', client.get("/violations/").content.decode())
    assert len(undos) == 2
    client.post(undos[1])
    work()
    assert set(Violation.objects.filter(status="open").values_list("label", flat=True)) == {"no_mask"}


def test_whoever_loses_the_right_meanwhile_decides_nothing_more(world: World, sign_in: SignIn) -> None:
    for _ in range(4):
        see(world.door)
    press(sign_in(world.bob), "confirm")
    Membership.objects.filter(user=world.bob).update(role="viewer")
    work()
    assert not Violation.objects.exclude(status="open").exists() and BulkReview.objects.get().ended_at


def test_a_viewer_decides_about_nothing_and_others_only_where_they_may(world: World, sign_in: SignIn) -> None:
    Membership.objects.create(user=world.bob, site=world.there, role="viewer")
    for camera in (world.door, world.hall):
        for _ in range(4):
            see(camera)
    given = {"all": "1", "decision": "confirm", "filter": "status=open", "as_of": str(time.time() + 9)}
    sign_in(world.vera).post("/violations/review/", given)
    sign_in(world.bob).post("/violations/review/", given)
    sign_in(world.charlie).post("/violations/review/", given | {"filter": f"site={world.here.pk}"})
    work()
    assert set(Violation.objects.filter(status="confirmed").values_list("site", flat=True)) == {world.here.pk}


@pytest.mark.parametrize("change", [{"as_of": "inf"}, {"as_of": "x"}, {"decision": "note"}, {"filter": "day=never"}])
def test_what_no_page_of_ours_sends_does_no_harm(world: World, sign_in: SignIn, change: dict[str, str]) -> None:
    see(world.door)
    given = {"all": "1", "decision": "confirm", "filter": "status=open", "as_of": "0"}
    assert sign_in(world.alice).post("/violations/review/", given | change).status_code == 302
    if "as_of" not in change:
        assert not BulkReview.objects.exists()


def test_one_that_cannot_go_on_holds_up_no_other(world: World, sign_in: SignIn) -> None:
    for camera in (world.door, world.hall):
        for _ in range(4):
            see(camera)
    press(sign_in(world.alice), "confirm")
    press(sign_in(world.charlie), "confirm")
    SiteFeed.objects.filter(site=world.here).update(to_review=1)  # a fault: it cannot become less than none
    work()
    assert Violation.objects.filter(site=world.there, status="confirmed").count() == 4
    assert Violation.objects.filter(site=world.here, status="open").count() == 4
    SiteFeed.objects.filter(site=world.here).update(to_review=4)
    work()
    assert not bulk_review.unfinished()


def test_there_is_a_most(world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_review, "MOST", 3)
    for _ in range(4):
        see(world.door)
    assert "Choose fewer days" in press(sign_in(world.alice), "confirm").content.decode()
    assert not BulkReview.objects.exists()


def test_a_step_costs_the_same_however_many_there_are_and_a_days_old_one_goes(world: World, sign_in: SignIn) -> None:
    def cost(count: int) -> int:
        for _ in range(count):
            see(world.door)
        press(sign_in(world.alice), "confirm")
        (bulk_id,) = bulk_review.unfinished()
        with CaptureQueriesContext(connection) as asked:
            bulk_review.step(bulk_id)
        return len(asked)

    cost(2)
    assert abs(cost(4) - cost(30)) <= 1 and MOST_AT_ONCE > 30
    assert bulk_review.drop_old(timezone.now()) == 0
    assert bulk_review.drop_old(timezone.now() + timedelta(days=2)) == 3
