"""manage.py detect PICTURE...: the faces in pictures, as text, as JSON or drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection import DetectionError, Detector, PictureError, draw, read_picture, write_picture


class Command(BaseCommand):
    help = "Find faces and their masks in pictures; a picture that cannot be read is reported, and the rest go on."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
        parser.add_argument("--model", help="a model's .json or .onnx (models/default.json)")
        parser.add_argument("--out", type=Path, help="write the pictures with boxes drawn into this folder")
        parser.add_argument("--json", action="store_true", help="print one JSON object: detections by picture")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            detector = Detector.load(options["model"])
        except DetectionError as error:
            raise CommandError(str(error)) from error
        found: dict[str, list[dict[str, object]]] = {}
        unread = 0
        for path in options["pictures"]:
            try:
                found[str(path)] = self.detect(detector, path, options["out"])
            except PictureError as error:
                unread += 1
                self.stderr.write(str(error))
        if options["json"]:
            self.stdout.write(json.dumps(found, indent=1))
        else:
            for name, rows in found.items():
                self.stdout.write(f"{name}: {len(rows)} face{'' if len(rows) == 1 else 's'}")
                for row in rows:
                    self.stdout.write(f"  {row['label']:10} {row['confidence']:.2f}  {row['box']}")
        if unread:
            raise CommandError(f"{unread} of {len(options['pictures'])} pictures could not be read; see above.")

    def detect(self, detector: Detector, path: Path, out: Path | None) -> list[dict[str, object]]:
        image = read_picture(path)
        detections = detector.detect(image)
        if out is not None:
            write_picture(out / f"{path.stem}.jpg", draw(image, detections))
        return [
            {
                "box": [round(value, 4) for value in each.box],
                "label": each.label,
                "confidence": round(each.confidence, 3),
                "scores": {label: round(score, 3) for label, score in each.scores.items()},
            }
            for each in detections
        ]
