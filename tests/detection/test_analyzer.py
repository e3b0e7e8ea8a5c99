from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection import Finding, PassageFinding, ViolationFinding
from detection.votes import UNSURE, Votes, vote_weight
from tests.detection.scenes import Actor, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def bare(who: str = "a", x: float = 0.5, **more: object) -> Actor:
    return Actor(who, x, 0.5, "no_mask", **more)  # type: ignore[arg-type]


def masked(who: str = "a", x: float = 0.5, **more: object) -> Actor:
    return Actor(who, x, 0.5, "mask", **more)  # type: ignore[arg-type]


def test_a_bare_person_is_one_passage_and_one_violation_with_a_picture(stage: Stage) -> None:
    stage.play(0, 4, bare())
    stage.leave()
    (passage,), (violation,) = stage.passages, stage.violations
    assert (passage.label, violation.label) == ("no_mask", "no_mask")
    assert violation.passage == passage.key
    first = stage.told(violation.key)[0]
    assert isinstance(first, ViolationFinding) and first.snapshot is not None and first.ended_at is None
    assert violation.ended_at == passage.ended_at == pytest.approx(3.8)


def test_a_violation_is_opened_while_the_person_is_still_there(stage: Stage) -> None:
    stage.play(0, 1, bare())
    assert stage.violations and stage.violations[0].ended_at is None
    assert stage.violations[0].opened_at <= 0.8


def test_a_masked_person_is_a_passage_without_violation(stage: Stage) -> None:
    stage.play(0, 4, masked())
    stage.leave()
    assert [passage.label for passage in stage.passages] == ["mask"]
    assert stage.violations == []


def test_incorrect_is_a_violation_of_that_label(stage: Stage) -> None:
    stage.play(0, 3, Actor("a", 0.5, 0.5, "incorrect"))
    assert [violation.label for violation in stage.violations] == ["incorrect"]


def test_an_unsure_vote_never_alerts(stage: Stage) -> None:
    stage.play(0, 6, Actor("a", 0.5, 0.5, "torn"))
    stage.leave()
    assert [passage.label for passage in stage.passages] == [UNSURE]
    assert stage.violations == []


def test_a_face_in_a_broken_picture_does_not_vote_and_nobody_appears_in_it(stage: Stage) -> None:
    stage.play(0, 4, bare(), is_broken=True)
    assert stage.passages == []
    stage.play(4, 6, masked())
    stage.play(6, 12, bare(), is_broken=True)
    stage.leave()
    (passage,) = stage.passages
    assert passage.label == "mask" and stage.violations == []
    assert passage.ended_at == pytest.approx(11.8), "but it shows that the person is still there"


def test_who_masks_closes_the_violation_and_stays_one_person(stage: Stage) -> None:
    stage.play(0, 3, bare())
    stage.play(3, 8, masked())
    stage.leave()
    (passage,), (violation,) = stage.passages, stage.violations
    assert passage.label == "mask"
    assert violation.ended_at == pytest.approx(3.0)


def test_bare_again_at_once_is_the_same_violation(stage: Stage) -> None:
    stage.play(0, 3, bare())
    stage.play(3, 6, masked())
    stage.play(6, 9, bare())
    stage.leave()
    assert len(stage.passages) == len(stage.violations) == 1


def test_bare_after_five_steady_seconds_of_mask_is_a_new_violation_of_the_same_passage(stage: Stage) -> None:
    stage.play(0, 3, bare())
    stage.play(3, 9, masked())
    stage.play(9, 12, bare())
    stage.leave()
    assert len(stage.passages) == 1
    assert [violation.passage for violation in stage.violations] == [stage.passages[0].key] * 2
    assert all(any(f.snapshot for f in stage.told(v.key)) for v in stage.violations)  # type: ignore[union-attr]


def test_two_people_side_by_side_are_two(stage: Stage) -> None:
    stage.play(0, 3, bare("a", 0.4), bare("b", 0.56))
    stage.leave()
    assert len(stage.passages) == len(stage.violations) == 2


def test_two_people_through_one_door_are_two(stage: Stage) -> None:
    for step in range(60):
        at = step / 5
        people = [bare(who, -0.1 + 0.2 * (at - since)) for who, since in (("a", 0), ("b", 3)) if 0 <= at - since < 6]
        stage.show(at, *people)
    stage.leave()
    assert len(stage.passages) == len(stage.violations) == 2


