from __future__ import annotations

import contextlib
import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detection import Detector, ModelError, PictureError, decode_picture, draw, read_picture
from detection.detector import intersection_over_union, prepare, suppress
from detection.manifest import MODELS, ModelInput, read_manifest
from detection.pictures import check_scans

corner = st.floats(0, 300, width=32)
side = st.floats(1, 200, width=32)
boxes = st.lists(st.tuples(corner, corner, side, side), min_size=1, max_size=30).map(
    lambda rows: np.asarray([(x, y, x + w, y + h) for x, y, w, h in rows], np.float32)
)


@pytest.fixture(params=["default", "aizoo-260"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return Detector.load(MODELS / f"{request.param}.json")


def test_both_kinds_of_models_find_the_bare_astronaut(detector: Detector, astronaut: np.ndarray) -> None:
    (found,) = detector.detect(astronaut)
    assert found.label == "no_mask"
    assert found.confidence == max(found.scores.values()) > 0.8
    expected = np.asarray([[179, 62, 274, 176]], np.float32) / np.float32(512)
    assert intersection_over_union(np.asarray([found.box], np.float32), expected)[0, 0] > 0.5


def test_a_box_is_relative_to_a_wide_picture_of_any_size(detector: Detector, astronaut: np.ndarray) -> None:
    wide = np.full((512, 1300, 3), 120, np.uint8)
    wide[:, 700:1212] = astronaut
    found = detector.detect(wide)[0]
    assert 0.60 < (found.box[0] + found.box[2]) / 2 < 0.80


def test_a_plain_wall_holds_nobody(detector: Detector) -> None:
    assert detector.detect(np.full((720, 1280, 3), 200, np.uint8)) == []


def test_detect_leaves_the_picture_as_it_was(detector: Detector, astronaut: np.ndarray) -> None:
    before = astronaut.copy()
    detector.detect(astronaut)
    assert np.array_equal(before, astronaut)


def test_a_higher_threshold_finds_less(astronaut: np.ndarray) -> None:
    assert Detector.load(confidence_threshold=0.9999).detect(astronaut) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        Detector.load(confidence_threshold=1.5)


def test_two_people_side_by_side_are_two() -> None:
    """Read as x, y, w, h these boxes would overlap; as x1, y1, x2, y2 they do not touch."""
    pair = np.asarray([[100, 100, 160, 180], [165, 100, 225, 180]], np.float32)
    assert sorted(suppress(pair, np.asarray([0.9, 0.8], np.float32), 0.45)) == [0, 1]


def test_one_face_with_two_labels_is_one() -> None:
    pair = np.asarray([[100, 100, 160, 180], [102, 101, 161, 182]], np.float32)
    assert list(suppress(pair, np.asarray([0.7, 0.8], np.float32), 0.45)) == [1]


@given(boxes, st.randoms(use_true_random=False))
def test_suppression_keeps_the_best_and_no_two_that_overlap(boxes_px: np.ndarray, random: object) -> None:
    confidences = np.linspace(0.99, 0.3, len(boxes_px), dtype=np.float32)
    np.random.default_rng(len(boxes_px)).shuffle(confidences)
    kept = suppress(boxes_px, confidences, 0.45)
    assert kept[0] == confidences.argmax()
    overlaps = intersection_over_union(boxes_px[kept], boxes_px[kept])
    assert (overlaps[~np.eye(len(kept), dtype=bool)] <= 0.45).all()
    dropped = np.setdiff1d(np.arange(len(boxes_px)), kept)
    for index in dropped:
        better = kept[confidences[kept] >= confidences[index]]
        assert intersection_over_union(boxes_px[[index]], boxes_px[better]).max() > 0.45


@given(boxes, boxes)
def test_intersection_over_union_is_symmetric_and_bounded(a: np.ndarray, b: np.ndarray) -> None:
    ab = intersection_over_union(a, b)
    assert ((ab >= 0) & (ab <= 1 + 1e-6)).all()
    assert np.allclose(ab, intersection_over_union(b, a).T)
    assert np.allclose(np.diag(intersection_over_union(a, a)), 1)


@given(st.integers(2, 2500), st.integers(2, 2500))
def test_letterbox_fits_any_picture_into_multiples_of_32(width: int, height: int) -> None:
    wanted = ModelInput("image", "NCHW", "BGR", (0, 255), "letterbox", longer_side=320, multiple_of=32)
    tensor, (factor_x, factor_y) = prepare(np.zeros((height, width, 3), np.uint8), wanted)
    _, _, inner_h, inner_w = tensor.shape
    assert inner_h % 32 == 0 == inner_w % 32 and max(inner_h, inner_w) == 320
    assert width * factor_x <= inner_w + 1e-6 and height * factor_y <= inner_h + 1e-6


def test_drawing_leaves_the_picture_and_marks_the_box(detector: Detector, astronaut: np.ndarray) -> None:
    before = astronaut.copy()
    drawn = draw(astronaut, detector.detect(astronaut))
    assert np.array_equal(before, astronaut) and not np.array_equal(drawn, astronaut)


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the default model that a test may damage; returns the manifest's path."""
    for name in ("default.json", "default.onnx"):
        shutil.copy(MODELS / name, tmp_path / name)
    return tmp_path / "default.json"


def spoil(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"kind": "yolo"}, "known are points, ssd"),
        ({"labels": ["mask", "beard"]}, "beard"),
        ({"labels": ["mask", "no_mask"]}, "promises"),
        ({"outputs": {"boxes": "boxes", "scores": "marks"}}, "gives no marks"),
        ({"outputs": {"boxes": "scores", "scores": "boxes"}}, "promises"),
        ({"confidence_threshold": 7}, "between 0 and 1"),
        ({"input": {"name": "picture", "layout": "NCHW", "channels": "BGR", "range": [0, 255], "resize": "letterbox",
                    "longer_side": 320, "multiple_of": 32}}, "not picture"),
        ({"input": {"name": "image", "layout": "NHWC", "channels": "BGR", "range": [0, 255], "resize": "letterbox",
                    "longer_side": 320, "multiple_of": 32}}, "does not take"),
        ({"input": {"name": "image"}}, "lacks"),
        ({"input": 7}, "does not fit"),
    ],
)  # fmt: skip
def test_a_manifest_that_lies_is_refused_with_the_reason(copied: Path, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        Detector.load(spoil(copied, **changes))


def test_a_model_file_cut_short_is_refused(copied: Path) -> None:
    model = copied.with_suffix(".onnx")
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(ModelError, match="sha256"):
        Detector.load(model)


def test_wrong_anchors_are_refused(tmp_path: Path) -> None:
    for name in ("aizoo-260.json", "aizoo-260.onnx"):
        shutil.copy(MODELS / name, tmp_path / name)
    path = tmp_path / "aizoo-260.json"
    anchors = json.loads(path.read_text())["anchors"] | {"maps": [[33, 33], [17, 17], [9, 9], [5, 5], [2, 3]]}
    with pytest.raises(ModelError, match="anchors"):
        Detector.load(spoil(path, anchors=anchors))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": 3}'])
def test_a_manifest_that_is_none_is_refused(copied: Path, content: str) -> None:
    copied.write_text(content)
    with pytest.raises(ModelError, match="manifest default.json"):
        read_manifest(copied)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no manifest .*nothing.json"):
        Detector.load(tmp_path / "nothing.onnx")


@pytest.mark.parametrize(
    "image", [np.zeros((10, 10), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 5, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(PictureError):
        Detector.load().detect(image)


def test_a_picture_that_is_not_one_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"no picture at all", b"\xff\xd8\xff\xe0" + b"\0" * 50 + b"\xff\xd9"):
        with pytest.raises(PictureError, match="not a picture"):
            decode_picture(content)
    with pytest.raises(PictureError, match=r"gone\.jpg cannot be read"):
        read_picture(tmp_path / "gone.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_picture_that_is_cut_is_told_as_cut(suffix: str, astronaut: np.ndarray, tmp_path: Path) -> None:
    data = bytes(cv2.imencode(suffix, astronaut)[1])
    (tmp_path / f"part{suffix}").write_bytes(data[: len(data) * 95 // 100])
    with pytest.raises(PictureError, match=f"part{suffix} is cut"):
        read_picture(tmp_path / f"part{suffix}")


def test_a_jpeg_with_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    """Each scan is decoded over the whole picture: 300 KB of them took a worker 70 seconds."""
    plain = bytes(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    scan = plain[plain.rindex(b"\xff\xda") : -2]
    slow = plain[:-2] + 12_000 * scan + plain[-2:]
    began = time.monotonic()
    with pytest.raises(PictureError, match="scans: too many"):
        decode_picture(slow)
    assert time.monotonic() - began < 0.5
    assert decode_picture(plain).shape == (64, 64, 3)


def test_fewer_scans_are_allowed_of_a_large_picture() -> None:
    """One of 4K has 130 times the pixels of a small one, and takes as much longer to decode."""
    plain = bytes(cv2.imencode(".jpg", np.zeros((2160, 3840, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    check_scans(plain)
    scan = plain[plain.rindex(b"\xff\xda") : -2]
    with pytest.raises(PictureError, match="scans: too many for its size"):
        check_scans(plain[:-2] + 80 * scan + plain[-2:])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_changed_in_a_jpeg_it_is_decoded_or_refused_within_a_second(data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from([0, 1]))
    picture = np.random.default_rng(7).integers(0, 255, (120, 160, 3), np.uint8)
    jpeg = bytearray(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, mode])[1])
    for _ in range(data.draw(st.integers(0, 8))):
        at, kind = data.draw(st.integers(0, len(jpeg) - 1)), data.draw(st.sampled_from(["set", "cut", "twice"]))
        if kind == "set":
            jpeg[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del jpeg[at : at + data.draw(st.integers(1, 200))]
        else:
            jpeg[at:at] = jpeg[at : at + data.draw(st.integers(1, 3000))]
        if not jpeg:
            break
    began = time.thread_time()
    with contextlib.suppress(PictureError):
        assert decode_picture(bytes(jpeg)).ndim == 3
    assert time.thread_time() - began < 1


def test_a_picture_too_small_for_any_face_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(PictureError, match="dot.png has 1 x 1 pixels"):
        read_picture(tmp_path / "dot.png")


def test_a_picture_of_50_megapixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (8000, 6250)).save(path)
    with pytest.raises(PictureError, match="megapixels"):
        read_picture(path)
