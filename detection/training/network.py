"""The network: YuNet's layout, a fourth level for near faces, and a separate branch for the labels.

After Wu, Peng, Yu: "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research 20 (2023): units of a
pointwise and a depthwise convolution, a top-down neck, and one anchor point per cell at strides 8, 16 and 32; ours
adds stride 64, residual units, and labels that are told apart by a separate branch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from detection.manifest import LABELS, ModelInput

STRIDES = (8, 16, 32, 64)
INPUT = ModelInput("image", "NCHW", "BGR", (0, 255), "letterbox", longer_side=320, multiple_of=32)
CHANNELS = 64
LARGEST_LOG = 6.0  # its exp times the stride is larger than any picture: more is a diverged box


class Unit(nn.Module):
    """A pointwise, then a depthwise 3x3 convolution, normalised, and a ReLU.

    Args:
        residual: adds its input to its output; starts as the identity, so it can be put into a trained network.
    """

    def __init__(self, inputs: int, outputs: int, residual: bool = False) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.depthwise = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = residual
        if residual:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(self.pointwise(x)))
        return functional.relu(y + x if self.residual else y, inplace=True)


class Ends(nn.Module):
    """What a level says about each of its cells: the box (4), whether there is a face (1), and its labels."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = Unit(CHANNELS, CHANNELS)
        self.place = nn.Conv2d(CHANNELS, 5, 1)
        self.place_depthwise = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.wear = nn.Sequential(Unit(CHANNELS, CHANNELS), Unit(CHANNELS, CHANNELS))
        self.label = nn.Conv2d(CHANNELS, len(LABELS), 1)
        with torch.no_grad():  # most points hold no face: set from the start, or the first steps learn nothing else
            self.place_depthwise.bias[4] = -4.6

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Raw values of box and face (n, 5, h, w), and of the labels (n, 3, h, w)."""
        shared = self.shared(x)
        return self.place_depthwise(self.place(shared)), self.label(self.wear(shared))


class Network(nn.Module):
    """Pictures in, raw values of each anchor point out.

    Args:
        residuals: how many residual units the stages of stride 8, 16, 32 and 64 have after their two plain ones.
    """

    def __init__(self, residuals: tuple[int, int, int, int] = (1, 2, 2, 1)) -> None:
        super().__init__()
        self.residuals = residuals
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        self.stem_unit = Unit(16, 16)
        self.stage4 = nn.Sequential(
            Unit(16, 16), Unit(16, CHANNELS), Unit(CHANNELS, CHANNELS), Unit(CHANNELS, CHANNELS)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                Unit(CHANNELS, CHANNELS),
                Unit(CHANNELS, CHANNELS),
                *(Unit(CHANNELS, CHANNELS, residual=True) for _ in range(count)),
            )
            for count in residuals
        )
        self.laterals = nn.ModuleList(Unit(CHANNELS, CHANNELS) for _ in STRIDES)
        self.ends = nn.ModuleList(Ends() for _ in STRIDES)

    @property
    def stem_parts(self) -> nn.ModuleList:
        """The layers before stride 8."""
        return nn.ModuleList([self.stem, self.stem_norm, self.stem_unit, self.stage4])

    def levels(self, images: Tensor) -> list[Tensor]:
        """The raw values of each level: (n, 8, h / stride, w / stride) of box, face and labels."""
        features = self.features(images)
        return [torch.cat(end(x), 1) for end, x in zip(self.ends, features, strict=True)]

    def features(self, images: Tensor) -> list[Tensor]:
        """What each level's ends look at: (n, 64, h / stride, w / stride), from stride 8 on.

        Args:
            images: (n, 3, h, w), blue first, 0 to 255; h and w are multiples of 32.
        """
        return self.fused(self.early(images))

    def early(self, images: Tensor) -> Tensor:
        """Before faces are told from other things: (n, 64, h / 8, w / 8), by which people are told apart."""
        x = self.stem_unit(functional.relu(self.stem_norm(self.stem(images))))
        return functional.max_pool2d(self.stage4(functional.max_pool2d(x, 2)), 2)

    def fused(self, early: Tensor) -> list[Tensor]:
        """As `features`, from what `early` gives."""
        features: list[Tensor] = []
        for stage, stride in zip(self.stages, STRIDES, strict=True):
            # A side of 32 px has one cell at stride 64.
            x = functional.max_pool2d(features[-1], 2, ceil_mode=stride == 64) if features else early
            features.append(stage(x))
        fused: list[Tensor] = [self.laterals[3](features[3]), self.laterals[2](features[2])]
        for level in (1, 0):
            above = functional.interpolate(fused[-1], scale_factor=2.0, mode="nearest")
            fused.append(self.laterals[level](features[level] + above))
        return [fused[3], fused[2], fused[1], fused[0]]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (n, p, 4) as x1, y1, x2, y2 in pixels of the input, and logits (n, p, 4) of face and labels."""
        levels = self.levels(images)
        raw = torch.cat([level.flatten(2) for level in levels], 2).float()
        points = anchor_points([(level.shape[2], level.shape[3]) for level in levels], raw.device)
        return decode(raw, points), raw[:, 4:].transpose(1, 2)


