"""From a trained network to models/NAME.onnx and its manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from detection.errors import ModelError
from detection.manifest import LABELS
from detection.training.network import INPUT, LARGEST_LOG, STRIDES, Network, folded

OPSET = 18


class Exported(nn.Module):
    """The network for inference: normalisation folded in, boxes and scores decoded in the graph.

    The strides are in the weights of each level's last convolution, and the places of all levels are cut from one grid:
    what is left of decoding costs a twentieth of a millisecond.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = _without_norms(network)
        scale_places(dict(self.network.named_parameters()), 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (n, p, 4) x1, y1, x2, y2 in pixels of the input, scores (n, p, labels), 0 to 1, and `Network.early`."""
        early = self.network.early(image)
        levels = self.network.fused(early)
        ends = [end(x) for end, x in zip(self.network.ends, levels, strict=True)]
        place = torch.cat([each.flatten(2) for each, _ in ends], 2)
        label = torch.cat([each.flatten(2) for _, each in ends], 2)
        height, width = levels[0].shape[2], levels[0].shape[3]
        x, y = (torch.arange(side) * STRIDES[0] for side in (width, height))
        finest = torch.stack([x.float()[None].expand(height, width), y.float()[:, None].expand(height, width)])
        steps = [stride // STRIDES[0] for stride in STRIDES]
        grid = torch.cat([finest[:, ::step, ::step].flatten(1) for step in steps], 1)
        centre = place[:, :2] + grid
        half = place[:, 2:4].clamp(max=LARGEST_LOG + math.log(STRIDES[-1])).exp()
        score = (place[:, 4:5].sigmoid() * label.sigmoid()).sqrt()
        return torch.cat([centre - half, centre + half], 1).transpose(1, 2), score.transpose(1, 2), early


def scale_places(weights: Mapping[str, Any], sign: int) -> None:
    """Put the strides into the last convolution of each level in place; with sign -1, take them out again."""
    with torch.no_grad():
        for level, stride in enumerate(STRIDES):
            name = f"ends.{level}.place_depthwise"
            weights[f"{name}.weight"][:2] *= float(stride) ** sign
            weights[f"{name}.bias"][:2] *= float(stride) ** sign
            weights[f"{name}.bias"][2:4] += sign * math.log(stride / 2)


def _without_norms(network: Network) -> Network:
    """A copy with each normalisation folded into the convolution before it."""
    copy = Network(network.residuals)
    weights = folded(network)
    for name, module in list(copy.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            copy.set_submodule(name, nn.Identity())
    for module in copy.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
    copy.load_state_dict(weights)
    copy.eval()
    return copy


def to_onnx(network: Network, path: Path) -> None:
    """Write the network as an ONNX file: any batch, height and width in multiples of 32, weights inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    batch, height, width = (torch.export.Dim(name, min=1, max=128) for name in ("n", "h", "w"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            Exported(network).eval(),
            (torch.zeros(2, 3, 192, 320),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["boxes", "scores", "features"],
            dynamic_shapes=({0: batch, 2: 64 * height, 3: 64 * width},),
            verbose=False,
        )
    if program is None:
        raise ModelError("The network cannot be exported.")
    program.optimize()
    model = program.model_proto
    model.producer_name, model.doc_string = "", ""
    for node in model.graph.node:  # where each node came from in the code: half of the file, and of no use to anyone
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_manifest(path: Path, model: Path, name: str, extra: Mapping[str, Any]) -> None:
    """Write the manifest of an exported model beside it; `extra` is thresholds, calibration and measurements."""
    content = {
        "name": name,
        "file": model.name,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "kind": "points",
        "input": {
            "name": INPUT.name,
            "layout": INPUT.layout,
            "channels": INPUT.channels,
            "range": list(INPUT.range),
            "longer_side": INPUT.longer_side,
            "multiple_of": INPUT.multiple_of,
            "resize": INPUT.resize,
            "place": "top left",
            "pad": INPUT.pad,
        },
        "outputs": {"boxes": "boxes", "scores": "scores"},
        "boxes": "x1, y1, x2, y2 in pixels of the input",
        "labels": list(LABELS),
        "score": "square root of objectness times label, 0 to 1",
        "confidence_threshold": 0.5,
        "iou_threshold": 0.45,
    }
    path.write_text(json.dumps(content | dict(extra), indent=1) + "\n", encoding="utf-8")
