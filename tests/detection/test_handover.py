"""Another analyzer goes on with whom one saw: as another worker does, whatever happened to the one before."""

from __future__ import annotations

from cameras.watching.handover import PEOPLE
from detection import CarriedPerson, PassageFinding, ViolationFinding
from detection.people import CARRIED_S
from tests.detection.scenes import Actor, Stage

BARE = Actor("a", 0.4, 0.5, "no_mask")


def sent(stage: Stage) -> tuple[CarriedPerson, ...]:
    """Who is in view, through Redis and back."""
    return PEOPLE.validate_json(PEOPLE.dump_json(stage.analyzer.people_in_view()))


def after(before: Stage) -> Stage:
    stage = Stage()
    stage.analyzer.take_over(sent(before))
    return stage


def test_a_violation_goes_on_under_its_ids() -> None:
    before = Stage()
    before.play(0, 4, BARE)
    went_on = after(before)
    went_on.play(12, 15, Actor("a", 0.45, 0.52, "no_mask"))
    went_on.leave()
    (passage,), (violation,) = went_on.passages, went_on.violations
    assert (passage.key, violation.key) == (before.passages[0].key, before.violations[0].key)
    assert (violation.started_at, violation.opened_at) == (
        before.violations[0].started_at,
        before.violations[0].opened_at,
    )
    assert passage.started_at == 0.0 and passage.ended_at == violation.ended_at == 14.8
    told = went_on.told(violation.key)
    assert told[0].seq > max(finding.seq for finding in before.findings)
    assert [finding.seq for finding in told] == sorted({finding.seq for finding in told})
    assert isinstance(went_on.findings[0], PassageFinding), "the passage is told first"
    pictures = [each.snapshot for each in told if isinstance(each, ViolationFinding) and each.snapshot]
    assert pictures[0].is_spare and not any(each.is_spare for each in pictures[1:])


def test_who_left_meanwhile_left_when_they_were_last_seen_and_who_came_is_somebody_else() -> None:
    before = Stage()
    before.play(0, 4, BARE)
    went_on = after(before)
    went_on.play(12, 17, Actor("b", 0.42, 0.5, "no_mask"))
    old, new = sorted(went_on.passages, key=lambda each: each.started_at)
    assert old.key == before.passages[0].key and old.ended_at == 3.8
    assert new.key != old.key and new.started_at == 12.0
    assert {each.ended_at for each in went_on.violations} == {3.8, None}


def test_who_is_masked_when_seen_again_ends_their_violation() -> None:
    before = Stage()
    before.play(0, 4, BARE)
    went_on = after(before)
    went_on.play(10, 14, Actor("a", 0.4, 0.5, "mask"))
    (passage,), (violation,) = went_on.passages, went_on.violations
    assert passage.label == "mask" and passage.key == before.passages[0].key
    assert violation.key == before.violations[0].key and violation.ended_at is not None


def test_after_too_long_everybody_is_somebody_new() -> None:
    before = Stage()
    before.play(0, 4, BARE)
    went_on = after(before)
    went_on.play(4 + CARRIED_S, 8 + CARRIED_S, BARE)
    old, new = sorted(went_on.passages, key=lambda each: each.started_at)
    assert old.ended_at == 3.8 and new.key != old.key


def test_the_clock_of_the_next_machine_may_be_behind() -> None:
    before = Stage()
    before.play(100, 104, BARE)
    went_on = after(before)
    went_on.play(102, 106, BARE)
    went_on.leave()
    assert [each.key for each in went_on.passages] == [before.passages[0].key]
    assert went_on.passages[0].ended_at == 105.8


def test_without_a_single_picture_they_left_when_they_were_last_seen() -> None:
    before = Stage()
    before.play(0, 4, BARE)
    went_on = after(before)
    went_on.leave()
    assert [passage.ended_at for passage in went_on.passages] == [3.8]
    assert [violation.ended_at for violation in went_on.violations] == [3.8]


def test_a_flicker_is_not_handed_over_and_nobody_is_nothing() -> None:
    stage = Stage()
    assert sent(stage) == ()
    stage.show(1.0, BARE)
    assert sent(stage) == ()
