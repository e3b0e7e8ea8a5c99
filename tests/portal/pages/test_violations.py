from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cameras.models import Camera, CameraLease
from cameras.watching import leases
from detection import make_key
from portal import tasks
from portal.events import keyset
from portal.events.review import review
from portal.models import AuditEntry, Membership, Passage, SiteFeed, User, Violation
from portal.pages.violations import PAGE_ROWS, next_newer, next_older
from portal.people import access
from tests.worlds import World, see

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]


@pytest.fixture
def client(world: World, sign_in: SignIn) -> Client:
    return sign_in(world.alice)


def shown(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/violations/{query}")
    assert answer.status_code == 200
    return [str(row.pk) for row in answer.context["rows"]]


# -- the list -------------------------------------------------------------------------------------------------------


def test_the_newest_comes_first_and_pages_go_on_without_gap_or_double(world: World, client: Client) -> None:
    now = time.time()
    made = [str(see(world.door, now - minute * 60).pk) for minute in range(PAGE_ROWS + 5)]
    first = client.get("/violations/")
    assert [str(row.pk) for row in first.context["rows"]] == made[:PAGE_ROWS]
    see(world.door)  # what arrives meanwhile does not shift the pages
    assert shown(client, "?" + first.context["next_page"]) == made[PAGE_ROWS:]


def test_a_page_costs_the_same_for_one_row_and_for_thirty(world: World, client: Client) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get("/violations/")
        return len(queries)

    see(world.door)
    cost()
    few = cost()
    for minute in range(PAGE_ROWS + 2):
        see(world.door, time.time() - minute * 60)
    assert cost() == few <= 19


def test_filters_by_status_site_camera_and_label_can_be_sent_as_an_address(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.root)
    bare, wrong, other = see(world.door), see(world.door, label="incorrect"), see(world.hall)
    review(world.root, {wrong.pk: 0}, "confirmed")
    assert set(shown(client)) == {str(row.pk) for row in (bare, other)}, "it opens on what is to be reviewed"
    assert set(shown(client, "?status=")) == {str(row.pk) for row in (bare, wrong, other)}
    assert shown(client, "?status=confirmed") == [str(wrong.pk)]
    assert shown(client, f"?site={world.there.pk}") == [str(other.pk)]
    assert shown(client, f"?camera={world.door.pk}&label=no_mask") == [str(bare.pk)]
    assert shown(client, "?status=dismissed") == []


def test_several_sites_cameras_and_kinds_can_be_chosen_at_once(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.root)
    side = Camera.objects.create(site=world.here, name="Side door", address="side.mp4")
    CameraLease.objects.create(camera=side)
    leases.take(side.pk, 0, "north")
    front, back, far = see(world.door), see(side, label="incorrect"), see(world.hall)
    both = f"?camera={world.door.pk}&camera={side.pk}"
    assert set(shown(client, both)) == {str(front.pk), str(back.pk)}
    assert shown(client, f"{both}&label=incorrect") == [str(back.pk)]
    assert len(shown(client, f"{both}&label=incorrect&label=no_mask")) == 2
    assert len(shown(client, f"?site={world.here.pk}&site={world.there.pk}")) == 3
    page = client.get(f"/violations/?site={world.here.pk}&site={world.there.pk}&camera={world.hall.pk}")
    assert page.context["summary"] == "To review, Harbour House, Maple Tower, Hall"
    assert [row.pk for row in page.context["rows"]] == [far.pk]


def test_hours_of_the_day_are_each_sites_own_and_may_run_past_midnight(world: World, sign_in: SignIn) -> None:
    """15:30 UTC in January is 15:30 in Lisbon and 10:30 in Toronto."""
    at = datetime(2026, 1, 15, 15, 30, tzinfo=UTC).timestamp()
    lisbon, toronto = see(world.door, at), see(world.hall, at)
    client, day = sign_in(world.root), "&day=2026-01-15"
    assert shown(client, f"?hour_from=15:00&hour_to=16:00{day}") == [str(lisbon.pk)]
    assert shown(client, f"?hour_from=10:30&hour_to=10:31{day}") == [str(toronto.pk)]
    assert shown(client, f"?hour_from=10:31&hour_to=15:30{day}") == []
    assert shown(client, f"?hour_from=22:00&hour_to=11:00{day}") == [str(toronto.pk)]
    assert shown(client, "?hour_from=00:00&hour_to=23:59") == [], "without a day, of the last month"
    assert "Enter both times" in client.get(f"/violations/?hour_from=15:00{day}").content.decode()
    assert "Both times are the same" in client.get(f"/violations/?hour_from=15:00&hour_to=15:00{day}").content.decode()
    assert "This is not a time" in client.get("/violations/?hour_from=25:00&hour_to=1").content.decode()


def test_what_one_camera_saw_within_a_minute_is_one_group(world: World, sign_in: SignIn) -> None:
    now = time.time()
    first, *others = [see(world.door, now - age) for age in (0, 5, 30, 59, 61)]
    there = see(world.hall, now - 10)
    answer = sign_in(world.root).get("/violations/")
    groups = [[row.pk for row in group] for group in answer.context["groups"]]
    assert groups == [[first.pk, *(row.pk for row in others[:3])], [there.pk], [others[3].pk]]
    assert "3 more of this camera within a minute" in re.sub(r"\s+", " ", answer.content.decode())


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), min_size=1, max_size=25), st.integers(1, 5))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_groups_too_pages_show_each_once(
    world: World, sign_in: SignIn, seen: list[tuple[int, bool]], most: int
) -> None:
    Violation.objects.all().delete()
    made = {str(see(world.hall if far else world.door, time.time() - age).pk) for age, far in seen}
    client, query, shown_ones = sign_in(world.root), "", list[str]()
    with patch("portal.pages.violations.PAGE_ROWS", most):
        for _page in range(len(made) + 1):
            page = client.get(f"/violations/?{query}")
            assert len(page.context["groups"]) <= most
            shown_ones += [str(row.pk) for row in page.context["rows"]]
            if not (query := page.context["next_page"]):
                break
    assert sorted(shown_ones) == sorted(made)


