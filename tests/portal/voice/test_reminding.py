"""Whether the door speaks, to whom, when, and what is recorded about it. Redis is real."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from unittest.mock import patch

import pytest
from django.utils import timezone

from cameras.models import Camera
from cameras.redis import door_channel, subscription
from detection import make_key
from portal.events.recording import record
from portal.models import Passage, Phrase, Reminder, Silence, SitePhrase, Violation, Voice
from portal.models.policy import LANGUAGES
from portal.voice import phrases, reminding
from tests.worlds import World, passage_record, see, set_policy, violation_record

pytestmark = pytest.mark.django_db(transaction=True)

Step = Reminder.Step


class Door:
    """What a page at the door is told."""

    def __init__(self, pubsub: Any) -> None:
        self._pubsub = pubsub

    def _next(self, within_s: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            message = self._pubsub.get_message(timeout=0.05)
            if message is not None:
                return dict(json.loads(message["data"]))
        return None

    def told(self) -> dict[str, Any]:
        message = self._next(3.0)
        assert message is not None, "nothing was said"
        return message

    def is_silent(self) -> bool:
        """Whether nothing was said: anything decided before this call was also published before it."""
        return self._next(0.2) is None


@contextmanager
def open_door(camera: Camera, output: str = "loudspeaker") -> Iterator[Door]:
    Voice.objects.update_or_create(camera=camera, defaults={"output": output})
    with closing(subscription(door_channel(camera.pk, output))) as pubsub:
        yield Door(pubsub)


def stand_there(camera: Camera, bare_s: float = 2.5, ago_s: float = 0.0, label: str = "no_mask") -> Violation:
    """Somebody who was bare for `bare_s` when last seen, `ago_s` ago."""
    now = time.time() - ago_s
    return see(camera, at=now - bare_s, label=label, last_seen_at=now)


def still_there(violation: Violation, after: timedelta, **body: Any) -> None:
    """The same person, later; the portal's clock is put forward."""
    at = timezone.now() + after
    seq = Violation.objects.get(pk=violation.pk).seq + 1
    given: dict[str, Any] = {"started_at": violation.started_at.timestamp(), "last_seen_at": at.timestamp()}
    given["label"] = violation.label
    with patch("portal.voice.reminding.timezone.now", lambda: at):
        record(
            violation_record(violation.camera, violation.pk, violation.passage_id, seq=seq, picture=b"", **given | body)
        )


def test_a_person_without_a_mask_is_reminded_in_the_sites_language(world: World) -> None:
    set_policy(world.here, language="de")
    with open_door(world.door) as door:
        violation = stand_there(world.door)
        said = door.told()
    reminder = Reminder.objects.get()
    assert (said["type"], said["language"], said["text"]) == ("say", "de", phrases.PHRASES["de"]["no_mask"])
    assert said["reminder"] == str(reminder.pk)
    assert (reminder.violation, reminder.passage, reminder.step) == (violation, violation.passage, Step.FIRST)
    assert reminder.sent_at is not None and reminder.played_at is None and not reminder.why_not


def test_who_wears_it_wrongly_hears_of_the_nose(world: World) -> None:
    with open_door(world.door) as door:
        stand_there(world.door, label="incorrect")
        assert "nose" in door.told()["text"]


def test_nobody_is_reminded_before_the_cameras_seconds_are_over(world: World) -> None:
    Camera.objects.filter(pk=world.door.pk).update(reminder_after_s=4)
    with open_door(world.door) as door:
        violation = stand_there(world.door, bare_s=2.5)
        assert door.is_silent() and not Reminder.objects.exists()
        still_there(violation, timedelta(seconds=1.6))
        assert door.told()["step"] == Step.FIRST