def test_a_person_lost_for_two_seconds_is_the_same(stage: Stage) -> None:
    stage.play(0, 2, bare())
    stage.play(2, 4)
    stage.play(4, 6, bare(x=0.52))
    stage.leave()
    assert len(stage.passages) == len(stage.violations) == 1


def test_another_person_in_that_place_is_another(stage: Stage) -> None:
    stage.play(0, 2, bare("a"))
    stage.play(2, 4)
    stage.play(4, 6, bare("b"))
    stage.leave()
    assert len(stage.passages) == len(stage.violations) == 2


def test_a_person_lost_for_four_seconds_is_a_new_one(stage: Stage) -> None:
    stage.play(0, 2, bare())
    stage.play(2, 6)
    stage.play(6, 8, bare())
    stage.leave()
    assert len(stage.passages) == 2


def test_a_portrait_on_the_wall_is_unsure(stage: Stage) -> None:
    stage.play(0, 60, bare(frozen=True))
    stage.leave()
    assert [passage.label for passage in stage.passages] == [UNSURE]
    assert stage.violations == []


def test_a_man_who_sits_and_blinks_counts(stage: Stage) -> None:
    for step in range(40):
        stage.show(step / 5, bare(frozen=step % 8 != 3))
    stage.leave()
    assert [violation.label for violation in stage.violations] == ["no_mask"]
    assert stage.violations[0].started_at == 0


def test_who_stood_still_and_masks_as_she_first_moves_has_a_picture(stage: Stage) -> None:
    stage.play(0, 3, bare(frozen=True))
    stage.play(3, 6, masked())
    stage.leave()
    for violation in stage.violations:
        assert any(finding.snapshot for finding in stage.told(violation.key))  # type: ignore[union-attr]


def test_a_flicker_of_one_frame_is_nobody(stage: Stage) -> None:
    stage.play(0, 0.2, bare())
    stage.play(0.2, 4)
    stage.leave()
    assert stage.findings == []


def test_other_faces_in_a_snapshot_are_pixelated(stage: Stage) -> None:
    stage.play(0, 2, bare("a", 0.3), masked("b", 0.7))
    (violation,) = stage.violations
    snapshot = next(f.snapshot for f in stage.told(violation.key) if isinstance(f, ViolationFinding) and f.snapshot)
    own = snapshot.image_bgr[150:210, 162:222]
    other = snapshot.image_bgr[150:210, 418:478]
    assert len(np.unique(own.reshape(-1, 3), axis=0)) > 500 > 40 > len(np.unique(other.reshape(-1, 3), axis=0))


def test_the_picture_is_replaced_by_a_better_one(stage: Stage) -> None:
    stage.play(0, 2, bare(side=0.08))
    stage.play(2, 4, bare(side=0.14))
    pictures = [f.snapshot for f in stage.findings if isinstance(f, ViolationFinding) and f.snapshot]
    assert len(pictures) >= 2
    assert pictures[-1].box[2] - pictures[-1].box[0] > pictures[0].box[2] - pictures[0].box[0]


def test_an_earlier_frame_is_left_out(stage: Stage) -> None:
    stage.play(0, 2, bare())
    count = len(stage.findings)
    stage.show(1.0, bare("b", 0.2))
    assert len(stage.findings) == count


