"""Manifests: everything about a model that its ONNX file does not say.

Worked example (models/default.json, shortened)::

    {"name": "facemask-points", "file": "default.onnx", "sha256": "6d58…", "kind": "points",
     "input": {"name": "image", "layout": "NCHW", "channels": "BGR", "range": [0, 255], "longer_side": 320,
               "multiple_of": 32, "resize": "letterbox", "place": "top left", "pad": 0},
     "outputs": {"boxes": "boxes", "scores": "scores"}, "labels": ["no_mask", "mask", "incorrect"],
     "confidence_threshold": 0.5, "iou_threshold": 0.45,
     "looks": {"near": {"longer_side": 128, "least": 0.3}, "far": {"most": 2, "part": 0.6, "longer_side": 384}},
     "features": {"output": "features", "mean": [0.2289, …], "spread": [0.1606, …]}}
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from detection.errors import ModelError
from detection.features import FeatureOutput
from detection.looks import Looks

LABELS = ("no_mask", "mask", "incorrect")
OUTPUTS = {"points": ("boxes", "scores"), "ssd": ("loc", "cls")}
MOST_SIDE_PX = 2048
MODELS = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True)
class ModelInput:
    """How a picture becomes the model's input.

    Args:
        layout: NCHW or NHWC.
        channels: BGR or RGB.
        range: least and greatest value of a channel.
        resize: "letterbox" (keep the shape, longer side `longer_side` px, padded at the right and below with `pad`
            to multiples of `multiple_of`) or "stretch" (to `width` x `height` px).
    """

    name: str
    layout: str
    channels: str
    range: tuple[float, float]
    resize: str
    longer_side: int = 0
    multiple_of: int = 1
    pad: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class AnchorGrid:
    """The anchors of an SSD (Liu et al., 2016): one map per level, sizes and ratios relative to the picture."""

    maps: tuple[tuple[int, int], ...]
    sizes: tuple[tuple[float, float], ...]
    ratios: tuple[float, ...]
    variances: tuple[float, float, float, float]


@dataclass(frozen=True)
class Calibration:
    """Turns a model's raw score into a probability: logit(confidence) = logit(score) / temperature + shift.

    Platt, "Probabilistic outputs for support vector machines" (1999), for the logit; fitted on held-out pictures.
    """

    temperature: float = 1.0
    shift: float = 0.0

    def confidence(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Confidences, 0 to 1, of raw scores of any shape; order is kept."""
        if self == Calibration():
            return scores
        scaled = logit(scores) / self.temperature + self.shift
        return np.asarray(1 / (1 + np.exp(-scaled)), np.float32)

    def score(self, confidence: float) -> float:
        """The raw score of a confidence in (0, 1): the inverse."""
        scaled = (math.log(confidence / (1 - confidence)) - self.shift) * self.temperature
        return 1 / (1 + math.exp(-scaled))


def logit(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The logarithm of the odds; scores of 0 and 1 are moved inwards by a millionth."""
    held = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(held / (1 - held)))


@dataclass(frozen=True)
class Manifest:
    """One model, as its .json file describes it."""

    name: str
    path: Path
    sha256: str
    kind: str
    input: ModelInput
    outputs: Mapping[str, str]
    labels: tuple[str, ...]
    confidence_threshold: float
    iou_threshold: float
    anchors: AnchorGrid | None = None
    calibration: Calibration = Calibration()
    looks: Looks = Looks()
    features: FeatureOutput | None = None


def model_names() -> tuple[str, ...]:
    """The models in models/, by their manifests' file names; the default one first."""
    names = sorted(path.stem for path in MODELS.glob("*.json"))
    return tuple(sorted(names, key=lambda name: name != "default"))


def manifest_path(model: str | Path | None) -> Path:
    """The manifest of a model: None means models/default.json; for a .onnx file, the .json beside it."""
    if model is None:
        return MODELS / "default.json"
    path = Path(model)
    if path.suffix == ".onnx":
        path = path.with_suffix(".json")
    if not path.is_file():
        raise ModelError(f"There is no manifest {path}. A model is a .onnx file with a .json file beside it.")
    return path


def read_manifest(model: str | Path | None = None) -> Manifest:
    """Read and check a manifest, and check its ONNX file's sha256. Raises ModelError with the reason."""
    path = manifest_path(model)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        manifest = _parse(path, content)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"The manifest {path.name} cannot be read: {error}.") from error
    except KeyError as error:
        raise ModelError(f"The manifest {path.name} lacks {error}.") from error
    except (TypeError, ValueError) as error:
        raise ModelError(f"The manifest {path.name} holds a value that does not fit: {error}.") from error
    _check(path.name, manifest)
    return manifest