def test_one_person_is_reminded_once_and_once_more_in_firmer_words(world: World) -> None:
    with open_door(world.door) as door:
        violation = stand_there(world.door)
        assert door.told()["step"] == Step.FIRST
        still_there(violation, timedelta(seconds=1))
        assert door.is_silent()
        still_there(violation, timedelta(seconds=12))
        second = door.told()
        assert (second["step"], second["text"]) == (Step.AGAIN, phrases.PHRASES["en"][Phrase.NO_MASK_AGAIN])
        still_there(violation, timedelta(seconds=60))
        assert door.is_silent()
    assert Reminder.objects.count() == 2


def test_the_second_reminder_is_twelve_seconds_after_the_first_whatever_the_label_did_between(world: World) -> None:
    with open_door(world.door) as door:
        violation = stand_there(world.door)
        door.told()
        bare_again = {"bare_since": time.time() + 6}
        still_there(violation, timedelta(seconds=9), **bare_again)
        assert door.is_silent()
        still_there(violation, timedelta(seconds=13), **bare_again)
        assert door.told()["step"] == Step.AGAIN


def test_recording_twice_reminds_once(world: World) -> None:
    with open_door(world.door) as door:
        now = time.time()
        passage, key = make_key(now), make_key(now)
        given: dict[str, Any] = {"started_at": now - 3, "last_seen_at": now}
        world.door.reigns.update(taken_at=timezone.now() - timedelta(minutes=1))
        record(passage_record(world.door, passage, **given))
        for _again in range(2):
            record(violation_record(world.door, key, passage, **given))
        door.told()
        assert door.is_silent()


def test_two_at_once_hear_one_reminder_and_the_second_is_written_down(world: World) -> None:
    with open_door(world.door) as door:
        stand_there(world.door)
        second = stand_there(world.door)
        door.told()
        assert door.is_silent()
    assert Reminder.objects.get(violation=second).why_not == Silence.COOLDOWN


def test_who_was_passed_over_is_reminded_twelve_seconds_later_in_the_first_words(world: World) -> None:
    with open_door(world.door) as door:
        stand_there(world.door)
        second = stand_there(world.door)
        door.told()
        still_there(second, timedelta(seconds=21))
        assert door.told()["text"] == phrases.PHRASES["en"][Phrase.NO_MASK]


def test_another_cameras_door_has_a_cooldown_of_its_own(world: World) -> None:
    with open_door(world.door) as door, open_door(world.hall) as hall:
        stand_there(world.door)
        stand_there(world.hall)
        assert door.told() and hall.told()


@pytest.mark.parametrize(("ago_s", "speaks"), [(1.5, True), (3.5, False)])
def test_an_old_finding_is_never_spoken(world: World, ago_s: float, speaks: bool) -> None:
    with open_door(world.door) as door:
        stand_there(world.door, ago_s=ago_s)
        assert door.is_silent() is not speaks
    assert Reminder.objects.get().why_not == ("" if speaks else Silence.LATE)


@pytest.mark.parametrize("closed", [True, False])
def test_the_door_is_silent_outside_the_reminder_hours(world: World, closed: bool) -> None:
    now = world.here.local(timezone.now())
    day = (now.weekday() + (3 if closed else 0)) % 7
    set_policy(world.here, reminder_hours={str(day): ["00:00", "23:59"]})
    with open_door(world.door) as door, patch("portal.voice.reminding.timezone.now", lambda: now.replace(hour=12)):
        with patch("portal.voice.reminding.FRESH", timedelta(days=1)):
            stand_there(world.door)
        assert door.is_silent() is closed
    assert Reminder.objects.get().why_not == (Silence.HOURS if closed else "")


@pytest.mark.parametrize("output", ["nowhere", None])
def test_a_silent_camera_makes_no_rows_and_costs_no_queries(
    world: World, output: str | None, django_assert_max_num_queries: Any
) -> None:
    if output:
        Voice.objects.create(camera=world.door, output=output)
    violation = stand_there(world.door)
    assert not Reminder.objects.exists()
    found = Camera.objects.select_related("site", "voice").get(pk=world.door.pk)
    with django_assert_max_num_queries(0):
        reminding.consider_violation(violation, found, violation.started_at)