steps = st.lists(
    st.tuples(st.sampled_from(["mask", "no_mask", "incorrect", "torn", "gone"]), st.floats(0.05, 0.95)), max_size=40
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_whatever_happens_findings_are_consistent(script: list[tuple[str, float]]) -> None:
    stage = Stage()
    for number, (label, x) in enumerate(script):
        stage.show(number / 5, *([] if label == "gone" else [Actor("a", x, 0.5, label)]))
    stage.leave()
    finals: list[Finding] = [*stage.passages, *stage.violations]
    for final in finals:
        told = stage.told(final.key)
        assert [finding.seq for finding in told] == list(range(1, len(told) + 1))
        assert final.ended_at is not None and final.started_at <= final.ended_at
        assert all(finding.last_seen_at >= finding.started_at for finding in told)
    for violation in stage.violations:
        assert isinstance(stage.told(violation.key)[0], ViolationFinding)
        assert stage.told(violation.key)[0].snapshot is not None  # type: ignore[union-attr]
        assert violation.passage in {passage.key for passage in stage.passages}
        first_passage = next(i for i, f in enumerate(stage.findings) if f.key == violation.passage)
        assert isinstance(stage.findings[first_passage], PassageFinding)
        assert first_passage < next(i for i, f in enumerate(stage.findings) if f.key == violation.key)


def test_small_and_blurred_faces_do_not_vote() -> None:
    assert vote_weight(0.9, side_px=8, sharpness=0.3) == 0
    assert vote_weight(0.9, side_px=40, sharpness=0.01) == 0
    assert 0 < vote_weight(0.9, side_px=12, sharpness=0.3) < vote_weight(0.9, side_px=40, sharpness=0.3) <= 1


@given(st.lists(st.sampled_from(["mask", "no_mask"]), min_size=1, max_size=30))
def test_a_decision_follows_the_newest_steady_run(labels: list[str]) -> None:
    from detection import Detection
    from tests.detection.scenes import SCORES

    votes = Votes()
    for number, label in enumerate([*labels, *["mask"] * 12]):
        scores = dict(zip(("mask", "no_mask", "incorrect"), SCORES[label], strict=True))
        votes.cast_vote(Detection((0, 0, 1, 1), label, 0.9, scores), 40, 0.3, number / 5)
    assert votes.decision == "mask"


def times_told(stage: Stage) -> list[float]:
    violation = stage.violations[0]
    return [round(found.last_seen_at - violation.started_at, 1) for found in stage.told(violation.key)]


def test_who_stays_bare_is_told_again_every_second(stage: Stage) -> None:
    stage.play(0, 30, bare())
    told = times_told(stage)
    assert set(range(1, 30)) <= set(told)


def test_who_masks_in_time_is_not_told_of_for_a_reminder(stage: Stage) -> None:
    stage.play(0, 1.5, bare())
    stage.play(1.5, 20, masked())
    assert all(found.ended_at is None or found.ended_at < 2 for found in stage.told(stage.violations[0].key))
    assert max(times_told(stage)) < 4


def test_bare_again_in_the_same_spell_is_reminded_after_as_long_as_the_first_time(stage: Stage) -> None:
    """A flicker of the label does not count as two seconds without a mask, however long ago the spell began."""
    stage.play(0, 3, bare())
    stage.play(3, 6, masked())
    before = len(stage.told(stage.violations[0].key))
    stage.play(6, 11, bare())
    told = [found for found in stage.told(stage.violations[0].key)[before:] if isinstance(found, ViolationFinding)]
    stretch = [round(found.last_seen_at - found.bare_since, 1) for found in told]
    assert len(stage.violations) == 1 and told[0].ended_at is None
    assert told[0].bare_since == pytest.approx(6.0) and told[0].started_at == pytest.approx(0.0, abs=0.3)
    assert stretch[0] < 2.0 and 2.0 in stretch


def test_what_is_mostly_not_detected_is_never_accused(stage: Stage) -> None:
    """A door panel that the detector takes for a face now and then: the track goes on by itself in between."""
    for step in range(60):
        stage.show(step / 5, *([bare()] if step % 4 == 0 else []))
    stage.leave()
    assert stage.violations == []


def test_who_is_detected_two_times_in_three_is_accused_all_the_same(stage: Stage) -> None:
    for step in range(30):
        stage.show(step / 5, *([bare()] if step % 3 else []))
    assert [violation.label for violation in stage.violations] == ["no_mask"]
    assert stage.violations[0].opened_at <= 1.5


def test_what_is_not_found_again_from_nearby_is_accused_once_it_is(stage: Stage) -> None:
    stage.is_a_face = False
    stage.play(0, 3, bare())
    assert stage.violations == [] and [passage.label for passage in stage.passages] == ["no_mask"]
    stage.is_a_face = True
    stage.play(3, 4, bare())
    assert stage.violations[0].opened_at <= 3.5


def test_an_accusation_is_asked_about_once(stage: Stage) -> None:
    asked: list[float] = []
    stage.analyzer._detector.survives = lambda image, box: bool(asked.append(0.0)) or True  # type: ignore
    stage.play(0, 3, bare())
    stage.play(3, 10, masked())
    stage.play(10, 16, bare())
    assert len(asked) == 1 and len(stage.violations) == 2
