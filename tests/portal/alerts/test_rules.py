"""Who is told what: rules, and how floods collapse without dropping anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as DjangoTestCase

from cameras.models import Camera, CameraLease, Outage, Site
from portal.alerts import digests, escalation, outbox, quiet, trouble, wording
from portal.alerts.rules import WINDOW
from portal.events import retention
from portal.figures import hours
from portal.models import Delivery, Membership, PushSubscription, Reminder, Rule, User, Violation, Voice
from tests.html import squeezed
from tests.portal.alerts.conftest import MailServer
from tests.worlds import World, make_world, see, set_policy

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
MINUTE = timedelta(minutes=1)


def by_mail(world: World, **given: Any) -> Rule:
    """A rule that tells Alice and Bob of violations by e-mail, at any time."""
    values = {"topics": ["no_mask", "incorrect"], "during": "always", "roles": ["manager", "reviewer"], **given}
    return Rule.objects.create(site=world.here, **{"name": "By mail"} | values)


def rows(**given: Any) -> list[tuple[str, str]]:
    return [(row.event, row.to_whom) for row in Delivery.objects.filter(**given).order_by("pk")]


@pytest.fixture(autouse=True)
def _mail(settings: Any) -> None:
    settings.EMAIL_URL = settings.EMAIL_URL or "smtp://127.0.0.1:25"


def test_a_new_site_tells_its_managers_of_trouble_and_nobody_has_to_set_it_up(db: None) -> None:
    site = Site.objects.create(name="New")
    told = {rule.name: (rule.topics, rule.roles, rule.during) for rule in site.rules.all()}
    assert told["Trouble"] == (["outage", "no-worker", "portal"], ["manager"], "always")
    assert told["The day's figures"][0] == ["daily"]
    assert told["People without a mask"][:2] == (["no_mask", "incorrect"], ["manager", "reviewer"])


def test_nobody_asked_nothing_is_written(world: World) -> None:
    see(world.door)
    assert rows() == [], "the first rules tell of violations by push, and nobody has switched it on"


def test_roles_names_cameras_kinds_and_who_has_left(world: World) -> None:
    rule = by_mail(world, topics=["no_mask"], roles=["reviewer"])
    rule.people.set([world.vera, world.charlie, world.root])
    other = Camera.objects.create(site=world.here, name="Other", address="x.mp4")
    rule.cameras.set([world.door])
    see(world.door)
    assert sorted(rows()) == [("violation.opened", name) for name in ("Bob", "Root", "Vera")], "Charlie is not here"
    Membership.objects.filter(user=world.vera).delete()
    User.objects.filter(pk=world.bob.pk).update(is_active=False)
    Delivery.objects.all().delete()
    see(world.door)
    see(world.door, label="incorrect")
    assert rows() == [("violation.opened", "Root")]
    CameraLease.objects.create(camera=other)
    rule.is_on = False
    rule.save()
    see(world.door)
    assert len(rows()) == 1


def test_hours_are_the_sites_or_its_own_or_none(world: World) -> None:
    closed = {str((timezone.now().weekday() + 3) % 7): ["08:00", "09:00"]}
    set_policy(world.here, opening_hours=closed)
    by_mail(world, name="Open", during="open", roles=["manager"])
    by_mail(world, name="Own", during="own", hours=closed, roles=["reviewer"])
    always = by_mail(world, name="Always", during="always", roles=["viewer"])
    see(Camera.objects.select_related("site__policy").get(pk=world.door.pk))
    assert rows() == [("violation.opened", "Vera")]
    assert Delivery.objects.get().rule == always


def test_where_masks_are_only_recommended_the_door_asks_and_no_person_is_told(world: World) -> None:
    by_mail(world)
    Voice.objects.create(camera=world.door, output="loudspeaker")
    Camera.objects.filter(pk=world.door.pk).update(reminder_after_s=0)
    found = see(world.door, demand="recommended")
    assert found.quiet and rows() == []
    assert list(Reminder.objects.values_list("violation", "why_not")) == [(found.pk, "")]
    see(world.door)
    assert sorted(rows()) == [("violation.opened", "Alice"), ("violation.opened", "Bob")]


def test_the_row_is_written_with_the_event_or_not_at_all(world: World) -> None:
    by_mail(world)
    with pytest.raises(RuntimeError), transaction.atomic():
        see(world.door)
        assert rows()
        raise RuntimeError
    assert rows() == [] and not Violation.objects.exists()


def test_a_flood_is_one_message_and_then_one_for_all_and_hides_no_other_camera(world: World) -> None:
    by_mail(world, roles=["manager"])
    other = Camera.objects.create(site=world.here, name="Back door", address="x.mp4")
    CameraLease.objects.create(camera=other)
    from cameras.watching import leases

    leases.take(other.pk, 0, "north")
    for _ in range(12):
        see(world.door)
    see(other)
    now = timezone.now()
    due = Delivery.objects.filter(next_at__lte=now)
    assert sorted(row.camera.name for row in due if row.camera) == ["Back door", "Front door"]
    later = Delivery.objects.filter(next_at__gt=now)
    assert later.count() == 11, "none is dropped"
    assert {row.camera_id for row in later} == {world.door.pk}
    first = due.get(camera=world.door)
    assert {row.next_at for row in later} == {first.next_at + WINDOW}
    lane = first.lane
    for _ in range(2):
        (row,) = outbox.claim(lane, now)
        Delivery.objects.filter(pk=row.pk).update(state="sent")
    assert outbox.claim(lane, now) == []
    assert len(outbox.claim(lane, now + WINDOW + MINUTE)) == 11


class FloodsTest(DjangoTestCase):
    """Whenever people come, nothing is dropped, the first is told at once, and messages are a window apart."""

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(0, 900), min_size=1, max_size=15))
    def test_whenever_they_come(self, gaps: list[int]) -> None:
        from unittest import mock

        world = make_world()
        by_mail(world, roles=["manager"])
        at = datetime(2026, 11, 29, 8, tzinfo=UTC)
        sent: list[tuple[datetime, int]] = []
        with mock.patch("portal.alerts.rules.timezone.now", side_effect=lambda: at):
            for gap in gaps:
                ends = at + timedelta(seconds=gap)
                at = drain(at, ends, sent)
                Delivery.objects.filter(created_at__gt=at).update(created_at=at)
                see(world.door)
                Delivery.objects.filter(state="waiting", created_at__gt=at).update(created_at=at)
            drain(at, at + 3 * WINDOW, sent)
        assert sum(count for _, count in sent) == len(gaps)
        assert sent[0][0] - datetime(2026, 11, 29, 8, tzinfo=UTC) <= timedelta(seconds=gaps[0] + 1)
        for (one, _), (two, _) in zip(sent, sent[1:], strict=False):
            assert two - one >= WINDOW - timedelta(seconds=2)


def drain(at: datetime, until: datetime, sent: list[tuple[datetime, int]]) -> datetime:
    """Send what becomes due from one moment to another, each at its moment."""
    while True:
        head = Delivery.objects.filter(state="waiting").order_by("next_at").first()
        if head is None or head.next_at > until:
            return until
        at = max(at, head.next_at)
        batch = outbox.claim(head.lane, at)
        Delivery.objects.filter(pk__in=[row.pk for row in batch]).update(state="sent", next_at=at)
        sent.append((at, len(batch)))


def test_a_quiet_camera_tells_nobody_and_others_still_do(world: World, sign_in: SignIn) -> None:
    by_mail(world, roles=["manager"])
    bob = sign_in(world.bob)
    bob.post(f"/cameras/{world.door.pk}/quiet/")
    assert "Alerts muted until" in squeezed(bob.get("/"))
    see(world.door)
    assert rows() == []
    bob.post(f"/cameras/{world.door.pk}/loud/")
    see(world.door)
    assert rows() == [("violation.opened", "Alice")]
    quiet.begin(world.door, None, timezone.now() - timedelta(minutes=61))
    see(world.door)
    assert len(rows()) == 2, "an hour is over by itself"


def test_one_click_in_a_message_makes_quiet_and_counts_as_seen(world: World, sign_in: SignIn) -> None:
    by_mail(world, roles=["reviewer"])
    see(world.door)
    key = Delivery.objects.get().key
    assert Client().get(f"/told/{key}/quiet/").headers["Location"].startswith("/sign-in/")
    page = squeezed(sign_in(world.bob).get(f"/told/{key}/quiet/", follow=True))
    assert "Nobody is notified about Front door until" in page and "Undo" in page
    assert Delivery.objects.get().seen_at is not None and quiet.now_quiet([world.door.pk])


def test_a_link_notes_that_its_receiver_saw_it_and_leads_on(world: World, sign_in: SignIn) -> None:
    by_mail(world, roles=["reviewer"])
    found = see(world.door)
    key = Delivery.objects.get().key
    assert sign_in(world.alice).get(f"/told/{key}/").headers["Location"] == f"/violations/{found.pk}/"
    assert Delivery.objects.get().seen_at is None, "she is not the one whom it was sent to"
    sign_in(world.bob).get(f"/told/{key}/")
    assert Delivery.objects.get().seen_at is not None
    page = squeezed(sign_in(world.bob).get(f"/violations/{found.pk}/"))
    assert "Who was notified" in page and 'Bob <span class="soft">e-mail,' in page


def test_nobody_looks_so_the_next_is_asked_and_after_as_long_again_the_one_after(world: World) -> None:
    by_mail(world, roles=["manager"], next_after_min=10, next_people=[world.bob.pk, world.vera.pk])
    found = see(world.door)
    now = timezone.now()
    told = {3: ["Alice"], 11: ["Alice", "Bob"], 19: ["Alice", "Bob"], 21: ["Alice", "Bob", "Vera"]}
    for minutes, names in told.items():
        escalation.consider(now + minutes * MINUTE)
        escalation.consider(now + minutes * MINUTE)
        assert [name for _, name in rows()] == names, minutes
    assert {row.violation_id for row in Delivery.objects.all()} == {found.pk}


@pytest.mark.parametrize("how", ["seen", "reviewed", "back"])
def test_who_looks_ends_the_asking(world: World, how: str) -> None:
    rule = by_mail(world, topics=["no_mask", "outage"], roles=["manager"], next_after_min=1,
                   next_people=[world.bob.pk])  # fmt: skip
    if how == "back":
        outage = Outage.objects.create(camera=world.door, began_at=timezone.now(), ended_at=timezone.now())
        Delivery.objects.create(
            site=world.here, rule=rule, event="outage.began", about="1", lane="email:1", channel="email", outage=outage
        )
    else:
        see(world.door)
    if how == "seen":
        Delivery.objects.update(seen_at=timezone.now())
    elif how == "reviewed":
        Violation.objects.update(status="confirmed")
    assert escalation.consider(timezone.now() + 5 * MINUTE) == 0


def test_again_and_again_is_said_once_an_hour(world: World) -> None:
    by_mail(world, topics=["repeated"], roles=["manager"], repeats=3)
    for _ in range(6):
        see(world.door)
    assert rows() == [("repeated", "Alice")]
    assert Delivery.objects.get().body["violations"] == 3


def test_a_notice_of_the_portal_is_told_after_a_minute_once_a_day_and_once_a_person(world: World) -> None:
    Membership.objects.create(user=world.alice, site=world.there, role="manager")
    now = timezone.now()
    say = {"disk-full": "The disk is nearly full."}
    assert trouble.consider_notices(say, now) == 0, "what passes within a minute is nobody's business"
    assert trouble.consider_notices(say, now + 61 * timedelta(seconds=1)) == 2
    assert sorted(rows()) == [("portal", "Alice"), ("portal", "Charlie")]
    assert trouble.consider_notices(say, now + 90 * timedelta(seconds=1)) == 0
    assert Delivery.objects.first().body["text"] == say["disk-full"]  # type: ignore[union-attr]


def test_a_site_that_nobody_watches_is_told(world: World) -> None:
    now = timezone.now()
    CameraLease.objects.filter(camera=world.door).update(state="waiting", state_since=now - 2 * MINUTE)
    CameraLease.objects.filter(camera=world.hall).update(state="online", state_since=now - 2 * MINUTE)
    assert trouble.consider_unwatched(now) == 1 and rows() == [("no-worker", "Alice")]
    assert trouble.consider_unwatched(now) == 0
    Camera.objects.filter(pk=world.door.pk).update(paused=True)
    assert trouble.consider_unwatched(now + timedelta(hours=2)) == 0


# -- figures ----------------------------------------------------------------------------------------------------------


def counted(world: World, now: datetime) -> None:
    for site in (world.here, world.there):
        hours.count(site, now - timedelta(days=20), now, now)


def test_the_day_is_told_in_the_morning_and_an_empty_one_is_not(world: World, server: MailServer) -> None:
    yesterday = datetime(2026, 11, 27, 14, tzinfo=UTC)
    found = see(world.door, yesterday.timestamp())
    for _ in range(3):
        wrong = see(world.door, yesterday.timestamp())
        Violation.objects.filter(pk=wrong.pk).update(status="dismissed")
    Outage.objects.create(camera=world.door, began_at=yesterday, ended_at=yesterday + timedelta(hours=2), reason="x")
    Camera.objects.update(created_at=yesterday)
    early = datetime(2026, 11, 28, 6, 30, tzinfo=UTC)  # Lisbon is at UTC
    counted(world, early)
    assert digests.consider(early) == 0
    assert digests.consider(early + timedelta(hours=1)) == 1
    assert digests.consider(early + timedelta(hours=2)) == 0
    body = Delivery.objects.get().body
    assert (body["seen"], body["masked"], body["to_review"], body["percent"]) == (1, 0, 1, 0.0)
    assert body["worst_hours"] == [{"weekday": 4, "hour": 14, "bare": 1, "seen": 1}]
    assert body["cameras_down"] == [{"name": "Front door", "times": 1, "hours": 2.0}]
    assert body["dismissed_at"] == [{"name": "Front door", "times": 3}]
    assert body["first_day"] == "2026-11-27" and rows() == [("daily", "Alice")]
    outbox.send_due()
    (mail,) = server.mails
    text = next(part.get_content() for part in mail.walk() if part.get_content_type() == "text/plain")
    assert mail["Subject"] == "Harbour House, 27 Nov 2026"
    for part in (
        "0 of 1 people seen wore a mask (0.0%; the goal is 95%).", "Friday, 14:00: 1 of 1 without a mask",
        "Front door was down once, for 2.0 hours", "Front door: 3 dismissed", "One violation needs review.",
    ):  # fmt: skip
        assert part in text
    assert wording.target_of(Delivery.objects.get()).startswith("/figures/?site=") and found.pk
    assert digests.consider(early + timedelta(days=1, hours=1)) == 0, "nothing happened at either site"


def test_the_week_is_told_on_mondays_in_the_sites_own_days(world: World) -> None:
    by_mail(world, topics=["weekly"], roles=["manager"])
    monday = datetime(2026, 11, 30, 8, tzinfo=UTC)
    see(world.door, datetime(2026, 11, 23, 0, 10, tzinfo=UTC).timestamp())
    see(world.door, datetime(2026, 11, 29, 23, 50, tzinfo=UTC).timestamp())
    see(world.door, datetime(2026, 11, 22, 23, 50, tzinfo=UTC).timestamp())
    counted(world, monday)
    digests.consider(monday)
    weekly = Delivery.objects.get(event="weekly")
    assert (weekly.body["first_day"], weekly.body["last_day"]) == ("2026-11-23", "2026-11-29")
    assert weekly.body["seen"] == 2 and weekly.body["change"] == 0.0


# -- pages ------------------------------------------------------------------------------------------------------------


def test_a_rule_is_made_changed_and_deleted(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    form = {"name": "Nights", "is_on": "on", "topics": ["no_mask", "outage"], "during": "own", "opens_0": "20:00",
            "closes_0": "06:00", "roles": ["reviewer"], "people": [world.vera.pk], "by_email": "on", "repeats": "5",
            "next_after_min": "10", "next_1": world.bob.pk}  # fmt: skip
    alice.post(f"/sites/{world.here.pk}/rules/add/", form)
    rule = Rule.objects.get(name="Nights")
    assert rule.hours == {"0": ["20:00", "06:00"]} and rule.next_people == [world.bob.pk]
    page = squeezed(alice.get(f"/sites/{world.here.pk}/rules/"))
    assert "reviewers, Vera by e-mail" in page
    Membership.objects.filter(user=world.vera).delete()
    assert "Vera (no longer here)" in squeezed(alice.get(f"/sites/{world.here.pk}/rules/"))
    alice.post(f"/rules/{rule.pk}/delete/")
    assert not Rule.objects.filter(name="Nights").exists()


@pytest.mark.parametrize(("change", "said"), [
    ({"topics": []}, "Choose at least one."),
    ({"roles": []}, "Choose whom to notify"),
    ({"by_email": ""}, "e-mail, push or both"),
    ({"during": "own"}, "Enter these hours"),
    ({"next_1": "BOB"}, "how many minutes to wait"),
    ({"people": ["CHARLIE"]}, "not one of the available choices"),
    ({"repeats": "0"}, "greater than or equal to 2"),
])  # fmt: skip
def test_a_rule_that_cannot_be_is_said_where_it_is_wrong(
    world: World, sign_in: SignIn, change: dict[str, Any], said: str
) -> None:
    form = {"name": "R", "topics": ["outage"], "during": "always", "roles": ["manager"], "by_email": "on",
            "repeats": "5"} | change  # fmt: skip
    names = {"BOB": world.bob.pk, "CHARLIE": world.charlie.pk}
    form = {name: [names.get(v, v) for v in value] if isinstance(value, list) else names.get(value, value)
            for name, value in form.items()}  # fmt: skip
    answer = sign_in(world.alice).post(f"/sites/{world.here.pk}/rules/add/", form)
    assert answer.status_code == 422 and said in squeezed(answer)


def test_the_pages_cost_the_same_for_one_and_for_many(
    world: World, sign_in: SignIn, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    alice = sign_in(world.alice)
    pages = (f"/sites/{world.here.pk}/rules/", f"/sites/{world.here.pk}/deliveries/", "/news/", "/profile/")

    def cost() -> list[int]:
        found = []
        for page in pages:
            with CaptureQueriesContext(connection) as queries:
                assert alice.get(page).status_code == 200
            found.append(len(queries))
        return found

    def fill() -> None:
        rule = by_mail(world, roles=["manager"])
        rule.people.set([world.bob, world.vera])
        rule.cameras.set([world.door])
        see(world.door)
        Outage.objects.create(camera=world.door, began_at=timezone.now(), ended_at=timezone.now())
        User.objects.update(looked_at=timezone.now() - timedelta(days=1))

    fill()
    few = cost()
    for _ in range(10):
        fill()
    assert cost() == few and max(few) <= 20, few


def test_the_bell_counts_what_happened_since_she_looked(world: World, sign_in: SignIn, server: MailServer) -> None:
    by_mail(world, roles=["manager"])
    User.objects.update(looked_at=timezone.now() - timedelta(hours=1))
    see(world.door)
    see(world.hall)
    Outage.objects.create(camera=world.door, began_at=timezone.now(), reason="x")
    outbox.send_due()
    alice = sign_in(world.alice)
    assert '<span class="count">2</span>' in squeezed(alice.get("/people/"))
    page = squeezed(alice.get("/news/"))
    assert "No mask, Front door" in page and "Front door was down" in page and "Hall" not in page
    assert "e-mail" in page
    assert "Nothing new" in squeezed(alice.get("/news/"))
    assert '<span class="count">2</span>' not in squeezed(alice.get("/people/"))


def test_deliveries_go_with_the_sites_days(world: World) -> None:
    Delivery.objects.create(site=world.here, event="portal", about="1", lane="email:1", channel="email")
    retention.sweep()
    assert Delivery.objects.count() == 1
    retention.sweep(timezone.now() + timedelta(days=31))
    assert Delivery.objects.count() == 0


def test_a_decision_costs_the_same_for_one_rule_and_for_twenty(world: World, django_assert_num_queries: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    PushSubscription.objects.create(user=world.alice, endpoint="https://web.push.apple.com/1")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            see(world.door)
        return len(queries)

    by_mail(world)
    cost()
    few = cost()
    for _ in range(20):
        by_mail(world)
    assert cost() == few
