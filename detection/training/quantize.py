"""INT8 from float, without training: scales are taken from how the float model responds to training pictures."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from detection.detector import Image, prepare
from detection.manifest import ModelInput

# What is computed in INT8; the boxes' and scores' decoding stays in float, where a step of 1/255 would be noticeable.
OPERATORS = ["Conv", "Relu", "MaxPool", "Add", "Resize"]


class _Pictures(CalibrationDataReader):
    def __init__(self, images: Iterable[Image], wanted: ModelInput) -> None:
        self._rows: Iterator[dict[str, npt.NDArray[np.float32]]] = (
            {wanted.name: prepare(image, wanted)[0]} for image in images
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._rows, None)


def quantize(model: Path, path: Path, images: Iterable[Image], wanted: ModelInput) -> None:
    """Write an INT8 copy of a float model: weights per channel, quantise and dequantise nodes around each operator.

    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018;
    activations unsigned, asymmetric; weights signed, symmetric.

    Args:
        images: pictures like those that the model will see; a hundred are enough.
    """
    logging.getLogger("root").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        inferred = Path(folder) / "inferred.onnx"
        quant_pre_process(str(model), str(inferred), skip_symbolic_shape=True)
        quantize_static(
            str(inferred),
            str(path),
            _Pictures(images, wanted),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=OPERATORS,
        )
