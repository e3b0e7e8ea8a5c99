"""manage.py evaluate DATA.json --images DIR: how good a model is, compared with a reference."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection import DataError, DetectionError, Detector, write_picture
from detection.coco import Examples, hold_out, read_examples
from detection.evaluation.combinations import Combined, compare
from detection.evaluation.curves import draw_precision
from detection.evaluation.evidence import Survival, survival
from detection.evaluation.near import make_near
from detection.evaluation.report import CLASSES, NOT_FOUND, NOTHING, Evaluation, evaluate
from detection.evaluation.sheet import contact_sheet
from detection.manifest import LABELS


class Command(BaseCommand):
    help = "Average precision, thresholds, sizes, confusion and the worst errors of a model on labelled pictures."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("data", type=Path, metavar="DATA.json", help="a COCO file: no_mask, mask, incorrect")
        parser.add_argument("--images", type=Path, required=True, help="the folder that its file names are in")
        parser.add_argument("--model", help="a model's .json or .onnx (models/default.json)")
        parser.add_argument("--reference", help="another model's .json, to compare with it")
        parser.add_argument(
            "--size", type=int, default=320, help="longer side of the input in px, where a model allows it (320)"
        )
        parser.add_argument("--out", type=Path, help="write curves (.png, .json) and the worst errors into this folder")
        parser.add_argument(
            "--incorrect-is",
            choices=("mask", "no_mask"),
            help="for a data set with only two labels: what a mask worn wrongly counts as",
        )
        parser.add_argument("--groups", type=Path, help="a JSON file of faces sorted by hand: name, value, annotations")
        parser.add_argument("--looks", action="store_true", help="compare each combination of looks, in one table")
        parser.add_argument("--evidence", action="store_true", help="what being found again removes, and what it costs")
        parser.add_argument(
            "--held-out", type=float, metavar="SHARE", help="only the pictures that training holds out with this share"
        )
        parser.add_argument("--close-up", action="store_true", help="pictures of people near a webcam, made of these")
        parser.add_argument("--seed", type=int, default=1, help="of what is held out and made (1)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        size = options["size"]
        if not (32 <= size <= 2048) or size % 32:
            raise CommandError("--size must be a multiple of 32 from 32 to 2048.")
        with tempfile.TemporaryDirectory() as folder:
            self.evaluate(size, Path(folder), options)

    def evaluate(self, size: int, folder: Path, options: dict[str, Any]) -> None:
        try:
            examples = chosen(read_examples(options["data"], options["images"]), folder, options)
            if options["looks"]:
                self.compare(compare(Detector.load(options["model"]), examples.rows), options["json"])
                return
            if options["evidence"]:
                self.show_survival(survival(Detector.load(options["model"]).at(size), examples.rows), options["json"])
                return
            model = evaluate(Detector.load(options["model"]).at(size), examples.rows)
            reference = None
            if options["reference"]:
                reference = evaluate(Detector.load(options["reference"]).at(size), examples.rows)
            if merged := options["incorrect_is"]:
                model, reference = model.merged(merged), reference and reference.merged(merged)
            groups = read_groups(options["groups"]) if options["groups"] else {}
            if options["out"]:
                write(model, reference, options["out"])
        except DetectionError as error:
            raise CommandError(str(error)) from error
        by_group = model.by_group(groups)
        if options["json"]:
            result = {"model": model.as_json(), "reference": reference.as_json() if reference else None}
            self.stdout.write(
                json.dumps(result | {"by_group": by_group, "size": size, "faults": examples.faults}, indent=1)
            )
            return
        for sentence in (*examples.faults, *model.unread):
            self.stderr.write(sentence)
        self.show(model.as_json(), reference.as_json() if reference else None)
        for name, values in by_group.items():
            self.table(name, values)

    def compare(self, rows: list[Combined], as_json: bool) -> None:
        """Each combination of looks: average precisions, and what a picture costs."""
        if as_json:
            self.stdout.write(json.dumps([asdict(row) for row in rows], indent=1))
            return
        self.stdout.write(f"{'AP50':18}{'face':>7}{'mask':>7}{'any':>7}{'12-24 px':>10}{'over half':>11}{'ms':>8}")
        for row in rows:
            cells = f"{_n(row.face):>7}{_n(row.mask):>7}{_n(row.any):>7}{_n(row.far):>10}{_n(row.over_half):>11}"
            self.stdout.write(f"{row.name:18}{cells}{row.ms:>8.2f}")

    def show_survival(self, rows: list[Survival], as_json: bool) -> None:
        """Detections by confidence: known faces and made-up ones, before and after they had to be found again."""
        if as_json:
            self.stdout.write(json.dumps([asdict(row) for row in rows], indent=1))
            return
        self.stdout.write(f"{'confidence':12}{'faces':>8}{'left':>8}{'made up':>10}{'left':>8}")
        for row in rows:
            band = f"{row.low:.1f} to {row.high:.1f}"
            self.stdout.write(f"{band:12}{row.faces:>8}{row.faces_left:>8}{row.made_up:>10}{row.made_up_left:>8}")

    def show(self, ours: dict[str, Any], theirs: dict[str, Any] | None) -> None:
        """The figures as tables."""
        line = self.stdout.write
        faces = ", ".join(f"{count} {label}" for label, count in ours["faces"].items())
        line(f"{ours['name']}: {ours['pictures']} pictures, {faces}")
        line(f"\n{'':12}{'AP50':>8}{'AP75':>8}{'precision':>11}{'recall':>8}   at {ours['threshold']:.2f}")
        for name in CLASSES:
            at = ours["at_threshold"].get(name, {})
            cells = f"{_n(ours['ap50'][name]):>8}{_n(ours['ap75'][name]):>8}"
            line(f"{name:12}{cells}{_n(at.get('precision')):>11}{_n(at.get('recall')):>8}")
        if theirs:
            line(f"\n{theirs['name']}")
            for name in CLASSES:
                line(f"{name:12}{_n(theirs['ap50'][name]):>8}{_n(theirs['ap75'][name]):>8}")
        line(f"\n{'face, px':12}{'faces':>8}{'AP50':>8}{'recall':>8}{'label':>8}   at 640 px wide")
        for name, row in ours["by_size"].items():
            line(f"{name:12}{row['faces']:>8}{_n(row['ap50']):>8}{_n(row['recall']):>8}{_n(row['label_right']):>8}")
        self.table("light", ours["by_light"])
        line(f"\n{'is, called':12}" + "".join(f"{name:>11}" for name in (*LABELS, NOT_FOUND)))
        for name in (*LABELS, NOTHING):
            line(f"{name:12}" + "".join(f"{count:>11}" for count in ours["confusion"][name].values()))

    def table(self, name: str, rows: dict[str, dict[str, Any]]) -> None:
        """Faces, recall and labels for each row."""
        self.stdout.write(f"\n{name:16}{'faces':>8}{'recall':>8}{'label':>8}")
        for value, row in rows.items():
            self.stdout.write(f"{value:16}{row['faces']:>8}{_n(row['recall']):>8}{_n(row['label_right']):>8}")


def chosen(examples: Examples, folder: Path, options: dict[str, Any]) -> Examples:
    """The pictures that the options name. Raises DataError."""
    rows = examples.rows
    if (share := options["held_out"]) is not None:
        if not 0 < share < 1:
            raise DataError("--held-out must be a share between 0 and 1.")
        rows = hold_out(rows, share, options["seed"])[1]
    if options["close_up"]:
        rows = make_near(rows, folder, options["seed"])
    return replace(examples, rows=rows)


def read_groups(path: Path) -> dict[str, dict[str, list[int]]]:
    """Faces sorted by hand, by the ids of their annotations. Raises DataError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): {str(value): [int(each) for each in ids] for value, ids in values.items()}
            for name, values in content["groups"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f'{path.name} does not sort faces: {{"groups": {{name: {{value: [annotation, ...]}}}}}}.'
        ) from error


def write(model: Evaluation, reference: Evaluation | None, folder: Path) -> None:
    """Write curves of face and mask as PNG and JSON, and the worst errors on one sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = {}
    for name in ("face", "mask", "any"):
        each = {model.detector.manifest.name: model.curve(name)}
        if reference:
            each[reference.detector.manifest.name] = reference.curve(name)
        curves[name] = {who: curve for who, curve in each.items() if curve}
    draw_precision(curves, folder / "precision.png", f"{len(model.found)} pictures")
    write_picture(folder / "worst.jpg", contact_sheet(model.misses(), model.false_alarms()))


def _n(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
