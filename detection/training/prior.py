"""How readily "incorrect" is predicted: training shows it far more often than any lobby does.

Menon et al., "Long-tail learning via logit adjustment", ICLR 2021: the logit of a label that is rarer in use than in
training is lowered. By how much is chosen here, not derived: nobody knows how often a mask slips.
"""

from __future__ import annotations

from copy import deepcopy

import torch

from detection.coco import Example
from detection.manifest import LABELS
from detection.training.loop import Progress, held_out_mean
from detection.training.network import Network

SHIFTS = (-0.25, -0.5, -0.75, -1.0)  # of the logit


def adjusted(network: Network, held_out: list[Example], progress: Progress) -> Network:
    """The network, or a copy that says "incorrect" less readily if that is better on the held-out pictures."""
    best, score = network, held_out_mean(network, held_out)
    for shift in SHIFTS:
        candidate = shifted(network, shift)
        reached = held_out_mean(candidate, held_out)
        if reached > score:
            best, score = candidate, reached
            progress.told(f"With the logit of incorrect at {shift:+g}: {score:.4f}, mean of face and mask, held out.")
    return best


@torch.no_grad()
def shifted(network: Network, shift: float) -> Network:
    """A copy of the network whose logit of "incorrect" is higher by `shift` everywhere."""
    copy = deepcopy(network)
    for end in copy.ends:
        end.label.bias[LABELS.index("incorrect")] += shift
    return copy
