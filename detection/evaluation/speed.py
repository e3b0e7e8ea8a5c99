"""How long a picture takes, stage by stage, against the reference in both of its runtimes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detection.detector import Detector, Image, find, prepare
from detection.errors import DataError, ModelError
from detection.manifest import Manifest

PICTURE = (720, 1280)
WARM_UP = 10
Run = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one stage: the median, and the quartiles around it."""

    median: float
    low: float
    high: float


def measure(stages: dict[str, Run], rounds: int) -> dict[str, Timing]:
    """Time each stage `rounds` times, one after the other in each round, so that a noisy machine affects all alike.

    Each round has another order: none always comes after the slowest, with cold caches.
    """
    taken: dict[str, list[float]] = {name: [] for name in stages}
    names, chance = list(stages), np.random.default_rng(1)
    for turn in range(rounds + WARM_UP):
        for name in (names[place] for place in chance.permutation(len(names))):
            run = stages[name]
            began = time.perf_counter()
            run()
            if turn >= WARM_UP:
                taken[name].append((time.perf_counter() - began) * 1000)
    return {
        name: Timing(*(round(float(value), 3) for value in np.percentile(each, (50, 25, 75))))
        for name, each in taken.items()
    }


ORDER = ("float", "int8", "shipped", "pre", "run", "post", "reference_ort", "reference_xnnpack")


def bench(
    sizes: Sequence[int], picture: Image, rounds: int, tflite: Path | None, reference: Path
) -> dict[int, dict[str, Timing | None]]:
    """Time the default model on a picture at each size, and the reference beside it; one thread each.

    shipped, float, int8, reference_ort and reference_xnnpack are whole: a picture in, detections out. shipped takes all
    looks that the manifest wants; float is the same model with the whole look alone, as int8 and the reference have it.
    pre, run and post are the stages of that look: letterbox to tensor, the network, and threshold with suppression.

    Args:
        sizes: longer sides of the input in px. picture: BGR. tflite: the reference's file; None leaves it out.
        reference: its manifest, for onnxruntime.
    """
    default = Detector.load()
    whole: dict[str, Run] = {}
    if tflite is not None:
        theirs = Detector.load(reference)
        xnnpack = interpreter(tflite, theirs.manifest, theirs.confidence_threshold)
        whole = {"reference_ort": lambda: theirs.detect(picture), "reference_xnnpack": lambda: xnnpack(picture)}
    with tempfile.TemporaryDirectory() as folder:
        small = _int8(default, picture, Path(folder))
        return {size: _at_size(default.at(size), small and small.at(size), picture, rounds, whole) for size in sizes}


def _at_size(
    shipped: Detector, small: Detector | None, picture: Image, rounds: int, whole: dict[str, Run]
) -> dict[str, Timing | None]:
    tensor, _ = prepare(picture, shipped.manifest.input)
    outputs = shipped.run(tensor)
    once = shipped.with_looks(near_side=0, far_most=0)
    stages: dict[str, Run] = {
        "shipped": lambda: shipped.detect(picture),
        "float": lambda: once.detect(picture),
        "pre": lambda: prepare(picture, shipped.manifest.input),
        "run": lambda: shipped.run(tensor),
        "post": lambda: find(shipped.manifest, outputs, shipped.confidence_threshold),
    }
    if small is not None:
        stages["int8"] = lambda: small.detect(picture)
    found = measure(stages | whole, rounds)
    return {name: found.get(name) for name in ORDER}


def lobby_picture(seed: int = 1) -> Image:
    """A picture of 1280x720 with the texture of a photograph, and nobody in it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (PICTURE[0] // 8, PICTURE[1] // 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, PICTURE[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def _int8(shipped: Detector, picture: Image, folder: Path) -> Detector | None:
    """The shipped model in INT8, made here: scales do not change its speed. None if the tools are not installed."""
    try:
        from detection.training.export import write_manifest
        from detection.training.quantize import quantize
    except ImportError:
        return None
    path = folder / "int8.onnx"
    quantize(shipped.manifest.path, path, [picture], shipped.manifest.input)
    write_manifest(path.with_suffix(".json"), path, "int8", {})
    return Detector.load(path.with_suffix(".json"), shipped.confidence_threshold)


def interpreter(path: Path, manifest: Manifest, threshold: float) -> Callable[[Image], object]:
    """The reference in its own runtime, with XNNPACK: the same pre- and post-processing around it."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise DataError("The .tflite needs ai-edge-litert: pip install -r requirements-train.txt.") from error
    try:
        tflite: Any = Interpreter(model_path=str(path), num_threads=1)
        tflite.allocate_tensors()
    except (ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"{path} cannot be loaded: {error}.") from error
    given = tflite.get_input_details()[0]["index"]
    details = sorted(tflite.get_output_details(), key=lambda output: -int(output["shape"][-1]))  # loc, then cls

    def run(picture: Image) -> object:
        tensor, _ = prepare(picture, manifest.input)
        tflite.set_tensor(given, tensor)
        tflite.invoke()
        outputs = tuple(tflite.get_tensor(output["index"]) for output in details)
        return find(manifest, outputs, threshold)

    return run
