"""Weights between two training runs: what a network newly learned, without losing what it knew before.

Wortsman et al., "Robust fine-tuning of zero-shot models", 2022: networks that began with the same weights may be
averaged weight by weight, and the average does better than either on pictures of another origin. Using it costs no
more.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from detection.coco import Example
from detection.errors import DataError
from detection.training.loop import Progress, held_out_mean
from detection.training.network import Network, Weights, folded, load_folded

SHARES = (0.2, 0.4, 0.6)


def blended(network: Network, earlier: Mapping[str, Weights], held_out: list[Example], progress: Progress) -> Network:
    """The network, or its average with earlier ones if that is better on the held-out pictures.

    Args:
        earlier: weights of exported models by their names; each is tried in turn, in SHARES.

    Raises:
        DataError: an earlier model is a different network.
    """
    if not earlier:
        return network
    best, score = network, held_out_mean(network, held_out)
    for name, theirs in earlier.items():
        mine = {key: value.numpy() for key, value in folded(best).items()}
        for share in SHARES:
            try:
                candidate = unfolded(average(mine, theirs, share), network.residuals)
            except ValueError as error:
                raise DataError(f"{name} cannot be blended in, it is another network: {error}.") from error
            reached = held_out_mean(candidate, held_out)
            if reached > score:
                best, score = candidate, reached
                progress.told(f"With {share:.0%} of {name}: {score:.4f}, mean of face and mask, held out.")
    return best


def average(mine: Weights, theirs: Weights, share: float) -> Weights:
    """Each weight as (1 - share) of mine and share of theirs; what they lack stays mine."""
    return {
        name: np.asarray((1 - share) * value + share * theirs.get(name, value), np.float32)
        for name, value in mine.items()
    }


def unfolded(weights: Weights, residuals: tuple[int, int, int, int]) -> Network:
    """A network for inference with these weights, normalisations neutral. Raises ValueError if they do not fit."""
    network = Network(residuals)
    load_folded(network, weights)
    network.eval().to(memory_format=torch.channels_last)
    return network