def test_notes_are_searched(world: World, sign_in: SignIn) -> None:
    with_note, _without = see(world.door), see(world.door)
    review(world.alice, {with_note.pk: 0}, note="The courier from Hermes; 100 % sure")
    client = sign_in(world.alice)
    assert shown(client, "?note=hermes") == shown(client, "?note=100 %25 s") == [str(with_note.pk)]
    assert shown(client, "?note=100 _ s") == [], "what is typed is meant as it is"


def test_the_oldest_come_first_if_that_is_wanted_in_the_list_and_in_the_flow(world: World, sign_in: SignIn) -> None:
    rows = [see(world.door, time.time() - 1000 + 100 * number) for number in range(3)]
    client = sign_in(world.alice)
    with patch("portal.pages.violations.PAGE_ROWS", 2):
        first = client.get("/violations/?order=oldest")
        assert [row.pk for row in first.context["rows"]] == [rows[0].pk, rows[1].pk]
        second = client.get(f"/violations/?{first.context['next_page']}")
        assert [row.pk for row in second.context["rows"]] == [rows[2].pk]
    page = client.get(f"/violations/{rows[0].pk}/?order=oldest")
    assert (page.context["before"], page.context["after"]) == (None, rows[1])
    sent = {"seen": f"{rows[0].pk}:0", "decision": "confirm", "flow": "1", "filter": page.context["chosen"]}
    onward = client.post("/violations/review/", sent)["Location"]
    assert onward.startswith(f"/violations/{rows[1].pk}/?status=open&order=oldest")


def test_a_filter_pasted_by_somebody_with_fewer_rights_shows_nothing_of_others(world: World, sign_in: SignIn) -> None:
    mine, others = see(world.door), see(world.hall)
    page = sign_in(world.alice).get(f"/violations/?site={world.here.pk}&site={world.there.pk}")
    assert "Choose something that is" in page.content.decode() and not page.context["rows"]
    for asked in (f"?camera={world.hall.pk}", f"?site={world.there.pk}"):
        assert str(others.pk) not in sign_in(world.alice).get(f"/violations/{asked}").content.decode()
    assert shown(sign_in(world.alice)) == [str(mine.pk)]


