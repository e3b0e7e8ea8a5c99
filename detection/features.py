"""What the network itself knows of a face, to tell people apart: no more is computed for it than is computed anyway.

An early layer's features (at stride 8, before faces are told from other things) are averaged over the hair and
forehead and over the chest, which a mask does not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detection.looks import Box, Floats


@dataclass(frozen=True)
class FeatureOutput:
    """Where a model gives its features, as its manifest says; and what is usual, so that what is unusual counts.

    Args:
        name: of the output, (n, channels, height, width).
        mean, spread: of each channel over many faces: (channels,).
    """

    name: str
    mean: tuple[float, ...]
    spread: tuple[float, ...]


@dataclass(frozen=True)
class Features:
    """The features of one picture.

    Args:
        cells: (channels, rows, columns), as far as the picture reaches. columns, rows: cells of the whole picture.
    """

    output: FeatureOutput
    cells: Floats
    columns: float
    rows: float

    @classmethod
    def of(cls, output: FeatureOutput, cells: Floats, inner: tuple[float, float]) -> Features:
        """Of a letterbox at whose top left the picture is.

        Args:
            cells: (channels, rows, columns) of all of it. inner: which share of it the picture is: across, and down.
        """
        columns, rows = cells.shape[2] * inner[0], cells.shape[1] * inner[1]
        held = cells[:, : max(1, int(np.ceil(rows))), : max(1, int(np.ceil(columns)))]
        return cls(output, held, columns, rows)

    def embedding(self, box: Box) -> Floats:
        """Of a face (relative to the picture), unit length: (2 * channels,)."""
        mean, spread = np.asarray(self.output.mean, np.float32), np.asarray(self.output.spread, np.float32)
        parts = [(self.average(part) - mean) / spread for part in (forehead(box), chest(box))]
        both = np.concatenate(parts)
        return np.asarray(both / max(1e-6, float(np.linalg.norm(both))), np.float32)

    def average(self, box: Box) -> Floats:
        """The mean over a box, at least one cell: (channels,)."""
        _channels, rows, columns = self.cells.shape
        x1 = min(max(0, int(np.floor(box[0] * self.columns))), columns - 1)
        y1 = min(max(0, int(np.floor(box[1] * self.rows))), rows - 1)
        x2 = min(max(x1 + 1, int(np.ceil(box[2] * self.columns))), columns)
        y2 = min(max(y1 + 1, int(np.ceil(box[3] * self.rows))), rows)
        mean: npt.NDArray[np.float32] = self.cells[:, y1:y2, x1:x2].mean((1, 2))
        return mean


def forehead(box: Box) -> Box:
    """Hair and forehead of a face."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    return (x1 - 0.15 * w, y1 - 0.25 * h, x2 + 0.15 * w, y1 + 0.45 * h)


def chest(box: Box) -> Box:
    """What is below a face."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    return (x1 - 0.5 * w, y2 + 0.2 * h, x2 + 0.5 * w, y2 + 1.2 * h)
