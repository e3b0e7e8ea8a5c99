"""A tiny training run: the loss falls, the exported model gives the same results, and bad input loses nothing."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs requirements-train.txt")

from detection import DetectionError, Detector  # noqa: E402
from detection.coco import Example, hold_out, near_same, read_examples  # noqa: E402
from detection.errors import DataError, ModelError  # noqa: E402
from detection.manifest import LABELS  # noqa: E402
from detection.training.assign import assign, pairwise_iou  # noqa: E402
from detection.training.augment import UNKNOWN, Faces, Recipe, compose, place  # noqa: E402
from detection.training.blend import average, blended, unfolded  # noqa: E402
from detection.training.dataset import Scenes, faces_of, forgiving  # noqa: E402
from detection.training.drawing import put_accessory, put_mask  # noqa: E402
from detection.training.export import to_onnx, write_manifest  # noqa: E402
from detection.training.first import first_weights  # noqa: E402
from detection.training.loop import TrainingSettings, held_out_precision, train  # noqa: E402
from detection.training.loss import batch_loss, eiou_loss  # noqa: E402
from detection.training.network import Network, anchor_points, folded, load_folded, scores, settle  # noqa: E402
from detection.training.prior import adjusted, shifted  # noqa: E402
from detection.training.quantize import quantize  # noqa: E402
from detection.training.teacher import Seen, Teacher, nobody  # noqa: E402

SEED = 11
NO_MASK, MASK, INCORRECT = range(3)


class Silent:
    """A progress reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.losses: list[float] = []

    def step(self, epoch: int, done: float, left_s: float, loss: float) -> None:
        assert 0 <= done <= 1 and left_s >= 0
        self.losses.append(loss)

    def told(self, sentence: str) -> None:
        self.sentences.append(sentence)


