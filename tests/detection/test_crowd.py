"""In a crowd, tracks keep to their people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detection import Detector
from detection.features import FeatureOutput, Features
from tests.detection.crowd import follow
from tests.detection.scenes import Actor, Stage

SEEDS = (2, 3)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


def test_tracks_keep_to_their_people_where_many_cross(detector: Detector) -> None:
    every = [follow(detector, seed) for seed in SEEDS]
    print("seeds", SEEDS, every)
    people = sum(one.people for one in every)
    assert people >= 14
    assert sum(one.taken for one in every) <= people // 3  # by overlap and nearness alone, it was two of three
    assert np.mean([one.id_f1 for one in every]) >= 0.84


def test_two_who_cross_keep_their_tracks_though_their_boxes_overlap_the_other_way_round() -> None:
    stage = Stage()
    for step in range(20):
        share = step / 19
        stage.show(
            10 + step / 5, Actor("a", 0.2 + 0.6 * share, 0.5, "mask"), Actor("b", 0.8 - 0.6 * share, 0.5, "mask")
        )
    keys = {finding.key for finding in stage.passages}
    assert len(keys) == 2
    last = {sighting.key: sighting.box[0] for sighting in stage.analyzer.sightings()}
    first = {finding.key: finding.box[0] for finding in reversed(stage.findings)}
    assert sorted(last, key=lambda key: last[key]) == sorted(first, key=lambda key: -first[key])


def test_a_light_that_is_switched_on_ends_no_track() -> None:
    stage = Stage()
    stage.play(10, 12, Actor("a", 0.5, 0.5, "mask"))
    stage.play(12, 14, Actor("b", 0.5, 0.5, "mask"))  # all of its colours are others from here on
    assert len(stage.passages) == 1


def test_features_are_those_of_the_box_wherever_the_picture_lies_in_the_letterbox(detector: Detector) -> None:
    assert detector.manifest.features is not None
    wide = np.random.default_rng(4).integers(0, 255, (180, 320, 3), np.uint8)
    wide[60:120, 200:260] = (30, 60, 220)
    features = detector.look(wide).features
    assert features is not None
    assert features.columns == pytest.approx(40) and features.rows == pytest.approx(22.5)
    inside, beside = features.average((0.65, 0.37, 0.79, 0.62)), features.average((0.1, 0.37, 0.24, 0.62))
    assert np.linalg.norm(inside - beside) > 3 * np.linalg.norm(inside - features.average((0.66, 0.4, 0.78, 0.6)))
    assert np.linalg.norm(features.embedding((0.4, 0.3, 0.5, 0.5))) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(features.embedding((-0.2, -0.3, 1.4, 1.9))).all()  # a face that is larger than the picture


def test_a_model_without_features_is_followed_by_colours(detector: Detector) -> None:
    plain = Detector(replace(detector.manifest, features=None), detector._session, detector.confidence_threshold)
    assert plain.look(np.zeros((90, 160, 3), np.uint8)).features is None
    assert follow(plain, 3, count=3, seconds=5).id_f1 > 0.8


def test_usual_features_count_nothing() -> None:
    output = FeatureOutput("features", (2.0, 5.0), (1.0, 0.5))
    cells = np.asarray([[[2.0]], [[6.0]]], np.float32)
    embedding = Features.of(output, cells, (1.0, 1.0)).embedding((0.0, 0.0, 1.0, 1.0))
    assert embedding.tolist() == pytest.approx([0, 0.7071, 0, 0.7071], abs=1e-3)
