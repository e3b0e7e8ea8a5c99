"""manage.py train --data FILE.json --images DIR --out DIR: train a model of your own."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection import DetectionError

# Option, minimum and maximum.
RANGES = (
    ("epochs", 1, 100_000),
    ("batch", 1, 1024),
    ("workers", 0, 64),
    ("learning_rate", 1e-6, 1.0),
    ("first_rate", 0, 1),
    ("hold_out", 0, 0.9),
    ("smoothing", 0, 0.5),
)


class Command(BaseCommand):
    help = "Train a detector on labelled pictures, calibrate it, choose its threshold, and write it as ONNX."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--data", type=Path, required=True, help="a COCO file: no_mask, mask, incorrect")
        parser.add_argument("--images", type=Path, required=True, help="the folder that its file names are in")
        parser.add_argument(
            "--out",
            dest="folder",
            type=Path,
            required=True,
            help="where checkpoint, curves and model go; run again to resume",
        )
        parser.add_argument("--name", default="model", help="the model's name (model)")
        parser.add_argument(
            "--first", type=Path, help="start from these weights: .onnx of an earlier training, or YuNet's"
        )
        parser.add_argument("--teacher", type=Path, help="a YuNet .onnx: sees faces that labels lack, and landmarks")
        parser.add_argument(
            "--blend",
            type=Path,
            nargs="+",
            default=[],
            help="average the result with these models' weights, if that is better on the pictures held out",
        )
        parser.add_argument("--epochs", type=int, default=100)
        parser.add_argument(
            "--minutes", type=float, default=0, help="stop by then, if the epochs are not done before (0: no limit)"
        )
        parser.add_argument("--batch", type=int, default=32, help="scenes per step (32)")
        parser.add_argument("--learning-rate", type=float, default=1e-3)
        parser.add_argument(
            "--first-rate", type=float, default=1.0, help="share of --learning-rate for what --first gave, 0 to 1 (1)"
        )
        parser.add_argument("--keep-stem", action="store_true", help="do not train the layers before stride 8 (faster)")
        parser.add_argument(
            "--smoothing", type=float, default=0.0, help="of labels, between mask and incorrect, 0 to 0.5 (0)"
        )
        parser.add_argument("--hold-out", type=float, default=0.1, help="share kept for thresholds and curves (0.1)")
        parser.add_argument("--false-alarms", type=float, default=0.05, help="per picture, for the threshold (0.05)")
        parser.add_argument("--threads", type=int, default=0, help="torch's threads (as many as cores)")
        parser.add_argument("--workers", type=int, default=1, help="processes that make scenes; 0: no separate one (1)")
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from detection.training.build import Order, build
            from detection.training.loop import TrainingSettings
            from detection.training.progress import Bar
        except ImportError as error:
            raise CommandError(
                f"Training needs {error.name}, which the product does not: pip install -r requirements-train.txt."
            ) from error
        for name, low, high in RANGES:
            if not low <= options[name] <= high:
                raise CommandError(f"--{name.replace('_', '-')} must be a number from {low:g} to {high:g}.")
        if options["keep_stem"] and not options["first"]:
            raise CommandError("--keep-stem keeps what --first gives: name a model there too.")

        def taken(kind: type) -> dict[str, Any]:
            return {each.name: options[each.name] for each in fields(kind) if each.name in options}

        order = Order(**(taken(Order) | {"settings": TrainingSettings(**taken(TrainingSettings))}))
        self.stdout.write(f"Seed {options['seed']}.")
        bar = Bar()
        try:
            build(order, bar)
        except DetectionError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped. The same command resumes after the last complete epoch in {options['folder']}."
            ) from None
        finally:
            bar.close()
