"""A detector that sees what the test tells it to, and frames whose pixels change as a living face's do."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from detection import Analyzer, Box, Detection, Finding, PassageFinding, ViolationFinding
from detection.detector import LookResult
from detection.looks import Looks

SCORES = {
    "mask": (0.9, 0.05, 0.05),
    "no_mask": (0.05, 0.9, 0.05),
    "incorrect": (0.05, 0.05, 0.9),
    "torn": (0.5, 0.5, 0.0),
}
COLOURS = {"a": (40, 90, 200), "b": (200, 60, 40), "c": (60, 190, 60)}


@dataclass
class Actor:
    """One face in one frame: who (colours), where (centre and side, relative to the picture's height) and how."""

    who: str
    x: float
    y: float
    label: str
    side: float = 0.25
    frozen: bool = False


@dataclass
class Stage:
    """A 640x360 picture; `show` feeds one frame to the analyzer that it holds."""

    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_a_face = True  # to what the detector is asked before an accusation
        self._seen: list[Detection] = []
        self._random = np.random.default_rng(3)
        self._faces = {who: self._random.normal(0, 25, (90, 90, 3)) for who in COLOURS}
        manifest = SimpleNamespace(input=SimpleNamespace(longer_side=320), looks=Looks())
        model = SimpleNamespace(manifest=manifest, look=self._look, survives=lambda image, box: self.is_a_face)
        self.analyzer = Analyzer(model)  # type: ignore[arg-type]

    def _look(self, image: np.ndarray, threshold: float, hints: object, before: object) -> LookResult:
        return LookResult(self._seen, [], 0)

    def show(self, at: float, *actors: Actor, is_broken: bool = False) -> None:
        image = np.full((360, 640, 3), 128, np.uint8)
        self._seen = [self._paint(image, actor) for actor in actors if 0.02 < actor.x < 0.98]
        self.findings += self.analyzer.analyse(image, at, is_broken)

    def play(self, start: float, end: float, *actors: Actor, is_broken: bool = False) -> None:
        for step in range(round((end - start) * 5)):
            self.show(start + step / 5, *actors, is_broken=is_broken)

    def _paint(self, image: np.ndarray, actor: Actor) -> Detection:
        half = actor.side / 2 * 360
        x1, y1 = actor.x * 640 - half, actor.y * 360 - half
        top, left, size = max(0, int(y1)), max(0, int(x1)), int(2 * half)
        colour = np.asarray(COLOURS[actor.who], float)
        image[max(0, top - 20) : top + 2 * size, max(0, left - 20) : left + size + 20] = colour
        face = colour + self._faces[actor.who]
        if not actor.frozen:
            face = face + self._random.normal(0, 25, face.shape)
        rows = np.linspace(0, 89, min(size, 360 - top)).astype(int)
        columns = np.linspace(0, 89, min(size, 640 - left)).astype(int)
        patch = np.clip(face[np.ix_(rows, columns)], 0, 255).astype(np.uint8)
        image[top : top + len(rows), left : left + len(columns)] = patch
        scores = dict(zip(("mask", "no_mask", "incorrect"), SCORES[actor.label], strict=True))
        box: Box = (max(0, x1 / 640), max(0, y1 / 360), min(1, (x1 + 2 * half) / 640), min(1, (y1 + 2 * half) / 360))
        label = max(scores, key=lambda name: scores[name])
        return Detection(box, label, scores[label], scores)

    def leave(self) -> None:
        self.findings += self.analyzer.flush()

    @property
    def passages(self) -> list[PassageFinding]:
        """The last finding of each passage, in order of their start."""
        return list({f.key: f for f in self.findings if isinstance(f, PassageFinding)}.values())

    @property
    def violations(self) -> list[ViolationFinding]:
        return list({f.key: f for f in self.findings if isinstance(f, ViolationFinding)}.values())

    def told(self, key: object) -> list[Finding]:
        """All findings of one key, in the order in which they came."""
        return [finding for finding in self.findings if finding.key == key]
