"""What the network is penalised for: a face missed or made up, a misplaced box, a wrong label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from detection.training.assign import Assignment, assign, pairwise_iou
from detection.training.augment import UNKNOWN

BOX_WEIGHT = 5.0
TAUGHT_FROM = 0.3  # a point learns the face whose box the teacher gives there, from this score on
SAME = 0.5  # intersection over union from which the teacher's box and a face are the same


@dataclass(frozen=True)
class Loss:
    """The parts of a batch's loss; `total` is what is minimised."""

    face: Tensor
    box: Tensor
    label: Tensor

    @property
    def total(self) -> Tensor:
        return self.face + BOX_WEIGHT * self.box + self.label


def batch_loss(
    points: Tensor,
    boxes: Tensor,
    logits: Tensor,
    faces: list[Tensor],
    labels: list[Tensor],
    ignored: list[Tensor],
    taught: Sequence[tuple[Tensor, Tensor]] = (),
    smoothing: float = 0.0,
) -> Loss:
    """The loss of a batch, a mean over the points that learn a face.

    Where there is a teacher, a point without a face of its own learns the teacher's face score there (after Hinton,
    Vinyals and Dean, "Distilling the knowledge in a neural network", 2015), and a point whose box the teacher puts on
    a face learns that face's box and label too, weighted by that score.

    Args:
        points: (p, 3). boxes: (n, p, 4) and logits: (n, p, 1 + labels), of the network.
        faces, labels, ignored: for each scene, its boxes (f, 4), labels (f,) and ignored places (k, 4).
        taught: for each scene, the teacher's face scores at the first points (q,), 0 to 1, and its boxes
            (q, 4); these points count in ignored places too.
        smoothing: what a masked face's target gives to "incorrect", and vice versa, 0 to 0.5.
    """
    given = [
        assign(points, boxes[index].detach(), logits[index].detach(), faces[index], labels[index])
        for index in range(len(faces))
    ]
    is_face = torch.zeros(logits.shape[:2])
    counts = torch.ones_like(is_face)
    weights = [torch.ones(len(each.points)) for each in given]
    for index, each in enumerate(given):
        if len(ignored[index]):
            place = points[:, None, :2]
            within = ((place >= ignored[index][:, :2]) & (place <= ignored[index][:, 2:])).all(2).any(1)
            counts[index, within] = 0
        if taught:
            told, told_boxes = taught[index]
            is_face[index, : len(told)] = told
            counts[index, : len(told)] = 1
            more = _led(told, told_boxes, each, boxes[index].detach(), faces[index])
            weights[index] = torch.cat([weights[index], told[more.points]])
            given[index] = each.with_more(more)
        is_face[index, each.points] = 1
        counts[index, each.points] = 1
    weight = torch.cat(weights)
    count = weight.sum().clamp(min=1)
    face = (functional.binary_cross_entropy_with_logits(logits[..., 0], is_face, reduction="none") * counts).sum()
    predicted, wanted = _gather(boxes, given), _faces(faces, given)
    box = (eiou_loss(predicted, wanted) * weight).sum() if len(wanted) else boxes.sum() * 0
    label = _label_loss(_gather(logits, given)[:, 1:], labels, given, smoothing)
    return Loss(face / count, box / count, label / count)


@torch.no_grad()
def _led(told: Tensor, told_boxes: Tensor, own: Assignment, boxes: Tensor, faces: Tensor) -> Assignment:
    """The points without a face of their own that the teacher leads to one; they count as much as it is sure."""
    led = told >= TAUGHT_FROM
    led[own.points[own.points < len(told)]] = False
    at = led.nonzero()[:, 0]
    if not len(at) or not len(faces):
        none = at[:0]
        return Assignment(none, none, torch.zeros(0))
    overlap, face = pairwise_iou(told_boxes[at], faces).max(1)
    at, face = at[overlap >= SAME], face[overlap >= SAME]
    mine = pairwise_iou(boxes[at], faces)[torch.arange(len(at)), face]
    return Assignment(at, face, mine * told[at])


def eiou_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 minus the efficient intersection over union of box pairs (n, 4): (n,), from 0 (the same) to about 4.

    Zhang et al., "Focal and efficient IOU loss for accurate bounding box regression", 2022, equation 7.
    """
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - common
    around = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    centres = ((a[:, :2] + a[:, 2:]) - (b[:, :2] + b[:, 2:])) / 2
    sides = (a[:, 2:] - a[:, :2]) - (b[:, 2:] - b[:, :2])
    far = centres.square().sum(1) / around.square().sum(1).clamp(min=1e-6)
    shape = (sides.square() / around.square().clamp(min=1e-6)).sum(1)
    return 1 - common / union.clamp(min=1e-6) + far + shape


def _label_loss(logits: Tensor, labels: list[Tensor], given: list[Assignment], smoothing: float) -> Tensor:
    chosen = torch.cat([own[each.faces] for own, each in zip(labels, given, strict=True)])
    overlaps = torch.cat([each.overlaps for each in given])
    known = chosen != UNKNOWN
    target = functional.one_hot(chosen[known], logits.shape[1]).float()
    if smoothing:
        worn = target[:, 1:] * (1 - smoothing) + target[:, 1:].flip(1) * smoothing
        target = torch.cat([target[:, :1], worn], 1)
    loss = functional.binary_cross_entropy_with_logits(logits[known], target, reduction="none").sum(1)
    return (loss * overlaps[known]).sum()


def _gather(values: Tensor, given: list[Assignment]) -> Tensor:
    return torch.cat([values[index, each.points] for index, each in enumerate(given)])


def _faces(faces: list[Tensor], given: list[Assignment]) -> Tensor:
    return torch.cat([own[each.faces] for own, each in zip(faces, given, strict=True)])
