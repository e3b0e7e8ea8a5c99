"""What can go wrong in detection, named by what the caller does next.

DetectionError
├── ModelError      the model cannot be used as its manifest says; start with another, or fix the manifest
├── PictureError    this picture cannot be read or is too large; leave it out and go on
└── DataError       pictures with boxes, or a training run, cannot be used; fix them, and start again
"""

from __future__ import annotations


class DetectionError(Exception):
    """Any detection fault; the text says what and why in one sentence."""


class ModelError(DetectionError):
    """The ONNX file, or its inputs and outputs, do not match its manifest."""


class PictureError(DetectionError):
    """The picture cannot be used."""


class DataError(DetectionError):
    """Pictures with boxes, or a training run, cannot be used as they are; the text says what to do."""
