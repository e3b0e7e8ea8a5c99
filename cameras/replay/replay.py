"""Runs a clip through exactly the pipeline that watches cameras, faster than real time, without Redis or a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from cameras.replay.clip_writer import ClipWriter
from cameras.sources.clip import Clip
from cameras.sources.pictures import Pictures
from cameras.watching.watch import AnalysisPace
from detection import (
    Analyzer,
    Detector,
    Finding,
    Glimpse,
    Image,
    PassageFinding,
    Sighting,
    Snapshot,
    StripPlace,
    ViolationFinding,
)
from detection.pictures import draw_box
from detection.votes import UNSURE


@dataclass
class Replay:
    """What was found in a clip: the last finding of each passage and violation, times in seconds from its start."""

    passages: dict[UUID, PassageFinding] = field(default_factory=dict)
    violations: dict[UUID, ViolationFinding] = field(default_factory=dict)
    snapshots: dict[UUID, Snapshot] = field(default_factory=dict)  # the best of each violation
    glimpses: dict[UUID, dict[StripPlace, Glimpse]] = field(default_factory=dict)  # of each violation
    seconds: float = 0.0  # the clip's length
    analyses: dict[UUID, int] = field(default_factory=dict)  # in how many a person was seen, by passage key
    sure_after: dict[UUID, int] = field(default_factory=dict)  # after how many of them the vote was sure

    def count(self, sightings: list[Sighting]) -> None:
        """Note who is in one analysed frame, and whose vote is sure now."""
        for seen in sightings:
            self.analyses[seen.key] = self.analyses.get(seen.key, 0) + 1
            if seen.label != UNSURE:
                self.sure_after.setdefault(seen.key, self.analyses[seen.key])

    def note(self, findings: list[Finding]) -> None:
        for finding in findings:
            if isinstance(finding, PassageFinding):
                self.passages[finding.key] = finding
            else:
                self.violations[finding.key] = finding
                if finding.snapshot is not None:
                    self.snapshots[finding.key] = finding.snapshot
                self.glimpses.setdefault(finding.key, {}).update({each.place: each for each in finding.glimpses})

    def as_json(self) -> dict[str, list[dict[str, object]]]:
        """Passages and violations; a passage also has its number of analyses, and after how many the vote was sure."""
        return {
            "passages": [
                as_json(passage) | {"analyses": self.analyses.get(key), "sure_after": self.sure_after.get(key)}
                for key, passage in self.passages.items()
            ],
            "violations": [as_json(violation) for violation in self.violations.values()],
        }


def as_json(finding: Finding) -> dict[str, object]:
    """start, end, label, confidence and box of a finding."""
    return {
        "start": round(finding.started_at, 3),
        "end": None if finding.ended_at is None else round(finding.ended_at, 3),
        "label": finding.label,
        "confidence": round(finding.confidence, 3),
        "box": [round(value, 4) for value in finding.box],
    }


def replay(path: Path, analyses_per_second: float = 5.0, model: str | None = None, out: Path | None = None) -> Replay:
    """Run a clip through detector, tracks and votes; with `out`, also write it with boxes and labels drawn in.

    Raises CameraError for a clip that cannot be read, ModelError for a model that cannot be used. A clip that breaks
    off is analysed up to that point before the error is raised.
    """
    analyzer = Analyzer(Detector.load(model))
    result = Replay()
    clip, pictures = Clip(path), Pictures()
    pace = AnalysisPace(analyses_per_second)
    drawing = ClipWriter(out, clip.rate) if out else None
    try:
        for seconds, frame in clip.decode():
            due = pace.due(seconds)
            if due or drawing:
                image = pictures.upright(frame)
            if due:
                result.note(analyzer.analyse(image, seconds))
                result.count(analyzer.sightings())
            result.seconds = seconds
            if drawing:
                drawing.add(draw_sightings(image, analyzer.sightings()))
    finally:
        result.note(analyzer.flush())
        clip.close()
        if drawing:
            drawing.close()
    return result


def draw_sightings(image: Image, sightings: list[Sighting]) -> Image:
    """A copy of the picture with each person's box, label, confidence, the end of their track's key, and its votes."""
    picture = image.copy()
    for seen in sightings:
        votes = " ".join(f"{label} {weight:.1f}" for label, weight in seen.votes.items() if weight >= 0.05)
        text = f"{seen.label} {seen.confidence:.2f} #{seen.key.hex[-4:]}"
        draw_box(picture, seen.box, seen.label, text, votes)
    return picture
