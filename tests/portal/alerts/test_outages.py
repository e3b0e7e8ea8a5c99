"""Which outages are told, when, and to whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.models import Camera, Outage
from portal.alerts import outages
from portal.alerts.outages import consider, next_event
from portal.models import Delivery, Membership, Rule, User
from tests.worlds import World

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
S = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _mail(settings: Any) -> None:
    settings.EMAIL_URL = "smtp://127.0.0.1:25"


def down(camera: Camera, since: timedelta, until: datetime | None = None) -> Outage:
    return Outage.objects.create(camera=camera, began_at=NOW - since, ended_at=until, reason="No route to it.")


def told() -> list[tuple[str, str]]:
    rows = Delivery.objects.order_by("pk").values_list("event", "receiver__name")
    return list(rows)


def test_a_manager_is_told_after_a_minute_an_hour_a_day_and_at_the_end(world: World) -> None:
    outage = down(world.door, 59 * S)
    assert consider(NOW) == 0, "short ones are nobody's business"
    for after, event in ((2, "outage.began"), (3600, "outage.hour"), (86_400, "outage.day")):
        assert consider(NOW + after * S) == 1
        assert consider(NOW + (after + 5) * S) == 0, "once"
        assert told()[-1] == (event, "Alice")
    Outage.objects.filter(pk=outage.pk).update(ended_at=NOW + 90_000 * S)
    assert consider(NOW + 90_010 * S) == 1 and told()[-1] == ("outage.ended", "Alice")
    assert consider(NOW + 90_020 * S) == 0


def test_what_ended_within_a_minute_is_never_told(world: World) -> None:
    down(world.door, 100 * S, NOW - 60 * S)
    assert consider(NOW) == 0 and consider(NOW + 3600 * S) == 0


def test_of_stages_that_passed_while_the_portal_was_down_only_the_last_is_told(world: World) -> None:
    down(world.door, timedelta(hours=5))
    consider(NOW)
    assert told() == [("outage.hour", "Alice")]


def test_only_managers_who_want_it_and_can_sign_in_are_told(world: World) -> None:
    second = User.objects.create_user("dora@example.org", name="Dora")
    third = User.objects.create_user("eve@example.org", name="Eve", is_active=False)
    for user in (second, third):
        Membership.objects.create(user=user, site=world.here, role="manager")
    world.here.rules.get(name="Trouble").stopped_by.add(second)
    down(world.door, timedelta(minutes=5))
    down(world.hall, timedelta(minutes=5))
    consider(NOW)
    assert sorted(told()) == [("outage.began", "Alice"), ("outage.began", "Charlie")]


def test_a_paused_camera_and_a_portal_without_mail_tell_nothing(world: World, settings: Any) -> None:
    down(world.door, timedelta(minutes=5))
    Camera.objects.filter(pk=world.door.pk).update(paused=True)
    down(world.hall, timedelta(minutes=5))
    settings.EMAIL_URL = ""
    assert consider(NOW) == 0 and told() == []
    settings.EMAIL_URL = "smtp://127.0.0.1:25"
    consider(NOW)
    assert told() == [("outage.began", "Charlie")]


def test_a_round_costs_the_same_for_one_and_for_many(world: World, django_assert_num_queries: Any) -> None:
    for number in range(20):
        down(Camera.objects.create(site=world.here, name=str(number), address="x.mp4"), timedelta(minutes=5))
    with django_assert_num_queries(16):  # the same for one: three to look, rules and people, and the rows
        assert consider(NOW) == 20
    consider(NOW)  # another rule may be in force by now: that is looked at every five minutes
    with django_assert_num_queries(3):
        assert consider(NOW + S) == 0


def test_a_rule_that_comes_into_force_later_tells_what_still_lasts(world: World, redis: Any) -> None:
    rule = Rule.objects.create(site=world.here, name="Day", topics=["outage"], during="own", by_push=False,
                               roles=["reviewer"], hours={"0": ["08:00", "18:00"]})  # fmt: skip
    down(world.door, timedelta(minutes=5))
    night = datetime(2026, 11, 30, 5, 0, tzinfo=UTC)
    consider(night)
    assert told() == [("outage.hour", "Alice")]
    redis.flushall()
    consider(night + timedelta(hours=4))
    assert told()[1:] == [("outage.hour", "Bob")] and rule.pk


def test_a_camera_that_is_paused_is_not_back(world: World) -> None:
    outage = down(world.door, timedelta(minutes=5))
    consider(NOW)
    Camera.objects.filter(pk=world.door.pk).update(paused=True)
    Outage.objects.filter(pk=outage.pk).update(ended_at=NOW)
    assert consider(NOW + S) == 0


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=40), st.integers(0, 200_000) | st.none())
def test_whenever_rounds_run_stages_come_in_order_once_and_the_end_last(gaps: list[int], ends_s: int | None) -> None:
    """However long the portal was down in between."""
    outage = Outage(began_at=NOW)
    said: list[str] = []
    at = NOW
    for gap in gaps:
        at += gap * S
        if ends_s is not None and at >= NOW + ends_s * S:
            outage.ended_at = NOW + ends_s * S
        if (event := next_event(outage, set(said), at)) is not None and event not in said:
            said.append(event)
    order = ["outage.began", "outage.hour", "outage.day", "outage.ended"]
    assert said == sorted(set(said), key=order.index)
    if "outage.ended" in said:
        assert len(said) > 1 and outage.ended_at is not None
    assert timedelta(seconds=60) == outages.FIRST_AFTER