def test_what_fits_goes_into_a_spreadsheet_with_each_sites_clock_and_the_log_says_so(
    world: World, sign_in: SignIn
) -> None:
    at = datetime(2026, 1, 15, 15, 30, tzinfo=UTC).timestamp()
    here, there = see(world.door, at), see(world.hall, at + 1)
    review(world.alice, {here.pk: 0}, "dismissed", note="=cmd|' /C calc'!A0", reason="masked")
    see(world.door)

    def table(client: Client, query: str) -> list[dict[str, str]]:
        answer = client.get(f"/violations.csv{query}")
        text = b"".join(answer).decode()
        return list(csv.DictReader(io.StringIO(text)))

    first, second = table(sign_in(world.root), "?status=&day=2026-01-15&order=oldest")
    assert (first["began"], first["site"], first["reason"]) == (
        "2026-01-15 15:30:00",
        "Harbour House",
        "Wearing a mask",
    )
    assert first["note"].startswith("'="), "no spreadsheet runs it"
    assert first["reviewed by"] and (second["began"], second["number"]) == ("2026-01-15 10:30:01", str(there.pk))
    noted = AuditEntry.objects.filter(action="exported").values_list("site", "subject")
    assert set(noted) == {("Harbour House", "violations: 1"), ("Maple Tower", "violations: 1")}
    assert [row["site"] for row in table(sign_in(world.vera), "")] == ["Harbour House"], "what is to be reviewed"
    assert sign_in(world.vera).get("/violations.csv?day=never")["Location"].startswith("/violations/?")


def test_a_day_is_the_sites_own(world: World, sign_in: SignIn) -> None:
    """02:30 UTC on 3 July is 03:30 in Lisbon, and 22:30 on the day before in Toronto."""
    at = datetime(2026, 7, 3, 2, 30, tzinfo=UTC).timestamp()
    lisbon, toronto = see(world.door, at), see(world.hall, at)
    client = sign_in(world.root)
    assert shown(client, "?day=2026-07-03") == [str(lisbon.pk)]
    assert shown(client, "?day=2026-07-02") == [str(toronto.pk)]
    assert len(shown(client, "?day=2026-07-02&until=2026-07-03")) == 2
    assert shown(client, "?day=2026-07-03&until=2026-07-09") == [str(lisbon.pk)]
    assert shown(client, "?until=2026-07-02") == [str(toronto.pk)]
    page = client.get("/violations/?day=2026-07-03&until=2026-07-02").content.decode()
    assert "This is before the first day" in page and "2 violations" in client.get("/violations/").content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "?day=yesterday",
        "?site=999",
        "?site=x",
        "?camera=-1",
        "?status=%00",
        "?label=beard",
        "?day=0001-01-01",
        "?day=9999-12-31",
    ],
)
def test_a_filter_that_makes_no_sense_is_said_so_and_shows_nothing_wrong(client: Client, query: str) -> None:
    answer = client.get(f"/violations/{query}")
    assert answer.status_code == 200
    assert answer.context["rows"] == []


NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    "cursor", ["x", "2026_1", f"2026-01-01_{NOBODY}", "%00_", "_", f"0001-01-01T00:00:00%2B14:00_{NOBODY}"]
)
def test_a_cursor_that_is_none_leads_to_the_first_page(client: Client, cursor: str) -> None:
    assert client.get(f"/violations/?before={cursor}").status_code == 302


def test_another_sites_camera_is_no_filter(world: World, client: Client) -> None:
    see(world.hall)
    answer = client.get(f"/violations/?camera={world.hall.pk}")
    assert answer.context["rows"] == [] and "camera" in answer.context["form"].errors


# -- one violation --------------------------------------------------------------------------------------------------


def test_times_are_shown_in_the_sites_zone_with_its_name(world: World, sign_in: SignIn) -> None:
    violation = see(world.hall, datetime(2026, 7, 3, 2, 30, 15, tzinfo=UTC).timestamp())
    page = sign_in(world.charlie).get(f"/violations/{violation.pk}/").content.decode()
    assert "2 July 2026, 22:30:15 (America/Toronto)" in page


def test_confirming_stores_who_and_when_and_goes_on_to_the_next(world: World, client: Client) -> None:
    older, newer = see(world.door, time.time() - 100), see(world.door)
    form = {"seen": f"{newer.pk}:0", "decision": "confirm", "flow": "1", "back": f"/violations/{newer.pk}/"}
    answer = client.post("/violations/review/", form)
    assert answer["Location"] == f"/violations/{older.pk}/?status=open"
    newer.refresh_from_db()
    assert (newer.status, newer.reviewed_by, newer.review_version) == ("confirmed", world.alice, 1)
    assert newer.reviewed_at is not None
    assert SiteFeed.objects.get(site=world.here).to_review == 1


