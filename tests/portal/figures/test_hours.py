"""Figures equal what they are counted from, in whatever order it came, and outlive it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as DjangoTestCase

from cameras.models import Camera, CameraLease, Outage, Reign
from portal.events import camera_states, retention
from portal.events.recording import record
from portal.events.review import review
from portal.figures import hours
from portal.figures.hours import count, count_new, hour_of, overlap
from portal.models import Figures, LateHour, Passage, Pause, Violation
from portal.pages.dashboard import seen_today
from tests.worlds import World, make_world, passage_record, see, set_policy

pytestmark = pytest.mark.django_db
AN_HOUR = timedelta(hours=1)


def rows() -> list[tuple[Any, ...]]:
    names = ("site", "camera", "span", "start", "day", "hour", "weekday", *Figures.COUNTS)
    return sorted(Figures.objects.values_list(*names), key=str)


def summed(name: str, **where: Any) -> int:
    where = {"camera": None, "span": "day"} | where
    return sum(getattr(row, name) for row in Figures.objects.filter(**where))


Finding = tuple[int, int, str, int]  # who, minutes before now, label, seq


class AnyOrderTest(DjangoTestCase):
    """What is counted round by round is what is counted anew, whatever comes late, twice or in another order."""

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 7), st.integers(0, 3000), st.sampled_from(["mask", "no_mask", "incorrect", "unsure"]),
                st.integers(1, 4),
            ),
            max_size=25,
        ),
        st.lists(st.integers(0, 25), max_size=6),
        st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 600)), max_size=3),
    )  # fmt: skip
    def test_incremental_equals_anew(
        self, findings: list[Finding], rounds: list[int], outages: list[tuple[int, int]]
    ) -> None:
        world = make_world()
        now = timezone.now()
        Camera.objects.update(created_at=now - timedelta(days=3))
        Reign.objects.update(taken_at=now - timedelta(days=4))
        for begins, lasts in outages:
            began = now - timedelta(minutes=begins)
            Outage.objects.create(
                camera=world.door, began_at=began, ended_at=min(now, began + timedelta(minutes=lasts)), reason="x"
            )
        count_new(now - timedelta(days=2, hours=1))
        people: dict[int, tuple[UUID, float]] = {}
        for number, (who, minutes, label, seq) in enumerate(findings):
            key, came = people.setdefault(who, (uuid4(), (now - timedelta(minutes=minutes)).timestamp()))
            record(passage_record(world.door, key, seq=seq, label=label, started_at=came, last_seen_at=came + 1))
            if number in rounds:
                count_new(now)
        count_new(now)
        stepwise = rows()
        Figures.objects.all().delete()
        for site in (world.here, world.there):
            count(site, now - timedelta(days=4), now, now)
        assert stepwise == rows()
        known = Passage.objects.filter(site=world.here)
        for label in ("mask", "no_mask", "incorrect", "unsure"):
            assert summed(label) == known.filter(label=label).count()


def test_a_late_finding_is_counted_where_it_belongs(world: World) -> None:
    now = timezone.now()
    Camera.objects.update(created_at=now - timedelta(days=3))
    count_new(now)
    old = now - timedelta(hours=30)
    see(world.door, old.timestamp())
    assert {row.start for row in LateHour.objects.all()} == {hour_of(world.here, old)}
    count_new(now)
    assert summed("no_mask", day=world.here.local(old).date()) == 1 and not LateHour.objects.exists()


def test_a_reviewers_word_counts(world: World) -> None:
    now = timezone.now()
    Camera.objects.update(created_at=now - timedelta(days=3))
    wrong = see(world.door, (now - timedelta(hours=5)).timestamp())
    right = see(world.door, (now - timedelta(hours=5)).timestamp())
    count_new(now)
    assert (summed("no_mask"), summed("dismissed"), summed("unasked")) == (2, 0, 2)
    review(world.bob, {wrong.pk: 0}, "dismissed")
    review(world.bob, {right.pk: 0}, "confirmed")
    count_new(now)
    assert (summed("no_mask"), summed("dismissed"), summed("unasked")) == (1, 1, 1)
    review(world.bob, {wrong.pk: 1}, "open")
    count_new(now)
    assert (summed("no_mask"), summed("dismissed")) == (2, 0)


def test_figures_outlive_faces_and_cameras(world: World) -> None:
    now = timezone.now()
    Camera.objects.update(created_at=now - timedelta(days=60))
    set_policy(world.here, retention_days=30)
    see(world.door, (now - timedelta(days=29)).timestamp())
    count(world.here, now - timedelta(days=30), now, now)
    before = rows()
    later = now + timedelta(days=3)
    Camera.objects.filter(pk=world.door.pk).update(deleted_at=now)
    retention.sweep(later)
    assert not Passage.objects.exists() and not Violation.objects.exists()
    count_new(later)
    count(world.here, now - timedelta(days=60), later, later)
    assert [row for row in rows() if row[3] < now - timedelta(days=28)] == [
        row for row in before if row[3] < now - timedelta(days=28)
    ]
    assert summed("no_mask") == 1 and Camera.objects.filter(pk=world.door.pk).exists()


def test_what_was_not_watched_is_known(world: World) -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    Camera.objects.update(created_at=now - timedelta(hours=10))
    Reign.objects.update(taken_at=now - timedelta(hours=10))
    at = lambda hours: now - timedelta(hours=hours)  # noqa: E731
    Outage.objects.create(camera=world.door, began_at=at(8), ended_at=at(6.5), reason="x")
    Pause.objects.create(camera=world.door, began_at=at(7), ended_at=at(4))
    Outage.objects.create(camera=world.door, began_at=at(1), reason="x")
    count(world.here, at(12), now, now)
    door = {"camera": world.door, "span": "hour"}
    assert summed("watched_s", **door) == 5 * 3600, "of ten hours, three paused, two lost"
    assert summed("lost_s", **door) == 2 * 3600, "a pause in the middle of an outage is no loss"
    assert summed("watched_s") == 5 * 3600


def test_while_nobody_held_a_camera_it_was_not_watched(world: World) -> None:
    """The portal was off from the fourth hour to the eighth; in it, nothing could note an outage."""
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    at = lambda hours: now - timedelta(hours=hours)  # noqa: E731
    Camera.objects.update(created_at=at(12))
    Reign.objects.filter(camera=world.door).update(taken_at=at(12), ended_at=at(8))
    Reign.objects.create(camera=world.door, token=9, worker="north", taken_at=at(4))
    Outage.objects.create(camera=world.door, began_at=at(9), ended_at=at(7), reason="x")
    Pause.objects.create(camera=world.door, began_at=at(6), ended_at=at(5))
    count(world.here, at(14), now, now)
    door = {"camera": world.door, "span": "hour"}
    assert summed("watched_s", **door) == 7 * 3600, "three hours before the outage, four after the start"
    assert summed("lost_s", **door) == 4 * 3600, "one of the outage, and three of the four without anybody"


def test_a_time_of_which_reigns_were_deleted_counts_as_before(world: World) -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    Camera.objects.update(created_at=now - timedelta(days=5))
    Reign.objects.filter(camera=world.door).update(taken_at=now - timedelta(hours=2), token=7)
    count(world.here, now - timedelta(hours=5), now, now)
    assert summed("watched_s", camera=world.door, span="hour") == 5 * 3600 and summed("lost_s") == 0
    Reign.objects.filter(camera=world.door).update(token=1)
    count(world.here, now - timedelta(hours=5), now, now)
    assert summed("watched_s", camera=world.door, span="hour") == 2 * 3600, "the very first one: nobody before it"


def test_who_held_a_camera_is_known_for_as_long_as_hours_can_be_counted_anew(world: World) -> None:
    set_policy(world.here, retention_days=100)
    now = timezone.now()
    for days in (101, 103):
        Reign.objects.create(
            camera=world.door, token=days, worker="north", taken_at=now - timedelta(days=200),
            ended_at=now - timedelta(days=days),
        )  # fmt: skip
    retention.sweep(now)
    assert list(Reign.objects.filter(token__gt=50).values_list("token", flat=True)) == [101]


def test_a_pause_is_noted_by_itself(world: World) -> None:
    CameraLease.objects.update(worker="north")
    Camera.objects.filter(pk=world.door.pk).update(paused=True)
    camera_states.settle_outages()
    camera_states.settle_outages()
    assert Pause.objects.get().ended_at is None
    Camera.objects.filter(pk=world.door.pk).update(paused=False)
    camera_states.settle_outages()
    assert Pause.objects.get().ended_at is not None


@pytest.mark.parametrize(("zone", "day", "hours_of_day"), [
    ("Europe/Lisbon", (2026, 3, 29), 23), ("Europe/Lisbon", (2026, 10, 25), 25), ("Asia/Kolkata", (2026, 6, 1), 24),
    ("America/Toronto", (2026, 11, 1), 25), ("Australia/Adelaide", (2026, 4, 5), 25),
])  # fmt: skip
def test_days_of_23_and_25_hours_are_watched_whole(
    world: World, zone: str, day: tuple[int, int, int], hours_of_day: int
) -> None:
    world.here.time_zone = zone
    world.here.save()
    start = world.here.midnight(datetime(*day).date())
    Camera.objects.update(created_at=start - timedelta(days=1))
    Reign.objects.update(taken_at=start - timedelta(days=1))
    now = start + timedelta(days=2)
    count(world.here, start, now, now)
    date = datetime(*day).date()
    assert summed("watched_s", day=date) == hours_of_day * 3600
    assert Figures.objects.filter(camera=None, span="hour", day=date).count() == hours_of_day


@given(
    st.tuples(st.floats(0, 100), st.floats(0, 100)).map(sorted),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted), max_size=6),
)
def test_overlapping_times_count_once(span: list[float], others: list[list[int]]) -> None:
    at: Callable[[float], datetime] = lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)  # noqa: E731
    got = overlap((at(span[0]), at(span[1])), [(at(a), at(b)) for a, b in others])
    steps = 20
    inside = [span[0] + (span[1] - span[0]) * (n + 0.5) / steps / 50 for n in range(steps * 50)]
    share = sum(any(a <= point < b for a, b in others) for point in inside) / len(inside) * (span[1] - span[0])
    smallest = 1e-6  # of a timedelta
    assert abs(got - share) <= (span[1] - span[0]) / steps / 50 * 2 * (len(others) + 1) + smallest


def test_a_site_without_cameras_counts_nothing(world: World) -> None:
    Camera.objects.filter(site=world.there).delete()
    assert count_new() >= 1 and not Figures.objects.filter(site=world.there).exists()


def test_a_round_costs_the_same_for_little_and_for_much(world: World) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            count_new()
        return len(queries)

    see(world.door)
    cost()
    few = cost()
    for _ in range(20):
        see(world.door)
    assert cost() == few
    assert hours.AN_HOUR == AN_HOUR


def test_who_was_only_where_masks_are_not_required_does_not_count(world: World) -> None:
    now = timezone.now()
    for demand in ("required", "recommended", "none"):
        record(passage_record(world.door, uuid4(), label="no_mask", demand=demand))
    count(world.here, now - timedelta(hours=2), now + timedelta(minutes=1), now + timedelta(minutes=1))
    assert sum(Figures.objects.filter(camera=world.door, span="hour").values_list("no_mask", flat=True)) == 2
    assert seen_today([world.here], timezone.now()) == {"people": 2, "masked": 0}
