"""Rates never stand without their denominator, their bounds, and how much was watched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from cameras.models import Camera, Reign
from portal.figures.hours import count
from portal.figures.reports import Counted, report, wilson
from portal.models import Figures, User
from tests.html import squeezed
from tests.worlds import World, see

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.mark.parametrize(("part", "of", "low", "high"), [
    (8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962),
])  # fmt: skip
def test_bounds_are_those_of_the_literature(part: int, of: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, method 3 without continuity correction."""
    found = wilson(part, of)
    assert found is not None and [round(bound, 4) for bound in found] == [low, high]


@given(st.integers(0, 500), st.integers(0, 500))
def test_bounds_hold_the_share_and_narrow_with_more_people(part: int, rest: int) -> None:
    found = wilson(part, part + rest)
    if not part + rest:
        assert found is None
        return
    assert found is not None and 0 <= found[0] <= part / (part + rest) <= found[1] <= 1
    more = wilson(10 * part, 10 * (part + rest))
    assert more is not None and more[1] - more[0] < found[1] - found[0]


def fill(world: World) -> None:
    now = timezone.now()
    Camera.objects.update(created_at=now - timedelta(days=20))
    Reign.objects.update(taken_at=now - timedelta(days=20))
    for hours_ago in (2, 3, 26, 27, 28, 24 * 9):
        see(world.door, (now - timedelta(hours=hours_ago)).timestamp())
    see(world.hall, (now - timedelta(hours=26)).timestamp())
    for site in (world.here, world.there):
        count(site, now - timedelta(days=20), now, now)


def test_a_report_adds_up_by_day_by_hour_by_site_and_by_camera(world: World) -> None:
    fill(world)
    today = world.here.local(timezone.now()).date()
    found = report([world.here, world.there], today - timedelta(days=6), today)
    assert found.total.seen == 6 == sum(line.counted.seen for line in found.days)
    assert found.total.seen == sum(each.seen for row in found.week for each in row)
    assert found.total.seen == sum(line.counted.seen for line in found.sites)
    assert found.total.seen == sum(line.counted.seen for line in found.cameras)
    assert (found.total.percent, found.before.seen) == (0.0, 1) and len(found.days) == 7
    assert found.total.bounds is not None and found.total.says_little
    assert found.total.coverage == 100.0 and found.total.watched_hours > 24 * 6
    assert sum(line.counted.seen for line in found.weeks) == 6 and 1 <= len(found.weeks) <= 2 and not found.by_week
    long = report([world.here], today - timedelta(days=364), today)
    assert long.by_week and 52 <= len(long.periods) <= 54 and sum(line.counted.seen for line in long.periods) == 6
    one = report([world.here], today - timedelta(days=6), today, world.door)
    assert one.total.seen == 5 and not one.cameras


def test_a_single_day_is_shown_by_its_hours(world: World, sign_in: SignIn) -> None:
    fill(world)
    moment = world.here.local(timezone.now() - timedelta(hours=26))
    found = report([world.here], moment.date(), moment.date())
    hours = [line.counted.seen for line in found.periods]
    assert len(hours) == 24 and hours[moment.hour] == 1 and sum(hours) == found.total.seen
    page = sign_in(world.alice).get("/figures/", {"from": f"{moment:%F}", "to": f"{moment:%F}"}).content.decode()
    assert "Share with a mask, by hour" in page and f'data-text="{moment.hour}:00: ' in page


def test_large_numbers_are_grouped(world: World, sign_in: SignIn) -> None:
    today = world.here.local(timezone.now()).date()
    Figures.objects.create(
        site=world.here, span="day", start=world.here.midnight(today), day=today, weekday=0, mask=123456, no_mask=1
    )
    assert "123,456 of 123,457 people seen" in squeezed(sign_in(world.alice).get("/figures/"))


def test_nothing_is_no_rate() -> None:
    nothing = Counted()
    assert (nothing.percent, nothing.bounds, nothing.coverage) == (None, None, None)


def test_the_page_shows_what_a_person_may_see(world: World, sign_in: SignIn) -> None:
    fill(world)
    page = squeezed(sign_in(world.vera).get("/figures/"))
    assert "Harbour House" in page and "Maple Tower" not in page and "of 6 people seen" in page
    assert "watched" in page and "<table" in page
    charlie = sign_in(world.charlie)
    assert charlie.get(f"/figures/?site={world.here.pk}").status_code == 404
    assert charlie.get(f"/figures/?camera={world.door.pk}").status_code == 404
    assert "of 1 person seen" in squeezed(charlie.get(f"/figures/?camera={world.hall.pk}"))


@pytest.mark.parametrize(("query", "said"), [
    ("from=2026-11-20&to=2026-11-01", "ends before it begins"),
    ("from=2010-01-01&to=2026-11-01", "at most"),
    ("from=nonsense", "This is not a day"),
    ("from=0001-01-01&to=9999-12-31", "Choose days from 2000 on"),
    ("from=0001-01-01&to=0001-01-02", "Choose days from 2000 on"),
    ("to=0001-01-01", "ends before it begins"),
])  # fmt: skip
def test_a_range_that_cannot_be_is_said(world: World, sign_in: SignIn, query: str, said: str) -> None:
    answer = sign_in(world.alice).get(f"/figures/?{query}")
    assert answer.status_code == 422 and said in squeezed(answer)


def test_an_empty_site_and_a_camera_that_was_never_online(world: World, sign_in: SignIn) -> None:
    page = squeezed(sign_in(world.alice).get("/figures/"))
    assert "Nobody was seen in this time" in page
    assert "data-chart" in page and "data-chart" not in squeezed(sign_in(world.stranger).get("/figures/"))


def test_the_csv_holds_what_the_page_shows_and_no_formula(world: World, sign_in: SignIn) -> None:
    fill(world)
    world.door.name = "=cmd()"
    world.door.save()
    answer = sign_in(world.alice).get("/figures.csv")
    sent: Any = answer
    lines = b"".join(sent.streaming_content).decode().splitlines()
    assert lines[0].startswith("day,site,camera,hour,with a mask,without,") and len(lines) > 24
    assert sum(int(line.split(",")[5]) for line in lines[1:]) == 6
    assert "'=cmd()" in lines[1] and date.fromisoformat(lines[1].split(",")[0])


def test_a_page_costs_the_same_for_a_day_and_for_a_year(world: World, sign_in: SignIn) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    fill(world)
    alice = sign_in(world.alice)

    def cost(query: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert alice.get(f"/figures/?{query}").status_code == 200
        return len(queries)

    assert cost("from=2026-11-20&to=2026-11-20") == cost("from=2026-01-01&to=2026-11-20") <= 18