def test_several_at_once_are_one_event_and_cost_no_more_queries_than_two(world: World, client: Client) -> None:
    rows = [see(world.door, time.time() - minute) for minute in range(12)]

    def dismiss(some: list[Violation]) -> int:
        form = {"seen": [f"{row.pk}:0" for row in some], "decision": "dismiss"}
        with CaptureQueriesContext(connection) as queries:
            client.post("/violations/review/", form)
        return len(queries)

    few = dismiss(rows[:2])
    assert dismiss(rows[2:]) == few
    assert Violation.objects.filter(status="dismissed").count() == 12
    feed = SiteFeed.objects.get(site=world.here)
    assert (feed.number, feed.to_review) == (14, 0)


def test_a_review_made_on_an_old_version_changes_nothing_and_says_who_was_faster(
    world: World, client: Client, sign_in: SignIn
) -> None:
    violation = see(world.door)
    sign_in(world.bob).post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "dismiss"})
    form = {"seen": f"{violation.pk}:0", "decision": "confirm", "back": f"/violations/{violation.pk}/"}
    page = client.post("/violations/review/", form, follow=True).content.decode()
    assert "Bob dismissed it a moment ago." in page
    violation.refresh_from_db()
    assert (violation.status, violation.reviewed_by) == ("dismissed", world.bob)


def test_an_update_by_the_camera_is_no_review(world: World, client: Client) -> None:
    """The picture may get better while somebody decides: their decision still counts."""
    from portal.events.recording import record
    from tests.worlds import violation_record

    violation = see(world.door)
    record(violation_record(world.door, violation.pk, violation.passage_id, seq=2))
    client.post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "confirm"})
    violation.refresh_from_db()
    assert violation.status == "confirmed"


def test_a_button_pressed_twice_is_one_decision_and_no_complaint(world: World, client: Client) -> None:
    older, newer = see(world.door, time.time() - 100), see(world.door)
    form = {"seen": f"{newer.pk}:0", "decision": "confirm", "flow": "1"}
    first, second = (client.post("/violations/review/", form)["Location"] for _ in range(2))
    assert first == second == f"/violations/{older.pk}/?status=open"
    assert "Your decision was not saved" not in client.get(second).content.decode()
    assert Violation.objects.get(pk=newer.pk).review_version == 1


def test_the_flow_stays_within_the_filter_of_the_list(world: World, sign_in: SignIn) -> None:
    client, now = sign_in(world.root), time.time()
    rows = [see(camera, now - age) for age, camera in enumerate((world.door, world.hall, world.door))]
    filtering = f"site={world.here.pk}"
    page = client.get(f"/violations/{rows[0].pk}/?{filtering}")
    assert page.context["after"] == rows[2]
    form = {"seen": f"{rows[0].pk}:0", "decision": "confirm", "flow": "1", "filter": filtering}
    assert client.post("/violations/review/", form)["Location"] == (
        f"/violations/{rows[2].pk}/?status=open&{filtering}"
    )


def test_what_was_done_can_be_undone(world: World, client: Client) -> None:
    violation = see(world.door)
    page = client.post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "confirm"}, follow=True)
    assert f'name="seen" value="{violation.pk}:1"' in page.content.decode()
    client.post("/violations/review/", {"seen": f"{violation.pk}:1", "decision": "reopen"})
    violation.refresh_from_db()
    assert violation.status == "open"
    assert SiteFeed.objects.get(site=world.here).to_review == 1


def test_a_note_is_kept_and_escaped(world: World, client: Client) -> None:
    violation = see(world.door)
    note = "<script>alert(1)</script> a beard"
    client.post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "note", "note": note})
    page = client.get(f"/violations/{violation.pk}/").content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; a beard" in page
    assert Violation.objects.get().status == "open"


def test_a_note_changes_nobodys_decision(world: World, client: Client, sign_in: SignIn) -> None:
    violation = see(world.door)
    sign_in(world.bob).post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "confirm"})
    client.post("/violations/review/", {"seen": f"{violation.pk}:1", "decision": "note", "note": "seen"})
    violation.refresh_from_db()
    assert (violation.note, violation.reviewed_by) == ("seen", world.bob)


def test_a_note_on_an_old_version_is_shown_again_and_not_lost(world: World, client: Client, sign_in: SignIn) -> None:
    violation = see(world.door)
    sign_in(world.bob).post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "confirm"})
    answer = client.post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "note", "note": "my words"})
    assert answer.status_code == 422 and "my words" in answer.content.decode()
    assert "Your note is not saved yet" in answer.content.decode()
    assert Violation.objects.get().note == ""


