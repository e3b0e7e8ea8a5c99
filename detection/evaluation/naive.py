"""What comes to mind first: OpenCV's capture, each frame as a picture, and the model of the beginning."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from detection.detector import Detector
from detection.evaluation.speed import interpreter
from detection.manifest import MODELS

os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp|threads;1")


def watch_naively(
    address: str, stop: threading.Event, begun: threading.Event, per_second: float, reference: Path | None
) -> None:
    """Read a stream until `stop`, and look at so many pictures a second.

    Args:
        reference: the model's .tflite, to be run by XNNPACK; None means its ONNX file.
    """
    theirs = Detector.load(MODELS / "aizoo-260.json")
    run = interpreter(reference, theirs.manifest, theirs.confidence_threshold) if reference else theirs.detect
    capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG)
    looked_at = 0.0
    while not stop.is_set():
        is_fine, picture = capture.read()
        if not is_fine:
            return
        begun.set()
        if time.monotonic() - looked_at >= 1 / per_second:
            looked_at = time.monotonic()
            run(np.asarray(picture, np.uint8))
    capture.release()