def test_a_door_without_a_page_says_why(world: World) -> None:
    Voice.objects.create(camera=world.door, output="device")
    stand_there(world.door)
    reminder = Reminder.objects.get()
    assert (reminder.why_not, reminder.sent_at) == (Silence.NOBODY, None)
    assert "Open the door's page" in str(reminder.remedy)


def test_a_sites_own_words_are_said_in_its_language_alone(world: World) -> None:
    SitePhrase.objects.create(site=world.here, language="en", phrase=Phrase.NO_MASK, text="Mask up, sailor!")
    assert phrases.phrases_of(world.here)["no_mask"] == "Mask up, sailor!"
    set_policy(world.here, language="fr")
    assert phrases.phrase_of(world.here, Phrase.NO_MASK) == phrases.PHRASES["fr"]["no_mask"]
    assert phrases.phrase_of(world.there, Phrase.NO_MASK) == phrases.PHRASES["en"]["no_mask"]


def test_every_language_has_every_phrase_and_they_differ() -> None:
    assert set(phrases.PHRASES) == set(phrases.WELCOME) == {code for code, _name in LANGUAGES}
    assert all(set(said) == set(Phrase.values) for said in phrases.PHRASES.values())
    texts = [text for said in phrases.PHRASES.values() for text in said.values()]
    assert len(set(texts)) == len(texts)


# -- thanks -----------------------------------------------------------------------------------------------------------


def walk_in_masked(camera: Camera) -> Passage:
    key = make_key(time.time())
    record(passage_record(camera, key, label="mask"))
    return Passage.objects.get(pk=key)


def test_who_wears_a_mask_is_thanked_once_where_that_is_switched_on(world: World) -> None:
    with open_door(world.door) as door:
        walk_in_masked(world.door)
        assert door.is_silent()
        set_policy(world.here, thanks=True)
        passage = walk_in_masked(world.door)
        assert door.told()["text"] == phrases.PHRASES["en"][Phrase.THANKS]
        record(passage_record(world.door, passage.pk, seq=2, label="mask"))
        assert door.is_silent()


def test_who_masks_after_a_reminder_is_thanked_although_the_door_just_spoke(world: World) -> None:
    set_policy(world.here, thanks=True)
    with open_door(world.door) as door:
        violation = stand_there(world.door)
        assert door.told()["step"] == Step.FIRST
        record(passage_record(world.door, violation.passage_id, seq=2, label="mask"))
        assert door.told()["step"] == Step.THANKS


def test_a_thank_you_keeps_no_reminder_back(world: World) -> None:
    set_policy(world.here, thanks=True)
    with open_door(world.door) as door:
        walk_in_masked(world.door)
        assert door.told()["step"] == Step.THANKS
        stand_there(world.door)
        assert door.told()["step"] == Step.FIRST
        walk_in_masked(world.door)
        assert door.is_silent(), "a thank-you waits for whatever was said"


def test_a_spell_that_was_opened_again_is_judged_by_its_present_stretch(world: World) -> None:
    now = time.time()
    with open_door(world.door) as door:
        see(world.door, at=now - 10, last_seen_at=now, bare_since=now - 0.5)
        assert door.is_silent() and not Reminder.objects.exists()
        see(world.door, at=now - 10, last_seen_at=now, bare_since=now - 2.1)
        assert door.told()["step"] == Step.FIRST


def test_who_was_seen_too_late_is_reminded_as_soon_as_findings_are_fresh(world: World) -> None:
    with open_door(world.door) as door:
        violation = stand_there(world.door, ago_s=4)
        assert door.is_silent()
        still_there(violation, timedelta(seconds=2))
        assert door.told()["text"] == phrases.PHRASES["en"][Phrase.NO_MASK]


# -- what it did ------------------------------------------------------------------------------------------------------