def test_a_note_of_ten_thousand_characters_is_refused_beside_its_field_and_not_lost(
    world: World, client: Client
) -> None:
    violation = see(world.door)
    note = "long " * 2000
    answer = client.post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "note", "note": note})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "at most 2000 characters; this one has 9999" in page and note in page
    assert Violation.objects.get().note == ""


@pytest.mark.parametrize(
    "form",
    [
        {"seen": "x:1", "decision": "confirm"},
        {"seen": "00000000-0000-0000-0000-000000000000", "decision": "confirm"},
        {"seen": "00000000-0000-0000-0000-000000000000:y", "decision": "confirm"},
        {"decision": "explode"},
        {},
    ],
)
def test_a_form_that_the_portal_never_made_is_refused(client: Client, form: dict[str, str]) -> None:
    assert client.post("/violations/review/", form).status_code == 400


def test_nothing_chosen_is_said_so(client: Client) -> None:
    page = client.post("/violations/review/", {"decision": "confirm"}, follow=True).content.decode()
    assert "Choose at least one violation first." in page


def test_a_form_never_leads_to_another_site(world: World, client: Client) -> None:
    for back in ("https://evil.example/", "//evil.example/", "evil", "javascript:alert(1)"):
        form = {"seen": f"{see(world.door).pk}:0", "decision": "confirm", "back": back}
        assert client.post("/violations/review/", form)["Location"] == "/violations/"


def test_a_picture_that_is_gone_is_a_404_and_the_page_still_works(world: World, client: Client) -> None:
    from django.core.files.storage import default_storage

    violation = see(world.door)
    default_storage.delete(violation.snapshot.name or "")
    assert client.get(f"/violations/{violation.pk}/snapshot.jpg").status_code == 404
    assert client.get(f"/violations/{violation.pk}/").status_code == 200


def test_the_dashboard_costs_the_same_for_one_camera_and_for_twenty(world: World, client: Client) -> None:
    from cameras.models import Camera

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/").status_code == 200
        return len(queries)

    cost()
    few = cost()
    for number in range(20):
        Camera.objects.create(site=world.here, name=str(number), address="x.mp4")
    assert cost() == few <= 19


def test_empty_pages_say_what_they_will_show(client: Client, world: World, sign_in: SignIn) -> None:
    assert "Nobody seen without a mask so far" in client.get("/violations/").content.decode()
    see(world.hall)
    assert "Nobody seen without a mask so far" in client.get("/violations/?status=").content.decode(), "at this site"
    see(world.door)
    assert "No violation matches this filter" in client.get("/violations/?status=confirmed").content.decode()
    for path in ("/", "/violations/"):
        assert "You have no access to a site yet" in sign_in(world.stranger).get(path).content.decode()


def test_the_next_violation_costs_the_same_however_many_there_are(world: World) -> None:
    """At a million rows, a page for which all are sorted takes seconds: SQLite sorts what it finds of two sites."""
    if connection.vendor != "sqlite":
        pytest.skip("it counts the steps of SQLite's virtual machine")
    Membership.objects.create(user=world.alice, site=world.there, role="viewer")
    found = see(world.door)
    theirs = access.violations(world.alice)

    def steps() -> int:
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        connection.connection.set_progress_handler(step, 100)
        try:
            assert keyset.newest(theirs, 10, found.started_at)
            assert next_older(theirs, found) is not None and next_newer(theirs, found) is None
        finally:
            connection.connection.set_progress_handler(None, 0)
        return count

    def fill(days: range) -> None:
        for camera in (world.door, world.hall):
            common = {"site": camera.site, "camera": camera, "token": 1, "label": "no_mask", "confidence": 0.9}
            passages, rows = [], []
            for number in days:
                for hour in range(12):
                    at = found.started_at - timedelta(days=number, hours=2 * hour + 1)
                    passages.append(Passage(pk=make_key(at.timestamp()), started_at=at, last_seen_at=at, **common))
                    times = {"started_at": at, "last_seen_at": at, "opened_at": at}
                    rows.append(Violation(pk=make_key(at.timestamp()), passage=passages[-1], **times, **common))
            Passage.objects.bulk_create(passages)
            Violation.objects.bulk_create(rows)

    fill(range(3))
    tasks.orphans()
    few = steps()
    fill(range(3, 120))
    tasks.orphans()
    assert steps() < 1.5 * few