def paint_face(image: np.ndarray, x: int, y: int, side: int, label: int) -> None:
    """A face as a child would draw it: skin, eyes, and a mouth or a mask."""
    centre, axes = (x + side // 2, y + side // 2), (side // 2, side * 5 // 8)
    cv2.ellipse(image, centre, axes, 0, 0, 360, (120, 160, 220), -1)
    for eye in (-1, 1):
        cv2.circle(image, (centre[0] + eye * side // 5, centre[1] - side // 8), max(1, side // 14), (30, 30, 30), -1)
    if label == NO_MASK:
        cv2.ellipse(image, (centre[0], centre[1] + side // 4), (side // 5, side // 12), 0, 0, 180, (40, 40, 160), 2)
    else:
        top = centre[1] + (0 if label == MASK else side // 5)
        cv2.rectangle(image, (x + side // 8, top), (x + side * 7 // 8, y + side), (230, 200, 150), -1)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of painted faces, with their boxes."""
    folder = tmp_path_factory.mktemp("painted")
    (folder / "images").mkdir()
    rng = np.random.default_rng(SEED)
    print("seed", SEED)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for key in range(1, 21):
        picture = np.full((240, 320, 3), rng.integers(60, 200, 3), np.uint8)
        picture = np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
        for slot in range(2):
            side, label = int(rng.integers(40, 90)), int(rng.integers(0, 3))
            x, y = slot * 160 + int(rng.integers(5, 60)), int(rng.integers(20, 110))
            paint_face(picture, x, y, side, label)
            box = [x, y - side // 8, side, side * 5 // 4]
            row = {"id": len(annotations) + 1, "image_id": key, "category_id": label + 1, "bbox": box}
            annotations.append(row | {"area": box[2] * box[3], "iscrowd": 0})
        cv2.imwrite(str(folder / "images" / f"{key}.jpg"), picture)
        images.append({"id": key, "file_name": f"{key}.jpg", "width": 320, "height": 240})
    categories = [{"id": index, "name": name} for index, name in enumerate(LABELS, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "set.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def trained(painted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `manage.py train` makes of them in a few epochs."""
    out = tmp_path_factory.mktemp("run")
    run(painted, out, "--epochs", "24", "--learning-rate", "0.01", "--workers", "1")
    return out


def run(painted: Path, out: Path, *arguments: str) -> None:
    call_command(
        "train",
        "--data", str(painted / "set.json"),
        "--images", str(painted / "images"),
        "--out", str(out),
        "--batch", "4",
        "--hold-out", "0.2",
        "--seed", str(SEED),
        "--workers", "0",
        *arguments,
        stdout=io.StringIO(),
    )  # fmt: skip


def read_curve(out: Path) -> list[dict[str, str]]:
    with (out / "curve.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_loss_falls(trained: Path) -> None:
    rows = read_curve(trained)
    first, last = (float(row["face"]) + 5 * float(row["box"]) + float(row["label"]) for row in (rows[0], rows[-1]))
    assert last < 0.6 * first
    assert float(rows[-1]["ap50_any"]) > 0.2  # on two dozen painted faces, after a hundred steps


@pytest.mark.slow
def test_a_run_leaves_a_model_its_int8_copy_and_its_curves(trained: Path) -> None:
    model = Detector.load(trained / "model.json")
    assert model.manifest.labels == LABELS
    assert 0.05 <= model.confidence_threshold <= 0.95
    small = Detector.load(trained / "model.int8.json")
    assert small.manifest.path.stat().st_size < 0.75 * model.manifest.path.stat().st_size
    assert model.manifest.path.stat().st_size < 1_500_000
    for name in ("curve.png", "reliability.png"):
        assert cv2.imread(str(trained / name)) is not None


@pytest.mark.slow
def test_the_held_out_pictures_can_be_evaluated(trained: Path, painted: Path) -> None:
    held = read_examples(trained / "held-out.json", painted / "images")
    assert 1 <= len(held) <= 4
    out = io.StringIO()
    call_command(
        "evaluate", str(trained / "held-out.json"), "--images", str(painted / "images"), "--json",
        "--model", str(trained / "model.json"), stdout=out,
    )  # fmt: skip
    assert json.loads(out.getvalue())["model"]["pictures"] == len(held)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 3, 192, 320), (2, 3, 320, 256), (1, 3, 96, 32), (1, 3, 32, 64)])
def test_the_exported_model_says_what_the_network_says(tmp_path: Path, shape: tuple[int, ...]) -> None:
    network = stirred()
    to_onnx(network, tmp_path / "model.onnx")
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    images = torch.rand(shape, generator=torch.Generator().manual_seed(SEED)) * 255
    boxes, found = session.run(["boxes", "scores"], {"image": images.numpy()})
    with torch.no_grad():
        expected, logits = network(images)
    assert boxes.shape == tuple(expected.shape)
    assert np.abs(found - scores(logits).numpy()).max() < 1e-4
    assert np.abs(boxes - expected.numpy()).max() < 1e-4 * max(1.0, float(expected.abs().max()))


def stirred() -> Network:
    """A network whose normalisation layers have seen data, so that folding them has an effect."""
    torch.manual_seed(SEED)
    network = Network()
    network.train()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
        for _ in range(3):
            network(torch.rand(2, 3, 128, 192) * 255)
    network.eval()
    return network


@pytest.mark.slow
def test_training_can_begin_with_an_exported_model(tmp_path: Path) -> None:
    network = stirred()
    to_onnx(network, tmp_path / "model.onnx")
    other = Network()
    load_folded(other, first_weights(tmp_path / "model.onnx"))
    images = torch.rand(2, 3, 128, 192) * 255
    settle(other, [torch.rand(4, 3, 128, 192) * 255 for _ in range(2)])
    other.eval()
    with torch.no_grad():
        (boxes, logits), (same_boxes, same_logits) = network(images), other(images)
    assert torch.allclose(scores(logits), scores(same_logits), atol=1e-3)
    assert torch.allclose(boxes, same_boxes, rtol=1e-3, atol=1e-2)


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(painted: Path, tmp_path: Path) -> None:
    run(painted, tmp_path, "--epochs", "1")
    before = read_curve(tmp_path)
    run(painted, tmp_path, "--epochs", "3")
    after = read_curve(tmp_path)
    assert after[: len(before)] == before
    assert [row["epoch"] for row in after] == ["1", "2", "3"]


@pytest.mark.slow
def test_a_checkpoint_of_another_network_is_refused(painted: Path, tmp_path: Path) -> None:
    examples = read_examples(painted / "set.json", painted / "images").rows
    train(examples, [], tmp_path, TrainingSettings(epochs=1, batch=4, workers=0, residuals=(0, 0, 0, 0)), Silent())
    with pytest.raises(DataError, match=r"another network \(residual units \(0, 0, 0, 0\), here \(1, 2, 2, 1\)\)"):
        train(examples, [], tmp_path, TrainingSettings(epochs=2, batch=4, workers=0), Silent())


@pytest.mark.slow
def test_a_checkpoint_cut_short_is_refused(painted: Path, tmp_path: Path) -> None:
    run(painted, tmp_path, "--epochs", "1")
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(CommandError, match="cannot be read as a checkpoint. Move it away to start again"):
        run(painted, tmp_path, "--epochs", "2")


def test_first_weights_of_another_model_are_refused(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not a model of this training"):
        run(painted, tmp_path, "--first", "models/aizoo-260.onnx")
    (tmp_path / "cut.onnx").write_bytes(Path("models/default.onnx").read_bytes()[:3000])
    with pytest.raises(CommandError, match="cannot be read as an ONNX file"):
        run(painted, tmp_path, "--first", str(tmp_path / "cut.onnx"))


def test_training_can_begin_with_yunet(shared: Path) -> None:
    """Our network gives the same faces and boxes as YuNet's own file; labels and the last level start from scratch."""
    path = shared / "reference" / "yunet_n.onnx"
    network = Network()
    load_folded(network, first_weights(path))
    network.eval()
    coarse = np.random.default_rng(SEED).integers(0, 256, (2, 64, 64, 3), np.uint8)
    images = np.stack([cv2.resize(each, (640, 640)) for each in coarse]).transpose(0, 3, 1, 2)
    floats = np.ascontiguousarray(images, np.float32)
    with torch.no_grad():
        boxes, logits = network(torch.from_numpy(floats))
    theirs = Teacher(path).points(images)
    count = theirs.boxes.shape[1]
    sides = np.maximum(theirs.boxes[..., 2:] - theirs.boxes[..., :2], 1).repeat(2, 2)
    assert (np.abs(boxes[:, :count].numpy() - theirs.boxes) / sides).max() < 0.01
    faces = ort.InferenceSession(str(path)).run([f"obj_{stride}" for stride in (8, 16, 32)], {"input": floats[:1]})
    expected = np.concatenate(faces, 1)[0, :, 0]
    assert np.abs(logits[0, :count, 0].sigmoid().numpy() - expected).max() < 1e-3
    assert boxes.shape[1] == count + 100


@pytest.mark.slow
def test_what_the_first_weights_brought_can_be_kept(painted: Path, tmp_path: Path) -> None:
    to_onnx(stirred(), tmp_path / "first.onnx")
    first = {name: value for name, value in first_weights(tmp_path / "first.onnx").items() if "wear" not in name}
    examples = read_examples(painted / "set.json", painted / "images").rows

    def moved(out: Path, settings: TrainingSettings) -> dict[str, float]:
        weights = folded(train(examples, [], out, settings, Silent(), first=first))
        return {
            name: float(np.abs(weights[name].numpy() - value).max()) for name, value in first.items() if name in weights
        }

    common: dict[str, Any] = {"epochs": 1, "batch": 4, "workers": 0, "seed": SEED, "learning_rate": 0.01}
    far = moved(tmp_path / "stem", TrainingSettings(**common, keep_stem=True))
    stem = {name for name in first if name.startswith("stem") or name.startswith("stage4")}
    assert max(far[name] for name in stem) < 1e-4
    assert min(far[f"stages.{level}.0.pointwise.weight"] for level in range(4)) > 1e-3
    slow, fast = (
        moved(tmp_path / f"{share}", TrainingSettings(**common, first_rate=share))["stages.0.0.pointwise.weight"]
        for share in (0.01, 1.0)
    )
    assert slow < 0.2 * fast
    with pytest.raises(DataError, match="began with other first weights"):
        train(examples, [], tmp_path / "stem", TrainingSettings(**common | {"epochs": 2}, keep_stem=True), Silent())


def test_keeping_the_stem_of_nothing_is_refused(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="name a model there too"):
        run(painted, tmp_path, "--keep-stem")


def test_a_teacher_that_is_none_is_refused(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="it is no YuNet"):
        run(painted, tmp_path, "--teacher", "models/default.onnx")


@pytest.mark.slow
def test_a_corrupt_picture_in_the_middle_of_an_epoch_is_told_and_left_out(painted: Path, tmp_path: Path) -> None:
    examples = read_examples(painted / "set.json", painted / "images").rows
    bad = tmp_path / "bad.jpg"
    bad.write_bytes((painted / "images/1.jpg").read_bytes()[:900])
    none = tmp_path / "none.jpg"
    none.write_bytes(b"no picture at all")
    rows = [
        *examples,
        *(Example(path, 320, 240, examples[0].boxes, examples[0].labels) for path in (none, tmp_path / "gone.jpg")),
    ]
    progress = Silent()
    network = train(rows, [], tmp_path / "run", TrainingSettings(epochs=4, batch=8, workers=0, seed=SEED), progress)
    assert isinstance(network, Network)
    told = " ".join(progress.sentences)
    assert "none.jpg is not a picture" in told and "gone.jpg cannot be read" in told
    assert told.count("Training goes on without it") == 2


def test_without_any_picture_there_is_no_training(painted: Path, tmp_path: Path) -> None:
    gone = Example(tmp_path / "gone.jpg", 320, 240, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="None of the training pictures can be read"):
        next(Scenes([gone], None, SEED).batches(2))
    with pytest.raises(DataError, match="no picture to train with"):
        Scenes([], None, SEED)


@pytest.mark.parametrize(
    "option", ["--epochs=0", "--batch=0", "--learning-rate=9", "--hold-out=1.5", "--smoothing=0.9", "--first-rate=2"]
)
def test_options_out_of_range_are_refused(painted: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(CommandError, match="must be a number from"):
        run(painted, tmp_path, option)


def test_int8_says_about_the_same_as_float(tmp_path: Path) -> None:
    from skimage import data

    picture = np.ascontiguousarray(data.astronaut()[..., ::-1])
    model = Detector.load()
    quantize(model.manifest.path, tmp_path / "small.onnx", [picture, picture[:, ::-1].copy()], model.manifest.input)
    write_manifest(tmp_path / "small.json", tmp_path / "small.onnx", "small", {})
    (plain,), (small,) = model.detect(picture), Detector.load(tmp_path / "small.json").detect(picture)
    assert small.label == plain.label
    assert np.abs(np.subtract(small.box, plain.box)).max() < 0.03


# Geometry and drawing, without training.


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, Faces, np.random.Generator]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width, height = draw(st.integers(40, 500)), draw(st.integers(40, 400))
    count = draw(st.integers(0, 6))
    corner = rng.uniform(0, 1, (count, 2)) * (width - 12, height - 12)
    sides = rng.uniform(8, 90, (count, 2))
    boxes = np.concatenate([corner, np.minimum(corner + sides, (width, height))], 1).astype(np.float32)
    landmarks = np.full((count, 5, 2), np.nan, np.float32)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return image, Faces(boxes, rng.integers(-1, 3, count), landmarks, np.zeros((0, 4), np.float32)), rng


@settings(deadline=None)
@given(labelled(), st.sampled_from([(320, 192), (192, 320), (64, 128)]))
def test_a_scene_holds_its_faces(case: tuple[np.ndarray, Faces, np.random.Generator], size: tuple[int, int]) -> None:
    image, faces, rng = case
    width, height = size
    scene = compose(lambda: (image, faces), width, height, rng, Recipe())
    assert scene.image.shape == (height, width, 3) and scene.image.dtype == np.uint8
    assert len(scene.boxes) == len(scene.labels)
    for boxes in (scene.boxes, scene.ignored):
        assert (boxes[:, :2] >= -1e-3).all() and (boxes[:, 2:] <= np.asarray([width, height]) + 1e-3).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_a_face_moves_with_its_box() -> None:
    """A blue square stays under its box, however it is cropped, scaled, flipped and rotated."""
    image = np.zeros((200, 300, 3), np.uint8)
    image[60:120, 100:160] = (255, 0, 0)  # the padding is grey
    faces = Faces(
        np.asarray([[100, 60, 160, 120]], np.float32),
        np.asarray([1]),
        np.zeros((1, 5, 2), np.float32),
        np.zeros((0, 4), np.float32),
    )
    rng = np.random.default_rng(SEED)
    seen = whole = 0
    for _ in range(200):
        scene = place(image, faces, 320, 192, rng, Recipe())
        for x1, y1, x2, y2 in scene.boxes:
            seen += 1
            blue = scene.image[..., 0].astype(int) - scene.image[..., 1]
            centre = np.argwhere(blue > 127).mean(0)[::-1]
            assert abs(centre + 0.5 - ((x1 + x2) / 2, (y1 + y2) / 2)).max() < 2 + 0.2 * (x2 - x1)
            if min(x1, y1, 320 - x2, 192 - y2) > 1:  # not cut off by an edge: a flip that is off by a pixel would show
                whole += 1
                weights = np.clip(blue / 255, 0, 1)
                middle = [(weights.sum(axis) * (np.arange(side) + 0.5)).sum() for axis, side in ((0, 320), (1, 192))]
                assert np.abs(np.asarray(middle) / weights.sum() - ((x1 + x2) / 2, (y1 + y2) / 2)).max() < 0.3
    assert seen > 100 and whole > 50


def test_a_drawn_mask_covers_the_mouth_and_leaves_the_eyes() -> None:
    box = np.asarray([60, 40, 140, 150], np.float32)
    landmarks = np.asarray([[84, 80], [116, 80], [100, 102], [86, 122], [114, 122]], np.float32)
    rng = np.random.default_rng(SEED)
    labels = set()
    for _ in range(60):
        image = np.full((200, 200, 3), (120, 160, 220), np.uint8)
        before = image.copy()
        label = put_mask(image, box, landmarks, rng)
        labels.add(label)
        changed = np.abs(image.astype(int) - before).max(2)
        if label in (MASK, INCORRECT):
            assert changed[118:126, 96:104].mean() > 2
            assert changed[76:84, 80:88].mean() < 12
        if label == INCORRECT:
            assert changed[100:104, 98:102].mean() < 12
    assert labels == {NO_MASK, MASK, INCORRECT}


def test_glasses_and_a_hat_leave_mouth_and_nose_alone() -> None:
    box = np.asarray([60, 40, 140, 150], np.float32)
    landmarks = np.asarray([[84, 80], [116, 80], [100, 102], [86, 122], [114, 122]], np.float32)
    rng = np.random.default_rng(SEED)
    changed = np.zeros((200, 200), bool)
    for _ in range(20):
        image = np.full((200, 200, 3), (120, 160, 220), np.uint8)
        put_accessory(image, box, landmarks, rng)
        changed |= (image != (120, 160, 220)).any(2)
    assert changed[76:84, 80:88].all() and changed[30:40, 95:105].all()
    assert not changed[110:].any()


def test_nothing_is_drawn_on_a_head_that_is_turned_away() -> None:
    image = np.full((200, 200, 3), 128, np.uint8)
    landmarks = np.asarray([[100, 80], [104, 80], [120, 102], [100, 122], [104, 122]], np.float32)
    assert put_mask(image, np.asarray([60, 40, 140, 150], np.float32), landmarks, np.random.default_rng(1)) is None
    assert (image == 128).all()


def test_a_face_that_only_the_teacher_saw_teaches_a_face_and_no_label() -> None:
    example = Example(Path("a.jpg"), 300, 300, np.asarray([[10, 10, 50, 50]], np.float32), np.asarray([MASK]))
    boxes = np.asarray([[11, 11, 51, 51], [100, 100, 140, 140], [200, 200, 240, 240]], np.float32)
    landmarks = np.arange(30, dtype=np.float32).reshape(3, 5, 2)
    seen = Seen(boxes, np.asarray([0.9, 0.9, 0.4], np.float32), landmarks)
    faces = faces_of(example, seen)
    assert faces.labels.tolist() == [MASK, UNKNOWN]
    assert faces.landmarks[0].tolist() == landmarks[0].tolist()
    assert faces.ignored.tolist() == [[200, 200, 240, 240]]
    assert len(forgiving(example, seen).ignored) == 2
    assert faces_of(example, nobody()).labels.tolist() == [MASK]


def test_simota_gives_each_face_its_own_points_and_leaves_the_rest() -> None:
    points = anchor_points([(24, 40), (12, 20), (6, 10), (3, 5)])
    faces = torch.tensor([[40.0, 40, 72, 80], [200, 60, 290, 170]])
    centre = points[:, :2]
    boxes = torch.cat([centre - 20, centre + 20], 1)
    found = assign(points, boxes, torch.zeros(len(points), 4), faces, torch.tensor([1, UNKNOWN]))
    assert set(found.faces.tolist()) == {0, 1}
    assert len(set(found.points.tolist())) == len(found.points)
    for point, face in zip(found.points, found.faces, strict=True):
        x, y, stride = points[point]
        x1, y1, x2, y2 = faces[face]
        assert x1 - 2.5 * stride <= x <= x2 + 2.5 * stride and y1 - 2.5 * stride <= y <= y2 + 2.5 * stride
    assert len(assign(points, boxes, torch.zeros(len(points), 4), faces[:0], torch.zeros(0)).points) == 0


def test_a_face_of_unknown_wear_teaches_no_label_and_an_ignored_place_nothing() -> None:
    points = anchor_points([(8, 8), (4, 4), (2, 2), (1, 1)])
    centre = points[:, :2]
    boxes = torch.cat([centre - 10, centre + 10], 1)[None]
    logits = torch.zeros(1, len(points), 4, requires_grad=True)
    face = torch.tensor([[20.0, 20, 40, 40]])
    loss = batch_loss(points, boxes, logits, [face], [torch.tensor([UNKNOWN])], [torch.tensor([[0.0, 0, 15, 15]])])
    loss.total.backward()
    assert loss.label.item() == 0 and loss.face.item() > 0
    ignored = (centre <= 15).all(1)
    gradient = logits.grad[0, :, 0]
    assert (gradient[ignored] == 0).all()
    assert (gradient[~ignored] != 0).all()


def test_the_teacher_says_of_each_point_what_it_saw_in_the_picture(shared: Path, astronaut: np.ndarray) -> None:
    teacher = Teacher(shared / "reference" / "yunet_n.onnx")
    picture = np.asarray(cv2.resize(astronaut, (640, 640)), np.uint8)
    seen, taught = teacher.look(picture), teacher.points(picture.transpose(2, 0, 1)[None].repeat(2, 0))
    assert taught.faces.shape == (2, 80 * 80 + 40 * 40 + 20 * 20) and taught.boxes.shape == (*taught.faces.shape, 4)
    best = taught.faces[0].argmax()
    assert np.sqrt(taught.faces[0, best]) == pytest.approx(seen.scores.max(), abs=1e-4)
    assert taught.boxes[0, best] == pytest.approx(seen.boxes[seen.scores.argmax()], abs=0.1)


@pytest.mark.slow
def test_a_run_with_a_teacher_ends_with_a_model(shared: Path, painted: Path, tmp_path: Path) -> None:
    teacher = shared / "reference" / "yunet_n.onnx"
    run(painted, tmp_path / "run", "--epochs", "2", "--workers", "0", "--teacher", str(teacher))
    assert Detector.load(tmp_path / "run" / "model.json").manifest.calibration is not None


@pytest.mark.slow
def test_weights_are_averaged_and_what_the_earlier_lacks_stays(trained: Path) -> None:
    mine = first_weights(trained / "model.onnx")
    theirs = {name: value + 1 for name, value in mine.items() if "stages.1.2" not in name}
    mixed = average(mine, theirs, 0.25)
    assert mixed["stem.weight"] == pytest.approx(mine["stem.weight"] + 0.25, abs=1e-6)
    assert (mixed["stages.1.2.pointwise.weight"] == mine["stages.1.2.pointwise.weight"]).all()
    whole = unfolded(average(mine, mine, 0.5), (1, 2, 2, 1))
    picture = np.random.default_rng(SEED).integers(0, 256, (1, 3, 192, 320)).astype(np.float32)
    boxes, values = whole(torch.from_numpy(picture))
    session = ort.InferenceSession(str(trained / "model.onnx"))
    expected = session.run(["boxes", "scores"], {"image": picture})
    assert np.abs(scores(values).detach().numpy() - expected[1]).max() < 1e-4
    assert np.abs(boxes.detach().numpy() - expected[0]).max() < 1e-2


@pytest.mark.slow
def test_an_earlier_model_is_blended_in_only_where_it_helps(trained: Path, painted: Path) -> None:
    held = list(read_examples(trained / "held-out.json", painted / "images").rows)
    good, progress = first_weights(trained / "model.onnx"), Silent()
    network = unfolded(good, (1, 2, 2, 1))
    torch.manual_seed(SEED)
    ignorant = {name: value.numpy() for name, value in folded(Network()).items()}
    assert blended(network, {"ignorant": ignorant}, held, progress) is network and not progress.sentences
    with pytest.raises(DataError, match="odd cannot be blended in"):
        blended(network, {"odd": {"stem.weight": np.zeros((1, 2), np.float32)}}, held, progress)


@pytest.mark.slow
def test_blending_without_pictures_held_out_is_a_clear_error(trained: Path, painted: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="hold out a share"):
        run(painted, tmp_path, "--hold-out", "0", "--blend", str(trained / "model.onnx"))


@pytest.mark.slow
def test_incorrect_is_said_less_readily_where_that_is_better(trained: Path, painted: Path) -> None:
    """A network that calls every mask incorrect is fixed by shifting one logit."""
    held = list(read_examples(trained / "held-out.json", painted / "images").rows)
    network, progress = unfolded(first_weights(trained / "model.onnx"), (1, 2, 2, 1)), Silent()
    eager = shifted(network, 0.0)
    for end in eager.ends:
        end.label.weight.data[INCORRECT] = end.label.weight.data[MASK]
        end.label.bias.data[INCORRECT] = end.label.bias.data[MASK] + 0.4
    mended = adjusted(eager, held, progress)
    assert held_out_precision(eager, held)["ap50_mask"] == 0 and progress.sentences
    assert held_out_precision(mended, held)["ap50_mask"] > 0


def test_where_no_label_speaks_the_teacher_does() -> None:
    """A point that the teacher leads to a labelled face learns its label and box; others learn the teacher's doubt."""
    points = anchor_points([(8, 8), (4, 4), (2, 2), (1, 1)])
    centre = points[:, :2]
    boxes = torch.cat([centre - 10, centre + 10], 1)[None].clone().requires_grad_()
    logits = torch.zeros(1, len(points), 4, requires_grad=True)
    face = torch.tensor([[20.0, 20, 40, 40]])
    own = assign(points, boxes[0].detach(), logits[0].detach(), face, torch.tensor([MASK])).points.tolist()
    led, doubted = 4 * 8 + 3, 7 * 8 + 7
    assert led not in own and doubted not in own
    told, told_boxes = torch.zeros(64), torch.zeros(64, 4)
    told[led], told_boxes[led] = 0.8, torch.tensor([21.0, 21, 41, 41])
    told[doubted], told_boxes[doubted] = 0.6, torch.tensor([50.0, 50, 70, 70])
    ignored = [torch.tensor([[52.0, 52, 64, 64]])]
    loss = batch_loss(points, boxes, logits, [face], [torch.tensor([MASK])], ignored, [(told, told_boxes)])
    loss.total.backward()
    gradient, moved = logits.grad[0], boxes.grad[0].abs().sum(1)
    assert gradient[led, 0] < 0 and gradient[led, 1 + MASK] < 0 and moved[led] > 0
    assert gradient[doubted, 0] < 0 and (gradient[doubted, 1:] == 0).all() and moved[doubted] == 0
    assert gradient[0, 0] > 0 and moved[0] == 0
    assert gradient[led, 0].abs() < gradient[own[0], 0].abs()


def test_the_box_loss_is_nothing_for_the_same_box_and_grows_with_distance() -> None:
    box = torch.tensor([[10.0, 10, 50, 50]])
    near, far = eiou_loss(box + 4, box), eiou_loss(box + 100, box)
    assert eiou_loss(box, box).item() == pytest.approx(0, abs=1e-6)
    assert 0 < float(near) < float(far)
    assert float(pairwise_iou(box, box)) == 1


def test_near_same_pictures_stay_on_one_side_of_the_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    examples = []
    for scene in range(12):
        base = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
        for copy in range(3):
            path = tmp_path / f"{scene}-{copy}.png"
            cv2.imwrite(str(path), np.clip(base.astype(int) + copy, 0, 255).astype(np.uint8))
            examples.append(Example(path, 160, 120, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), "made"))
    used, held = hold_out(examples, 0.25, SEED)
    scenes = [{example.path.stem.split("-")[0] for example in side} for side in (used, held)]
    assert not scenes[0] & scenes[1]
    assert 3 <= len(held) <= 9
    assert hold_out(examples, 0.25, SEED)[1] == held


def test_near_same_goes_on_from_one_to_the_next() -> None:
    hashes = np.asarray([0, 0b111111, 0b111111111111, 0xFFFF_FFFF_0000_0000], np.uint64)
    groups = near_same(hashes)
    assert groups[0] == groups[1] == groups[2] != groups[3]


@pytest.mark.slow
def test_held_out_precision_is_what_the_product_would_reach(painted: Path, trained: Path, tmp_path: Path) -> None:
    """The score in the training curve agrees with the evaluator's for the exported, not yet calibrated model."""
    from detection.evaluation.report import evaluate

    examples = read_examples(painted / "set.json", painted / "images").rows
    network = Network()
    load_folded(network, first_weights(trained / "model.onnx"))
    own = held_out_precision(network, examples)
    to_onnx(network, tmp_path / "model.onnx")
    write_manifest(tmp_path / "model.json", tmp_path / "model.onnx", "model", {})
    exported = evaluate(Detector.load(tmp_path / "model.json"), examples).average_precisions(0.5)
    assert exported["any"] is not None
    assert own["ap50_any"] == pytest.approx(exported["any"], abs=0.03)


def test_errors_of_data_and_models_are_detections_own() -> None:
    assert issubclass(DataError, DetectionError) and issubclass(ModelError, DetectionError)