def _parse(path: Path, content: Any) -> Manifest:
    if not isinstance(content, dict):
        raise ValueError("it is not an object")
    given = dict(content["input"])
    low, high = (float(value) for value in given["range"])
    known = {name: given[name] for name in ModelInput.__dataclass_fields__ if name in given}
    anchors = None
    if grid := content.get("anchors"):
        anchors = AnchorGrid(
            maps=tuple((int(rows), int(columns)) for rows, columns in grid["maps"]),
            sizes=tuple((float(small), float(large)) for small, large in grid["sizes"]),
            ratios=tuple(float(ratio) for ratio in grid["ratios"]),
            variances=(lambda v: (float(v[0]), float(v[1]), float(v[2]), float(v[3])))(grid["variances"]),
        )
    return Manifest(
        name=str(content["name"]),
        path=path.with_name(Path(str(content["file"])).name),
        sha256=str(content["sha256"]),
        kind=str(content["kind"]),
        input=ModelInput(**(known | {"range": (low, high)})),
        outputs={str(role): str(name) for role, name in content["outputs"].items()},
        labels=tuple(str(label) for label in content["labels"]),
        confidence_threshold=float(content["confidence_threshold"]),
        iou_threshold=float(content["iou_threshold"]),
        anchors=anchors,
        calibration=Calibration(**{name: float(value) for name, value in content.get("calibration", {}).items()}),
        looks=_parse_looks(content.get("looks", {})),
        features=_parse_features(content.get("features")),
    )


def _parse_looks(content: Any) -> Looks:
    near, far = content.get("near", {}), content.get("far", {})
    return Looks(
        near_side=int(near.get("longer_side", 0)),
        near_least=float(near.get("least", Looks.near_least)),
        far_most=int(far.get("most", 0)),
        far_part=float(far.get("part", Looks.far_part)),
        far_side=int(far.get("longer_side", 0)),
    )


def _parse_features(content: Any) -> FeatureOutput | None:
    if content is None:
        return None
    mean, spread = (tuple(float(value) for value in content[name]) for name in ("mean", "spread"))
    return FeatureOutput(str(content["output"]), mean, spread)


def _check(name: str, manifest: Manifest) -> None:
    """Raise ModelError for the first thing that cannot be right."""

    def refuse(reason: str) -> None:
        raise ModelError(f"The manifest {name} cannot be used: {reason}.")

    if manifest.kind not in OUTPUTS:
        refuse(f'kind is "{manifest.kind}"; known are {", ".join(OUTPUTS)}')
    if missing := set(OUTPUTS[manifest.kind]) - set(manifest.outputs):
        refuse(f"outputs lack {', '.join(sorted(missing))}")
    if unknown := set(manifest.labels) - set(LABELS):
        refuse(f"labels hold {', '.join(sorted(unknown))}; known are {', '.join(LABELS)}")
    if len(set(manifest.labels)) != len(manifest.labels) or not manifest.labels:
        refuse("labels must be named once each")
    if not (0 < manifest.confidence_threshold < 1 and 0 < manifest.iou_threshold < 1):
        refuse("thresholds lie between 0 and 1")
    if not (0.05 <= manifest.calibration.temperature <= 20 and abs(manifest.calibration.shift) <= 20):
        refuse("calibration needs a temperature from 0.05 to 20 and a shift from -20 to 20")
    given = manifest.input
    if given.layout not in {"NCHW", "NHWC"} or given.channels not in {"BGR", "RGB"}:
        refuse("input needs layout NCHW or NHWC and channels BGR or RGB")
    if given.range[0] >= given.range[1]:
        refuse("input range goes from the lesser to the greater value")
    if given.resize == "letterbox":
        if given.multiple_of < 1 or given.longer_side < given.multiple_of or given.longer_side % given.multiple_of:
            refuse("input longer_side must be a multiple of multiple_of")
    elif given.resize == "stretch":
        if min(given.width, given.height) < 1:
            refuse("input needs width and height")
    else:
        refuse(f'input resize is "{given.resize}"; known are letterbox and stretch')
    looks = manifest.looks
    if looks != Looks() and given.resize != "letterbox":
        refuse("looks need an input that is resized as a letterbox")
    if looks.near_side and (looks.near_side % given.multiple_of or not 0 < looks.near_side < given.longer_side):
        refuse("a near look needs a longer_side below the input's, a multiple of multiple_of")
    if looks.far_side % given.multiple_of or not 0 <= looks.far_side <= MOST_SIDE_PX:
        refuse(f"a far look needs a longer_side up to {MOST_SIDE_PX}, a multiple of multiple_of")
    if not (0 < looks.near_least < 1 and 0.1 <= looks.far_part < 1 and 0 <= looks.far_most <= 16):
        refuse("looks need least from 0 to 1, part from 0.1 to 1, and at most 16 far looks")
    if manifest.features is not None:
        if given.resize != "letterbox":
            refuse("features need an input that is resized as a letterbox")
        if (
            len(manifest.features.mean) != len(manifest.features.spread)
            or min(manifest.features.spread, default=0) <= 0
        ):
            refuse("features need one mean and one spread above 0 a channel")
    if manifest.kind == "ssd" and manifest.anchors is None:
        refuse("an ssd needs anchors")
    try:
        digest = hashlib.sha256(manifest.path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"The model file {manifest.path.name} cannot be read: {error.strerror}.") from error
    if digest != manifest.sha256:
        raise ModelError(
            f"The model file {manifest.path.name} is not the one that {name} describes: "
            f"its sha256 is {digest[:12]}…, not {manifest.sha256[:12]}…. Fetch it again."
        )
