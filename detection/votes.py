"""What a track's frames say together: mask, no_mask, incorrect or unsure.

One frame can err; a person is judged by many. Each frame votes with its scores, weighted by confidence, size and
sharpness; old votes fade, so that a mask being put on is noticed. Faces that are too small or too blurred do not vote.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from detection.detector import Detection

UNSURE = "unsure"
BARE = frozenset({"no_mask", "incorrect"})

LEAST_SIDE_PX = 9.0  # of the model's input; below it, the label is a guess
FULL_SIDE_PX = 28.0  # from here on, size does not lower the vote
LEAST_SHARPNESS = 0.02
FULL_SHARPNESS = 0.15
HALF_LIFE_S = 0.7
FADE_AT_MOST_S = 0.4  # between two votes: a camera that is analysed once a second must come to a decision too
ENOUGH = 1.5  # summed weight: about three good frames
MASK_SHARE = 0.62
BARE_SHARE = 0.66


@dataclass
class Votes:
    """The votes of one track."""

    evidence: dict[str, float] = field(default_factory=lambda: {"mask": 0.0, "no_mask": 0.0, "incorrect": 0.0})
    decision: str = UNSURE
    confidence: float = 0.0
    last_vote_at: float | None = None
    cast: int = 0

    def cast_vote(self, found: Detection, side_px: float, sharpness: float, at: float) -> float:
        """Count one frame and decide again; returns the vote's weight, 0 if the face cannot vote.

        Args:
            side_px: the geometric mean of the box's sides, in pixels of the model's input.
            sharpness: as detection/appearance.py measures it.
            at: seconds, on any clock that only moves forward.
        """
        weight = vote_weight(found.confidence, side_px, sharpness)
        if weight == 0:
            return 0.0
        gap = 0.0 if self.last_vote_at is None else min(FADE_AT_MOST_S, max(0.0, at - self.last_vote_at))
        fade = 0.5 ** (gap / HALF_LIFE_S)
        total = sum(found.scores.values()) or 1.0
        for label in self.evidence:
            self.evidence[label] = self.evidence[label] * fade + weight * found.scores.get(label, 0.0) / total
        self.last_vote_at = at
        self.cast += 1
        self._decide()
        return weight

    def _decide(self) -> None:
        """A sure vote replaces the decision; an unsure one leaves it as it was."""
        total = sum(self.evidence.values())
        if total < ENOUGH:
            return
        bare = self.evidence["no_mask"] + self.evidence["incorrect"]
        if self.evidence["mask"] / total >= MASK_SHARE:
            self.decision, share = "mask", self.evidence["mask"]
        elif bare / total >= BARE_SHARE:
            self.decision = "no_mask" if self.evidence["no_mask"] >= self.evidence["incorrect"] else "incorrect"
            share = bare
        else:
            return
        self.confidence = share / total


def vote_weight(confidence: float, side_px: float, sharpness: float) -> float:
    """From 0 (may not vote) to 1."""
    if side_px < LEAST_SIDE_PX or sharpness < LEAST_SHARPNESS:
        return 0.0
    size = min(1.0, side_px / FULL_SIDE_PX)
    clear = min(1.0, sharpness / FULL_SHARPNESS)
    return confidence * (0.4 + 0.6 * size) * (0.4 + 0.6 * clear)
