"""What a training run begins with: the weights of a model exported before, or those of YuNet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from detection.errors import ModelError
from detection.training.export import scale_places
from detection.training.network import STRIDES, Weights

Floats = npt.NDArray[np.float32]


def first_weights(path: Path) -> Weights:
    """The weights of an exported model, or of YuNet's ONNX file, by the names that `load_folded` knows.

    YuNet has no fourth level and no labels; those begin at random. Raises ModelError for any other file.
    """
    try:
        model = onnx.load(str(path))
    except Exception as error:  # onnx raises protobuf's errors and its own
        raise ModelError(f"{path} cannot be read as an ONNX file.") from error
    held = {
        each.name.removeprefix("network."): np.array(numpy_helper.to_array(each)) for each in model.graph.initializer
    }
    if f"ends.{len(STRIDES) - 1}.place_depthwise.weight" in held:
        scale_places(held, -1)
        return held
    if "bbox_head.multi_level_obj.0.conv1.weight" in held:
        return _yunets(model, held)
    raise ModelError(f"{path} is not a model of this training and no YuNet: its weights have other names.")


def _yunets(model: Any, held: dict[str, Floats]) -> Weights:
    """YuNet's convolutions under our names; its second estimate of a face and its landmarks have no place in ours."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    takes = {node.input[0]: node for node in convolutions}
    gives = {node.input[1]: node.output[0] for node in convolutions}
    stem = takes[model.graph.input[0].name]
    weights = {"stem.weight": held[stem.input[1]], "stem.bias": held[stem.input[2]]}

    def pair(theirs: str) -> tuple[Floats, ...]:
        """A pointwise convolution and the depthwise one after it, whose weights the file does not name."""
        after = takes[gives[f"{theirs}.conv1.weight"]].input
        return held[f"{theirs}.conv1.weight"], held[f"{theirs}.conv1.bias"], held[after[1]], held[after[2]]

    for unit, theirs in _units():
        first, first_bias, second, second_bias = pair(theirs)
        weights |= {f"{unit}.pointwise.weight": first, f"{unit}.pointwise.bias": first_bias}
        weights |= {f"{unit}.depthwise.weight": second, f"{unit}.depthwise.bias": second_bias}
    for level in range(3):
        box, face = (pair(f"bbox_head.multi_level_{kind}.{level}") for kind in ("bbox", "obj"))
        names = ("place.weight", "place.bias", "place_depthwise.weight", "place_depthwise.bias")
        for name, mine, more in zip(names, box, face, strict=True):
            weights[f"ends.{level}.{name}"] = np.concatenate([mine, more])
    return weights


def _units() -> Iterator[tuple[str, str]]:
    """Each unit of ours that YuNet has, and YuNet's name for it."""
    yield "stem_unit", "backbone.model0.conv2"
    for index in range(4):
        yield f"stage4.{index}", f"backbone.model{1 + index // 2}.conv{1 + index % 2}"
    for level in range(3):
        for index in range(2):
            yield f"stages.{level}.{index}", f"backbone.model{3 + level}.conv{1 + index}"
        yield f"laterals.{level}", f"neck.lateral_convs.{level}"
        yield f"ends.{level}.shared", f"bbox_head.multi_level_share_convs.{level}.0"
