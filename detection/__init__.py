"""What is in this frame, and who passed?

    from detection import Detector
    for found in Detector.load().detect(image_bgr):
        print(found.label, found.confidence, found.box)

Code that uses this package imports from here, and knows nothing of its modules.
"""

from detection.pictures import (  # isort: skip  (limits OpenCV)
    MAX_PIXELS,
    MOST_SCANS,
    count_scans,
    decode_picture,
    draw,
    encode_jpeg,
    read_picture,
    scaled_down,
    write_picture,
)
from detection.analyzer import (
    Analyzer,
    FaceQuality,
    Finding,
    PassageFinding,
    Sighting,
    Snapshot,
    ViolationFinding,
    make_key,
)
from detection.detector import Box, Detection, Detector, Image
from detection.errors import DataError, DetectionError, ModelError, PictureError
from detection.filmstrip import Glimpse, StripPlace
from detection.manifest import Manifest, model_names, read_manifest
from detection.people import CarriedPerson

__all__ = [
    "MAX_PIXELS",
    "MOST_SCANS",
    "Analyzer",
    "Box",
    "CarriedPerson",
    "DataError",
    "Detection",
    "DetectionError",
    "Detector",
    "FaceQuality",
    "Glimpse",
    "StripPlace",
    "Finding",
    "Image",
    "Manifest",
    "ModelError",
    "PassageFinding",
    "PictureError",
    "Sighting",
    "Snapshot",
    "ViolationFinding",
    "count_scans",
    "decode_picture",
    "draw",
    "encode_jpeg",
    "make_key",
    "model_names",
    "read_manifest",
    "read_picture",
    "scaled_down",
    "write_picture",
]
