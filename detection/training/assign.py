"""Which anchor points learn which face: SimOTA (Ge et al., "YOLOX", 2021, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from detection.training.augment import UNKNOWN

REACH = 2.5  # a face's points are within this many strides of its centre
CANDIDATES = 10  # of a face's best intersections over union: their sum is how many points it takes
IOU_WEIGHT, OUTSIDE = 3.0, 1e5


@dataclass(frozen=True)
class Assignment:
    """The points that learn a face: their indices (k,), the face of each (k,), and its overlap (k,), 0 to 1."""

    points: Tensor
    faces: Tensor
    overlaps: Tensor

    def with_more(self, other: Assignment) -> Assignment:
        """These points and the other's."""
        return Assignment(
            torch.cat([self.points, other.points]),
            torch.cat([self.faces, other.faces]),
            torch.cat([self.overlaps, other.overlaps]),
        )


@torch.no_grad()
def assign(points: Tensor, boxes: Tensor, logits: Tensor, faces: Tensor, labels: Tensor) -> Assignment:
    """Points for the faces of one scene.

    Args:
        points: (p, 3) x, y, stride in pixels. boxes: (p, 4) as the network has them now. logits: (p, 1 + labels).
        faces: (f, 4) boxes. labels: (f,), UNKNOWN if the wear is not known.
    """
    none = torch.zeros(0, dtype=torch.long)
    if not len(faces):
        return Assignment(none, none, torch.zeros(0))
    place, stride = points[:, None, :2], points[:, 2:]
    inside = ((place > faces[:, :2]) & (place < faces[:, 2:])).all(2)
    centres = (faces[:, :2] + faces[:, 2:]) / 2
    near = ((place - centres).abs() < REACH * stride[:, None]).all(2)
    candidates = (inside | near).any(1).nonzero()[:, 0]
    if not len(candidates):
        return Assignment(none, none, torch.zeros(0))
    overlaps = pairwise_iou(faces, boxes[candidates])
    unlikely = ~(inside & near)[candidates].T
    cost = _label_cost(logits[candidates], labels) - IOU_WEIGHT * torch.log(overlaps + 1e-8) + OUTSIDE * unlikely
    most = min(CANDIDATES, len(candidates))
    wanted = overlaps.topk(most, 1).values.sum(1).int().clamp(min=1)
    cheapest = cost.topk(most, 1, largest=False).indices
    taken = torch.zeros_like(cost, dtype=torch.bool)
    taken.scatter_(1, cheapest, torch.arange(most)[None] < wanted[:, None])
    cost = cost.masked_fill(~taken, torch.inf)
    chosen = taken.any(0).nonzero()[:, 0]
    face = cost[:, chosen].argmin(0)
    return Assignment(candidates[chosen], face, overlaps[face, chosen])


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of each box in a (n, 4) with each in b (m, 4): (n, m)."""
    sides = (torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])).clamp(min=0)
    common = sides.prod(2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    return common / (area_a[:, None] + area_b[None] - common).clamp(min=1e-6)


def _label_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """What it costs a point to say what a face is: (f, points). For a face of unknown wear, only that it is one."""
    face = logits[:, :1].sigmoid()
    score = (face * logits[:, 1:].sigmoid()).sqrt().clamp(1e-6, 1 - 1e-6)
    wrong = -torch.log(1 - score)
    known = functional.one_hot(labels.clamp(min=0), score.shape[1]).float()
    cost = known @ (-torch.log(score) - wrong).T + wrong.sum(1)
    alone = -torch.log(face[:, 0].clamp(min=1e-6))[None]
    return torch.where((labels == UNKNOWN)[:, None], alone, cost)
