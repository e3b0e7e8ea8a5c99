"""How a model's outputs become boxes and scores: one function per kind of model.

Each returns boxes_xyxy (p, 4) float32 and scores (p, labels) float32, only for points whose best score reaches the
threshold: scores are cut first, and boxes are computed for the few that are left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from detection.errors import ModelError
from detection.manifest import AnchorGrid, Manifest

Floats = npt.NDArray[np.float32]
Decoder = Callable[[Manifest, tuple[Floats, ...], float], tuple[Floats, Floats]]


def decode_points(manifest: Manifest, outputs: tuple[Floats, ...], threshold: float) -> tuple[Floats, Floats]:
    """Boxes in pixels of the input, already decoded in the graph: boxes (1, p, 4), scores (1, p, labels)."""
    boxes_px, scores = outputs[0][0], outputs[1][0]
    chosen = _reaching(scores, threshold)
    return boxes_px[chosen], scores[chosen]


def decode_ssd(manifest: Manifest, outputs: tuple[Floats, ...], threshold: float) -> tuple[Floats, Floats]:
    """SSD's offsets against anchors (Liu et al., 2016, section 2.2), in pixels of the input."""
    loc, scores = outputs[0][0], outputs[1][0]
    if manifest.anchors is None:
        raise ModelError(f"The manifest of {manifest.name} has no anchors.")
    chosen = _reaching(scores, threshold)
    anchors = make_anchors(manifest.anchors)[chosen]
    offsets = loc[chosen] * np.asarray(manifest.anchors.variances, np.float32)
    centres = offsets[:, :2] * anchors[:, 2:] + anchors[:, :2]
    sizes = np.exp(np.clip(offsets[:, 2:], -10, 10)) * anchors[:, 2:]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    side_px = np.asarray([manifest.input.width, manifest.input.height] * 2, np.float32)
    return (boxes * side_px).astype(np.float32), scores[chosen]


def _reaching(scores: Floats, threshold: float) -> npt.NDArray[np.intp]:
    """The points (of rows of labels) whose best score reaches the threshold; few do, so no maximum is taken of all."""
    return np.unique(np.flatnonzero(scores.ravel() >= threshold) // scores.shape[1])


@lru_cache(maxsize=4)
def make_anchors(grid: AnchorGrid) -> Floats:
    """Anchors (p, 4) as centre x, centre y, width, height, relative to the picture.

    Order: map by map, row by row, column by column, then size 0, size 1, and size 0 at each further ratio.
    """
    levels = []
    for (rows, columns), (small, large) in zip(grid.maps, grid.sizes, strict=True):
        shapes = [(small, small), (large, large)]
        shapes = [(side * grid.ratios[0] ** 0.5, side / grid.ratios[0] ** 0.5) for side, _ in shapes]
        shapes += [(small * ratio**0.5, small / ratio**0.5) for ratio in grid.ratios[1:]]
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        centres = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
        sizes = np.asarray(shapes, np.float64).reshape(1, -1, 2)
        shape = (centres.shape[0], sizes.shape[1], 2)
        levels.append(np.concatenate([np.broadcast_to(centres, shape), np.broadcast_to(sizes, shape)], axis=2))
    return np.concatenate([level.reshape(-1, 4) for level in levels]).astype(np.float32)


def count_anchors(grid: AnchorGrid) -> int:
    return sum(rows * columns for rows, columns in grid.maps) * (len(grid.ratios) + 1)


DECODERS: dict[str, Decoder] = {"points": decode_points, "ssd": decode_ssd}
