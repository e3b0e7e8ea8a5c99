"""The evaluator, checked against cases worked out by hand and against COCO's own."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given
from hypothesis import strategies as st

from detection import DataError, Detector, PictureError, read_picture
from detection.coco import Example, read_examples
from detection.detector import intersection_over_union
from detection.evaluation.calibration import fit, reliability, threshold_for
from detection.evaluation.near import make_near
from detection.evaluation.precision import match, rank
from detection.evaluation.report import NOT_FOUND, NOTHING, Evaluation, Found, evaluate
from detection.manifest import LABELS, Calibration

FACE = np.asarray([[10, 10, 50, 50]], np.float32)
ELSEWHERE = np.asarray([[200, 200, 240, 240]], np.float32)


def scores(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)


def example(boxes: np.ndarray, labels: list[str], ignored: np.ndarray | None = None, width: int = 640) -> Example:
    given_labels = np.asarray([LABELS.index(label) for label in labels], np.int64)
    nothing = np.zeros((0, 4), np.float32)
    return Example(Path("a.jpg"), width, 360, boxes, given_labels, ignored=nothing if ignored is None else ignored)


def evaluation(*found: Found) -> Evaluation:
    return Evaluation(Detector.load(confidence_threshold=0.5), list(found), [])


def found(example: Example, boxes: np.ndarray, labels: list[str], values: np.ndarray) -> Found:
    return Found(example, boxes, np.asarray([LABELS.index(label) for label in labels], np.int64), values)


def test_all_right_is_one_and_all_wrong_is_nothing() -> None:
    assert rank([FACE], [scores(0.9)], [FACE]).average_precision == 1
    assert rank([ELSEWHERE], [scores(0.9)], [FACE]).average_precision == 0
    assert rank([FACE[:0]], [scores()], [FACE]).average_precision == 0


def test_without_a_face_there_is_nothing_to_say() -> None:
    assert rank([FACE], [scores(0.9)], [FACE[:0]]).average_precision is None


def test_two_faces_and_three_boxes_by_hand() -> None:
    # right at 0.9 (precision 1, recall 1/2), wrong at 0.8, right at 0.7 (precision 2/3, recall 1): 1/2 + 1/2 * 2/3
    known = np.concatenate([FACE, ELSEWHERE])
    boxes = np.concatenate([FACE, FACE + 100, ELSEWHERE])
    assert rank([boxes], [scores(0.9, 0.8, 0.7)], [known]).average_precision == pytest.approx(1 / 2 + 1 / 3)


def test_the_second_box_of_one_face_is_wrong() -> None:
    ranked = rank([np.concatenate([FACE, FACE + 2])], [scores(0.6, 0.9)], [FACE])
    assert ranked.right.tolist() == [True, False]
    assert ranked.scores.tolist() == pytest.approx([0.9, 0.6])


def test_a_box_takes_the_face_that_it_overlaps_most() -> None:
    faces = np.asarray([[0, 0, 40, 40], [10, 0, 50, 40]], np.float32)
    assert match(faces[[1, 0]], faces, 0.5).tolist() == [1, 0]


def test_what_is_found_on_an_ignored_place_counts_as_nothing() -> None:
    both = np.concatenate([ELSEWHERE, FACE])
    assert rank([both], [scores(0.9, 0.8)], [FACE]).average_precision == pytest.approx(0.5)
    assert rank([both], [scores(0.9, 0.8)], [FACE], ignored=[ELSEWHERE]).average_precision == 1


@st.composite
def pictures(draw: st.DrawFn) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Known faces, and boxes near them or anywhere, for one to six pictures."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    known, boxes, values = [], [], []
    for _ in range(draw(st.integers(1, 6))):
        corner = rng.uniform(0, 400, (rng.integers(0, 8), 2))
        faces = np.concatenate([corner, corner + rng.uniform(10, 90, corner.shape)], 1)
        near = faces[rng.random(len(faces)) < 0.8]
        near = near + rng.normal(0, 6, near.shape)
        far = rng.uniform(0, 400, (rng.integers(0, 6), 2))
        every = np.concatenate([near, np.concatenate([far, far + rng.uniform(10, 90, far.shape)], 1)])
        every[:, 2:] = np.maximum(every[:, 2:], every[:, :2] + 1)
        known.append(faces.astype(np.float32))
        boxes.append(every.astype(np.float32))
        values.append(rng.random(len(every)).astype(np.float32))
    return known, boxes, values


def pycocotools_ap(known: list[np.ndarray], boxes: list[np.ndarray], values: list[np.ndarray]) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def row(picture: int, box: np.ndarray) -> dict[str, object]:
        x1, y1, x2, y2 = (float(value) for value in box)
        area = (x2 - x1) * (y2 - y1)
        return {"image_id": picture, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area, "iscrowd": 0}

    truth = COCO()
    rows = [row(picture, box) for picture, faces in enumerate(known) for box in faces]
    truth.dataset = {
        "images": [{"id": picture} for picture in range(len(known))],
        "categories": [{"id": 1, "name": "face"}],
        "annotations": [each | {"id": index} for index, each in enumerate(rows, 1)],
    }
    results = [
        row(picture, box) | {"score": float(value)}
        for picture, (own, scored) in enumerate(zip(boxes, values, strict=True))
        for box, value in zip(own, scored, strict=True)
    ]
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        check = COCOeval(truth, truth.loadRes(results), "bbox")
        check.evaluate()
        check.accumulate()
    precision = check.eval["precision"][0, :, 0, 0, -1]
    return float(precision.mean())


@given(pictures())
def test_average_precision_is_cocos_but_for_its_101_points(
    case: tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]],
) -> None:
    """COCO samples its curve at 101 recalls, we at every rank: on few faces they differ by up to one step."""
    known, boxes, values = case
    ours = rank(boxes, values, known).average_precision
    if ours is None or not sum(len(each) for each in boxes):
        return
    assert ours == pytest.approx(pycocotools_ap(known, boxes, values), abs=0.011)


def test_on_a_thousand_faces_average_precision_is_cocos_within_half_a_point() -> None:
    rng = np.random.default_rng(7)
    known, boxes, values = [], [], []
    for _ in range(250):
        corner = rng.uniform(0, 400, (4, 2))
        faces = np.concatenate([corner, corner + rng.uniform(20, 80, (4, 2))], 1)
        kept = faces[rng.random(4) < 0.85]
        wrong = faces[rng.random(4) < 0.3] + 150
        every = np.concatenate([kept + rng.normal(0, 4, kept.shape), wrong]).astype(np.float32)
        known.append(faces.astype(np.float32))
        boxes.append(every)
        values.append((rng.random(len(every)) * np.where(np.arange(len(every)) < len(kept), 1, 0.7)).astype(np.float32))
    ours = rank(boxes, values, known).average_precision
    assert ours == pytest.approx(pycocotools_ap(known, boxes, values), abs=0.005)
    assert ours is not None and 0.3 < ours < 0.95


def test_the_confusion_table_counts_incorrect_the_missed_and_the_made_up() -> None:
    known = np.concatenate([FACE, FACE + 100, ELSEWHERE])
    picture = example(known, ["incorrect", "mask", "no_mask"])
    boxes = np.concatenate([FACE, FACE + 100, FACE + 300])
    table = evaluation(found(picture, boxes, ["mask", "mask", "no_mask"], scores(0.9, 0.8, 0.7))).confusion()
    assert table["incorrect"] == {"no_mask": 0, "mask": 1, "incorrect": 0, NOT_FOUND: 0}
    assert table["mask"]["mask"] == 1
    assert table["no_mask"][NOT_FOUND] == 1
    assert table[NOTHING] == {"no_mask": 1, "mask": 0, "incorrect": 0, NOT_FOUND: 0}


def test_face_is_no_mask_and_incorrect_together() -> None:
    picture = example(FACE, ["incorrect"])
    result = evaluation(found(picture, FACE, ["no_mask"], scores(0.9))).average_precisions(0.5)
    assert result["face"] == 1
    assert result["incorrect"] == 0
    assert result["any"] == 1
    assert result["mask"] is None


def test_a_set_of_two_labels_says_what_a_mask_worn_wrongly_counts_as() -> None:
    """Both are detected as incorrect: one is labelled as a mask, the other as incorrect."""
    two = example(np.concatenate([FACE, ELSEWHERE]), ["mask", "incorrect"])
    figures = evaluation(found(two, two.boxes, ["incorrect", "incorrect"], scores(0.9, 0.8)))
    assert figures.average_precisions(0.5)["mask"] == 0
    as_masks = figures.merged("mask").average_precisions(0.5)
    assert (as_masks["mask"], as_masks["face"], as_masks["any"]) == (1, None, 1)
    as_bare = figures.merged("no_mask").average_precisions(0.5)
    assert as_bare["mask"] == 0 and as_bare["face"] == pytest.approx(0.5)


def test_a_reference_without_a_label_is_not_measured_by_it() -> None:
    reference = Detector.load("models/aizoo-260.json")
    result = Evaluation(reference, [found(example(FACE, ["incorrect"]), FACE, ["no_mask"], scores(0.9))], [])
    assert result.average_precisions(0.5)["incorrect"] is None
    assert result.average_precisions(0.5)["face"] == 1


def test_by_size_a_face_of_another_size_is_neither_right_nor_wrong() -> None:
    large = np.asarray([[100, 100, 300, 300]], np.float32)
    picture = example(np.concatenate([FACE, large]), ["no_mask", "no_mask"])
    result = evaluation(found(picture, np.concatenate([FACE, large]), ["no_mask"] * 2, scores(0.9, 0.4))).by_size()
    assert (result["32-96"]["faces"], result["32-96"]["ap50"], result["32-96"]["recall"]) == (1, 1.0, 1.0)
    assert (result[">96"]["faces"], result[">96"]["ap50"], result[">96"]["recall"]) == (1, 1.0, 0.0)
    assert (result["<16"]["faces"], result["<16"]["ap50"]) == (0, None)


def test_misses_come_largest_first_and_false_alarms_surest_first() -> None:
    large = np.asarray([[100, 100, 300, 300]], np.float32)
    picture = example(np.concatenate([FACE, large]), ["no_mask", "no_mask"])
    wrong = np.concatenate([ELSEWHERE + 200, ELSEWHERE + 300])
    result = evaluation(found(picture, wrong, ["mask", "mask"], scores(0.6, 0.9)))
    assert [miss[2] for miss in result.misses()] == [200, 40]
    assert [alarm[2] for alarm in result.false_alarms()] == pytest.approx([0.9, 0.6])


def test_calibration_makes_what_it_says_true() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.05, 0.95, 20_000)
    right = rng.random(20_000) < truth
    too_sure = Calibration(temperature=0.5, shift=1.0).confidence(truth.astype(np.float32)).astype(float)
    before = reliability(too_sure, right)
    fitted = fit(too_sure, right)
    after = reliability(fitted.confidence(too_sure.astype(np.float32)).astype(float), right)
    assert before.expected_error > 0.08
    assert after.expected_error < 0.02


@given(st.floats(0.01, 0.99), st.floats(0.2, 5), st.floats(-3, 3))
def test_a_confidence_goes_back_to_its_score(score: float, temperature: float, shift: float) -> None:
    calibration = Calibration(temperature, shift)
    confidence = float(calibration.confidence(np.asarray([score], np.float32))[0])
    if 0.001 < confidence < 0.999:
        assert calibration.score(confidence) == pytest.approx(score, abs=0.01)


def test_the_threshold_leaves_as_many_false_alarms_as_it_may() -> None:
    rows = [found(example(FACE, ["no_mask"]), ELSEWHERE, ["mask"], scores(value / 100)) for value in range(1, 100)]
    result = evaluation(*rows)
    threshold = threshold_for(result, 0.1)
    shown = sum(value / 100 >= threshold for value in range(1, 100))
    assert 0.89 <= threshold <= 0.91
    assert shown <= 10


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    """A folder with one portrait, a file that is not a picture, and their boxes."""
    from skimage import data

    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "astronaut.png"), data.astronaut()[..., ::-1])
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    content = {
        "images": [
            {"id": 1, "file_name": "astronaut.png", "width": 512, "height": 512},
            {"id": 2, "file_name": "broken.jpg", "width": 640, "height": 360},
        ],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [179, 62, 95, 114]}],
        "categories": [{"id": 1, "name": "no_mask"}, {"id": 2, "name": "mask"}, {"id": 3, "name": "incorrect"}],
    }
    (tmp_path / "set.json").write_text(json.dumps(content))
    return tmp_path


def command(folder: Path, *arguments: str) -> str:
    out = io.StringIO()
    call_command("evaluate", str(folder / "set.json"), "--images", str(folder / "images"), *arguments, stdout=out)
    return out.getvalue()


def test_evaluate_prints_one_json_object_with_the_reference_beside(portrait: Path) -> None:
    result = json.loads(command(portrait, "--reference", "models/aizoo-260.json", "--json"))
    assert set(result["model"]["ap50"]) == {"face", "mask", "no_mask", "incorrect", "any"}
    assert result["model"]["ap50"]["face"] == 1
    assert result["reference"]["ap50"]["any"] == 1
    assert result["model"]["pictures"] == 1
    assert "broken.jpg" in result["model"]["unread"][0]
    assert json.loads(command(portrait, "--json"))["reference"] is None


def test_evaluate_counts_incorrect_as_the_sets_other_label(portrait: Path) -> None:
    plain, merged = (json.loads(command(portrait, "--json", *more)) for more in ((), ("--incorrect-is", "no_mask")))
    assert merged["model"]["faces"]["incorrect"] == 0
    assert merged["model"]["faces"]["no_mask"] == sum(
        plain["model"]["faces"][each] for each in ("no_mask", "incorrect")
    )
    with pytest.raises(CommandError, match="invalid choice"):
        command(portrait, "--incorrect-is", "any")


def test_evaluate_writes_curves_and_the_worst_errors(portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = command(portrait, "--reference", "models/aizoo-260.json", "--out", str(out))
    assert "AP50" in text and "not found" in text
    assert read_picture(out / "precision.png").shape[1] > 800
    assert read_picture(out / "worst.jpg").shape[1] == 1600
    points = json.loads((out / "precision.json").read_text())
    assert points["face"]["aizoo-260"]["recall"][-1] == 1


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "set.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "set.json").write_text("{}"), "'categories' is missing"),
        (lambda folder: (folder / "set.json").write_text("[]"), "does not fit"),
        (lambda folder: (folder / "set.json").unlink(), "cannot be read"),
        (lambda folder: [each.unlink() for each in (folder / "images").iterdir()], "is empty"),
        (lambda folder: (folder / "images").rename(folder / "elsewhere"), "There is no folder"),
        (lambda folder: (folder / "images/astronaut.png").unlink(), "None of the pictures can be read"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_a_sentence(portrait: Path, spoil: object, sentence: str) -> None:
    assert callable(spoil)
    spoil(portrait)
    with pytest.raises(CommandError, match=sentence):
        command(portrait)


@pytest.mark.parametrize("size", ["100", "0", "4096"])
def test_a_size_that_no_model_takes_is_refused(portrait: Path, size: str) -> None:
    with pytest.raises(CommandError, match="multiple of 32"):
        command(portrait, "--size", size)


def test_boxes_that_cannot_be_are_mended_and_told(portrait: Path) -> None:
    content = json.loads((portrait / "set.json").read_text())
    row = content["annotations"][0]
    content["annotations"] += [
        row | {"id": 2, "bbox": [600, 600, 50, 50]},
        row | {"id": 3, "bbox": [10, 10, 0, 50]},
        row | {"id": 4, "bbox": [-50, 300, 100, 100]},
        row | {"id": 5, "image_id": 77},
        row | {"id": 6, "bbox": [300, 300, 90, 90], "iscrowd": 1},
    ]
    (portrait / "set.json").write_text(json.dumps(content))
    result = json.loads(command(portrait, "--json"))
    told = " ".join(result["faults"])
    assert "1 boxes lie outside their picture and were left out (the first is annotation 2)" in told
    assert "1 boxes have no area and were left out (the first is annotation 3)" in told
    assert "1 boxes reach outside their picture and were cut (the first is annotation 4)" in told
    assert "1 boxes belong to no picture and were left out (the first is annotation 5)" in told
    assert result["model"]["faces"]["no_mask"] == 2


def test_a_picture_of_another_size_than_its_boxes_are_for_is_left_out(portrait: Path) -> None:
    content = json.loads((portrait / "set.json").read_text())
    content["images"][0]["width"] = 1024
    (portrait / "set.json").write_text(json.dumps(content))
    with pytest.raises(CommandError, match="astronaut.png is 512x512, its boxes are for 1024x512"):
        command(portrait)


def test_the_detector_says_the_same_as_the_evaluation(portrait: Path) -> None:
    examples = read_examples(portrait / "set.json", portrait / "images").rows
    result = evaluate(Detector.load(), examples[:1])
    assert intersection_over_union(result.found[0].boxes[:1], examples[0].boxes)[0, 0] > 0.5
    assert result.found[0].confidences.min() >= 0.002
    with pytest.raises(PictureError):
        from detection import read_picture

        read_picture(examples[1].path)


def test_faces_sorted_by_hand_and_by_light_have_their_own_figures(portrait: Path) -> None:
    groups = portrait / "groups.json"
    groups.write_text(json.dumps({"groups": {"turn": {"frontal": [1], "profile": []}}}))
    result = json.loads(command(portrait, "--groups", str(groups), "--json"))
    assert result["by_group"]["turn"]["frontal"] == {"faces": 1, "recall": 1.0, "label_right": 1.0}
    assert result["by_group"]["turn"]["profile"] == {"faces": 0, "recall": None, "label_right": None}
    assert sum(row["faces"] for row in result["model"]["by_light"].values()) == 1
    assert "frontal" in command(portrait, "--groups", str(groups))
    groups.write_text("[]")
    with pytest.raises(CommandError, match="groups.json does not sort faces"):
        command(portrait, "--groups", str(groups))


def bench(*arguments: str) -> dict[str, dict[str, object]]:
    out = io.StringIO()
    call_command("bench", "detector", "--rounds", "2", "--json", *arguments, stdout=out)
    return dict(json.loads(out.getvalue()))


def test_bench_measures_ours_by_size_and_leaves_out_a_reference_that_is_not_given() -> None:
    figures = bench()
    assert set(figures) == {"320", "512"}
    for row in figures.values():
        for name in ("float_ms", "int8_ms", "shipped_ms", "pre_ms", "post_ms"):
            measured = row[name]
            assert isinstance(measured, float) and measured > 0
        assert row["reference_ort_ms"] is None and row["reference_xnnpack_ms"] is None


def test_bench_measures_the_reference_in_both_of_its_runtimes(shared: Path) -> None:
    row = bench("--reference", str(shared / "reference" / "face_mask_detection.tflite"), "--rounds", "6")["320"]
    spread = row["spread_ms"]  # its lower quartiles: beside other tests, the machine is busy in some rounds
    assert isinstance(spread, dict)
    ours = spread["float"][0]  # by the whole look, as the reference looks
    for name in ("reference_ort", "reference_xnnpack"):
        assert isinstance(row[f"{name}_ms"], float) and spread[name][0] > 2 * ours > 0


def test_a_reference_that_is_none_is_refused(portrait: Path) -> None:
    with pytest.raises(CommandError, match="set.json cannot be loaded"):
        bench("--reference", str(portrait / "set.json"))
    with pytest.raises(CommandError, match="--rounds must be a number"):
        call_command("bench", "detector", "--rounds", "0")


def test_each_combination_of_looks_is_measured_in_one_table(portrait: Path) -> None:
    rows = {row["name"]: row for row in json.loads(command(portrait, "--looks", "--json"))}
    assert list(rows) == ["320", "320 + near", "320 + near + far", "512", "512 + near", "512 + near + far", "640"]
    assert all(row["face"] == 1 and row["ms"] > 0 for row in rows.values()), "the portrait is found by each"
    assert rows["320"]["mask"] is None and rows["320"]["over_half"] is None
    assert "over half" in command(portrait, "--looks")


def test_close_ups_are_made_of_large_faces_and_hold_them_where_they_say(portrait: Path, tmp_path: Path) -> None:
    examples = read_examples(portrait / "set.json", portrait / "images").rows
    made = make_near(examples, tmp_path / "made", seed=3)
    (close,) = made
    x1, y1, x2, y2 = close.boxes[0]
    assert 0.38 * 480 <= max(x2 - x1, y2 - y1) <= 480 and close.labels.tolist() == [LABELS.index("no_mask")]
    result = evaluate(Detector.load(), made)
    assert result.average_precisions(0.5)["face"] == 1, "the near look finds it where it is said to be"
    with pytest.raises(DataError, match="No face is 96 px or larger"):
        make_near([replace(examples[0], boxes=(examples[0].boxes / 10).astype(np.float32))], tmp_path / "made", seed=3)


def test_what_is_held_out_is_a_share(portrait: Path) -> None:
    with pytest.raises(CommandError, match="--held-out must be a share"):
        command(portrait, "--held-out", "1.5")


def test_faces_longer_than_half_of_the_picture_have_a_row() -> None:
    whole = example(np.asarray([[0, 0, 400, 300]], np.float32), ["mask"])
    half = example(np.asarray([[0, 0, 200, 300]], np.float32), ["mask"])
    rows = [evaluation(found(each, each.boxes, ["mask"], scores(0.9))).by_size()["over half"] for each in (whole, half)]
    assert [row["faces"] for row in rows] == [1, 0] and rows[0]["ap50"] == 1


def test_what_being_found_again_removes_is_measured(portrait: Path) -> None:
    rows = json.loads(command(portrait, "--evidence", "--json"))
    assert [(row["faces"], row["faces_left"], row["made_up"]) for row in rows] == [(0, 0, 0), (0, 0, 0), (1, 1, 0)]
    assert "made up" in command(portrait, "--evidence")