def leave(violation: Violation, label: str, after_s: float) -> Violation:
    """The spell ends: the person put a mask on, or left as bare as before."""
    at = time.time()
    end = violation.last_seen_at.timestamp() + after_s
    record(passage_record(violation.camera, violation.passage_id, seq=2, label=label, last_seen_at=at))
    given: dict[str, Any] = {"started_at": violation.started_at.timestamp(), "last_seen_at": at, "ended_at": end}
    record(violation_record(violation.camera, violation.pk, violation.passage_id, seq=9, picture=b"", **given))
    violation.refresh_from_db()
    return violation


def test_a_violation_knows_whether_the_person_masked_or_left(world: World) -> None:
    masked, left = (leave(stand_there(world.door), label, 6) for label in ("mask", "no_mask"))
    assert masked.masked_at == masked.ended_at and masked.masked_at is not None
    assert left.masked_at is None and left.ended_at is not None


def test_bare_again_in_the_same_spell_is_masked_no_more(world: World) -> None:
    violation = leave(stand_there(world.door), "mask", 1)
    given: dict[str, Any] = {"started_at": violation.started_at.timestamp(), "last_seen_at": time.time()}
    record(violation_record(world.door, violation.pk, violation.passage_id, seq=10, picture=b"", **given))
    violation.refresh_from_db()
    assert violation.masked_at is None and violation.ended_at is None


def test_the_first_word_of_a_door_counts_and_played_outweighs_silence(world: World) -> None:
    with open_door(world.door):
        stand_there(world.door)
    reminder = Reminder.objects.get()
    assert reminding.note_heard(reminder.pk, world.hall.pk, "") is False  # another camera's door
    assert reminding.note_heard(reminder.pk, world.door.pk, "locked")
    assert not reminding.note_heard(reminder.pk, world.door.pk, "unplayed")
    assert reminding.note_heard(reminder.pk, world.door.pk, "")
    assert not reminding.note_heard(reminder.pk, world.door.pk, "locked")
    reminder.refresh_from_db()
    assert reminder.played_at is not None and reminder.why_not == ""


def test_what_the_voice_did_is_counted_by_the_database(world: World, django_assert_num_queries: Any) -> None:
    before = see(world.door, at=time.time() - 3600)  # from when nothing recorded whether people mask

    def reminded(label: str, played: bool) -> None:
        violation = leave(stand_there(world.door), label, 5)
        Reminder.objects.filter(violation=violation).update(
            played_at=timezone.now() if played else None, why_not="" if played else Silence.NOBODY
        )

    with open_door(world.door):
        for label, played in (("mask", True), ("mask", True), ("no_mask", True), ("mask", False), ("no_mask", False)):
            reminded(label, played)
    dismissed = leave(stand_there(world.door), "mask", 5)
    Violation.objects.filter(pk=dismissed.pk).update(status=Violation.Status.DISMISSED)
    with django_assert_num_queries(3):
        counts = reminding.persuaded(world.here, datetime.now(UTC) - timedelta(days=1))
    assert before.masked_at is None
    assert counts == {"reminded": 3, "reminded_masked": 2, "unasked": 2, "unasked_masked": 1}


def test_what_was_said_is_the_same_by_row_and_by_database(world: World) -> None:
    now = timezone.now()
    outputs, moments = (Voice.Output.CALL, Voice.Output.LOUDSPEAKER), (None, now)
    Reminder.objects.bulk_create(
        Reminder(
            site=world.here, camera=world.door, step=Step.TRIAL, text="Please.", language="en",
            output=output, sent_at=sent_at, played_at=played_at, why_not=why_not,
        )
        for output, sent_at, played_at, why_not in product(outputs, moments, moments, ("", Silence.NOBODY))
    )  # fmt: skip
    said = set(Reminder.objects.filter(Reminder.said()))
    assert said == {each for each in Reminder.objects.all() if each.was_said}
    assert len(said) == 5
    assert not any(each.is_under_way for each in said)
