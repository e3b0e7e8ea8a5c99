"""One person is erased at once, stays erased whatever still comes, and nobody else is touched."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.utils import timezone
from PIL import Image, ImageStat

from cameras.watching import spool
from cameras.watching.worker import refused_root
from detection import make_key
from portal.events import messages, recorder, recording, retention
from portal.events.erasure import erase_passage
from portal.live.consumer import LiveConsumer, thumbnail
from portal.models import AuditEntry, ErasedPassage, Passage, Reminder, SiteFeed, User, Violation
from portal.people.access import Audience
from portal.people.pictures import PictureView, render
from tests.portal.events.test_recording import stored
from tests.worlds import World, glimpse_record, passage_record, see, violation_record

pytestmark = pytest.mark.django_db(transaction=True)


def all_that_names(violation: Violation) -> list[object]:
    rows = (
        Passage.objects.filter(pk=violation.passage_id),
        Violation.objects.filter(passage_id=violation.passage_id),
        Reminder.objects.filter(passage_id=violation.passage_id),
    )
    return [row for found in rows for row in found]


def test_a_manager_erases_a_person_and_nothing_is_left_of_them(world: World, sign_in: Callable[[User], Client]) -> None:
    gone, kept = see(world.door), see(world.door)
    for place in range(5):
        recording.record(glimpse_record(gone, place))
    assert len(stored()) == 7
    Reminder.objects.create(site=world.here, camera=world.door, passage=gone.passage, violation=gone, step="first")
    alice = sign_in(world.alice)
    page = alice.get(f"/violations/{gone.pk}/").content.decode()
    assert "Erase this person" in page and "cannot be undone" in page
    refused = alice.post(f"/violations/{gone.pk}/erase/", follow=True)
    assert "tick the box first" in refused.content.decode() and Violation.objects.count() == 2
    before = SiteFeed.objects.get(site=world.here)
    answer = alice.post(f"/violations/{gone.pk}/erase/", {"sure": "yes"}, follow=True)
    assert "This person is erased" in answer.content.decode() and str(gone.pk) not in answer.content.decode()
    assert all_that_names(gone) == [] and stored() == [kept.snapshot.name]
    assert alice.get(f"/violations/{gone.pk}/face.jpg").status_code == 404
    feed = SiteFeed.objects.get(site=world.here)
    assert feed.number > before.number and feed.to_review == before.to_review - 1, "open pages are told"
    entry = AuditEntry.objects.get(action="person-erased")
    assert entry.actor_id == world.alice.pk and "Front door" in entry.subject and entry.site == "Harbour House"


def test_what_still_comes_of_an_erased_person_is_dropped_and_set_aside_nowhere(world: World) -> None:
    """They may be in view, or a worker's spool late."""
    gone, other = see(world.door), see(world.door)
    spool.refuse(refused_root(), violation_record(world.door, gone.pk, gone.passage_id, 99), "an old lease")
    spool.refuse(refused_root(), violation_record(world.door, other.pk, other.passage_id, 99), "an old lease")
    erase_passage(gone.passage)
    late = time.time()
    for given in (
        glimpse_record(gone),
        passage_record(world.door, gone.passage_id, 1, 7, last_seen_at=late),
        violation_record(world.door, gone.pk, gone.passage_id, 1, 8, last_seen_at=late),
    ):
        recorder.apply(given, refused_root())
    assert all_that_names(gone) == [] and stored() == [other.snapshot.name]
    (path,) = refused_root().glob("*.log")
    with path.open("rb") as file:
        (record,) = [record for record, _position in spool.read_records(file)]
    assert record.body["key"] == str(other.pk), "what is set aside of others stays"
    path.unlink()


def test_a_finding_that_is_recorded_at_that_very_moment_does_not_bring_them_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction is under way when the person is erased: whoever is first, nothing is left."""
    gone = see(world.door)
    begun, go_on = threading.Event(), threading.Event()
    make = recording._create_violation

    def slow(*given: Any) -> Violation:
        begun.set()
        assert go_on.wait(5)
        return make(*given)

    monkeypatch.setattr(recording, "_create_violation", slow)

    def in_thread(step: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                step()
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    second = violation_record(world.door, make_key(time.time()), gone.passage_id, 1, 1)
    records = in_thread(lambda: recorder.apply(second, refused_root()))
    assert begun.wait(5)
    erases = in_thread(lambda: erase_passage(gone.passage))
    go_on.set()
    for thread in (records, erases):
        thread.join(10)
        assert not thread.is_alive()
    assert all_that_names(gone) == [] and stored() == []
    assert not list(refused_root().glob("*.log"))


def test_no_page_gets_the_picture_from_memory_any_more(world: World) -> None:
    gone = see(world.door)
    shown = (str(gone.pk), "now", Audience.FACES)
    assert thumbnail(*shown).startswith("data:image/jpeg")
    erase_passage(gone.passage)
    async_to_sync(LiveConsumer().site_event)({"body": messages.gone(world.there.pk, [str(gone.pk)], 1)})
    assert thumbnail(*shown) == ""


def test_that_somebody_was_erased_is_forgotten_with_the_rest(world: World) -> None:
    erase_passage(see(world.door).passage)
    retention.sweep()
    assert ErasedPassage.objects.count() == 1
    retention.sweep(timezone.now() + timedelta(days=31))
    assert ErasedPassage.objects.count() == 0


def test_a_picture_whose_face_has_no_box_is_coarse_for_a_viewer(world: World) -> None:
    violation = see(world.door)
    violation.box = []
    for view in PictureView:
        picture = Image.open(io.BytesIO(render(violation, Audience.PIXELATED, view))).convert("L")
        columns = [picture.crop((x, 100, x + 1, picture.height - 20)) for x in range(20, picture.width - 20)]
        means = [ImageStat.Stat(column).mean[0] for column in columns]
        steps = [abs(a - b) for a, b in zip(means, means[1:], strict=False)]
        assert sum(step > 3 for step in steps) < len(steps) / 12, f"{view}: a few squares, no pattern"
