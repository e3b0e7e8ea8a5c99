"""manage.py replay CLIP: what the pipeline sees in a clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cameras.errors import CameraError
from cameras.replay.replay import replay
from detection import DetectionError


class Command(BaseCommand):
    help = "Run a clip through detector, tracks and votes, faster than real time, without Redis or a database."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("clip", type=Path)
        parser.add_argument("--fps", type=float, default=5.0, help="analyses a second of the clip (5)")
        parser.add_argument("--model", help="a model's .json or .onnx (models/default.json)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--out", type=Path, help="write the clip with boxes and labels drawn in (.mp4)")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0.1 <= options["fps"] <= 120:
            raise CommandError("--fps must be a number of analyses a second from 0.1 to 120.")
        if not options["clip"].is_file():
            raise CommandError(f"There is no clip {options['clip']}.")
        try:
            result = replay(options["clip"], options["fps"], options["model"], options["out"])
        except (CameraError, DetectionError) as error:
            raise CommandError(str(error)) from error
        found = result.as_json()
        if options["json"]:
            self.stdout.write(json.dumps(found, indent=1))
            return
        for kind in ("passages", "violations"):
            self.stdout.write(f"{len(found[kind])} {kind}")
            for row in found[kind]:
                sure = f"  sure after {row['sure_after']} of {row['analyses']}" if row.get("sure_after") else ""
                self.stdout.write(
                    f"  {row['start']:7.2f} to {row['end']:7.2f} s  {row['label']:10} {row['confidence']:.2f}{sure}"
                )