def anchor_points(shapes: list[tuple[int, int]], device: torch.device | None = None) -> Tensor:
    """The anchor points of the levels (p, 3): x, y and stride in pixels of the input."""
    rows = []
    for (height, width), stride in zip(shapes, STRIDES, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        points = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3) * stride
        rows.append(points)
    return torch.cat(rows).float().to(device)


def decode(raw: Tensor, points: Tensor) -> Tensor:
    """Boxes (n, p, 4) in pixels from raw values (n, 8, p): the centre's offset and the side's logarithm, in strides."""
    x, y, stride = points.unbind(1)
    centre_x, centre_y = x + raw[:, 0] * stride, y + raw[:, 1] * stride
    half_w = torch.exp(raw[:, 2].clamp(-LARGEST_LOG, LARGEST_LOG)) * stride / 2
    half_h = torch.exp(raw[:, 3].clamp(-LARGEST_LOG, LARGEST_LOG)) * stride / 2
    return torch.stack([centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h], -1)


def scores(logits: Tensor) -> Tensor:
    """Scores (n, p, labels), 0 to 1, from logits (n, p, 1 + labels): the root of face times label, as YuNet's."""
    probabilities = logits.sigmoid()
    return (probabilities[..., :1] * probabilities[..., 1:]).sqrt()


Weights = Mapping[str, npt.NDArray[np.float32]]


def load_folded(network: Network, weights: Weights) -> None:
    """Load the weights of an exported model: convolutions with their normalisation folded in.

    What the weights lack stays as initialised: residual units as the identity, and at random the labels and the level
    of stride 64, which YuNet does not have. Normalisations become neutral, and `settle` gives them back their scale,
    without changing the network's output.

    Raises:
        ValueError: a weight is missing or has another shape: it is a different network.
    """
    state = network.state_dict()
    taken: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        found = weights.get(f"{name}.weight")
        if found is None and _may_begin(network, name):
            continue
        if found is None or tuple(found.shape) != tuple(module.weight.shape):
            held = "no such weight" if found is None else f"{tuple(found.shape)}"
            raise ValueError(f"{name}.weight is {tuple(module.weight.shape)} here; the file holds {held}")
        taken[f"{name}.weight"] = torch.from_numpy(np.array(found))
        # Equal weights are stored once: the bias of a residual unit that never learned is stored as another's zeros.
        bias = torch.from_numpy(np.array(weights.get(f"{name}.bias", np.zeros(len(found), np.float32))))
        norm = norm_after(name)
        if norm is None:
            taken[f"{name}.bias"] = bias
        else:
            variance = state[f"{norm}.running_var"]
            taken |= {
                f"{norm}.weight": torch.ones_like(variance),
                f"{norm}.bias": bias,
                f"{norm}.running_mean": torch.zeros_like(variance),
                f"{norm}.running_var": torch.ones_like(variance) - 1e-5,
            }
    network.load_state_dict(state | taken)


@torch.no_grad()
def settle(network: Network, images: list[Tensor]) -> None:
    """Give each normalisation the mean and variance of what it sees, and a scale and shift that undo them."""
    seen: dict[nn.BatchNorm2d, list[tuple[Tensor, Tensor]]] = {}

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(norm, nn.BatchNorm2d):
            values = given[0].float()
            seen.setdefault(norm, []).append((values.mean((0, 2, 3)), values.var((0, 2, 3))))

    network.eval()
    hooks = [
        module.register_forward_pre_hook(look) for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    ]
    for batch in images:
        network(batch)
    for hook in hooks:
        hook.remove()
    for norm, moments in seen.items():
        mean = torch.stack([each for each, _ in moments]).mean(0)
        variance = torch.stack([each for _, each in moments]).mean(0) + 1e-4
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.copy_(norm.bias + (mean - norm.running_mean) * gain)
        norm.weight.copy_(gain * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


@torch.no_grad()
def folded(network: Network) -> dict[str, Tensor]:
    """The network's convolutions with their normalisation folded in: name.weight and name.bias of each."""
    result: dict[str, Tensor] = {}
    modules = dict(network.named_modules())
    for name, module in modules.items():
        if not isinstance(module, nn.Conv2d):
            continue
        weight, bias = module.weight.detach().clone(), module.bias
        after = norm_after(name)
        if after is not None:
            norm = modules[after]
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight *= gain[:, None, None, None]
            bias = norm.bias - norm.running_mean * gain
        result[f"{name}.weight"], result[f"{name}.bias"] = weight, bias.detach().clone()
    return result


def norm_after(convolution: str) -> str | None:
    """The normalisation that follows a convolution, by name."""
    if convolution == "stem":
        return "stem_norm"
    head, _, last = convolution.rpartition(".")
    return f"{head}.norm" if last == "depthwise" else None


def _may_begin(network: Network, convolution: str) -> bool:
    """Whether first weights may lack a convolution: our earlier networks, or YuNet, do not have it."""
    unit = network.get_submodule(convolution.rpartition(".")[0])
    parts = convolution.split(".")
    is_last_level = parts[0] in {"stages", "laterals", "ends"} and parts[1] == str(len(STRIDES) - 1)
    return (isinstance(unit, Unit) and unit.residual) or is_last_level or "wear" in parts or parts[-1] == "label"
