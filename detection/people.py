"""What is remembered, and was reported, of each person in one camera's view; and how the next analyzer gets it.

people = analyzer.people_in_view()   # after an analysis: plain values, that can go to another process
analyzer.take_over(people)           # there, before its first picture: the same passages and violations go on
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import UUID

import numpy as np

from detection.appearance import Patch, Signature
from detection.detector import Box, Detection, Image
from detection.filmstrip import Filmstrip
from detection.tracks import Track
from detection.votes import Votes
from detection.zones import NOT_REQUIRED, REQUIRED

SEQ_STEP = 1000  # more than can be told of somebody between two notes of them: what comes after it is newer
CARRIED_S = 30.0  # whoever was seen longer ago than this, and comes again, is another passage


@dataclass
class Candidate:
    """A frame that may become the snapshot."""

    quality: float
    image_bgr: Image
    detection: Detection
    others: tuple[Box, ...]
    captured_at: float


@dataclass
class Spell:
    """A violation while it may still change."""

    key: UUID
    label: str
    started_at: float
    opened_at: float
    bare_since: float
    demand: str
    seq: int = 0
    open: bool = True
    ended_at: float | None = None
    next_at: float = 0.0  # when it is reported again
    picture_quality: float = 0.0
    picture_at: float = 0.0
    box: Box = (0.0, 0.0, 0.0, 0.0)
    is_carried: bool = False  # it began on another worker, and no picture was taken here yet


@dataclass
class Person:
    """What has been reported about a track so far."""

    track: Track
    seq: int = 0
    told_label: str = ""
    told_at: float = 0.0
    demand: str = NOT_REQUIRED  # the strictest of where they were
    demand_now: str = REQUIRED
    spell: Spell | None = None
    bare_since: float | None = None
    masked_since: float | None = None
    candidate: Candidate | None = None
    strip: Filmstrip = field(default_factory=Filmstrip)
    doubted_at: float = float("-inf")  # when it was last not found again, when that was asked
    confidences: dict[str, tuple[float, int]] = field(default_factory=dict)  # sum and count, by label


@dataclass(frozen=True)
class CarriedPerson:
    """A person in plain values.

    Args:
        key: of their passage.
        label: as it was told last.
        last: their last detection, at `last_seen_at`.
        confidences: sum and count, by label.
        looks: colours of head and chest, and the network's features, if it gives some.
    """

    key: UUID
    seq: int
    label: str
    demand: str
    started_at: float
    last_seen_at: float
    last: Detection
    hits: int
    is_live: bool
    has_strayed: bool
    votes: Votes
    confidences: dict[str, tuple[float, int]]
    looks: tuple[tuple[float, ...], ...]
    bare_since: float | None = None
    spell: Spell | None = None


def carried(person: Person) -> CarriedPerson:
    """Somebody as they are now."""
    track = person.track
    return CarriedPerson(
        key=track.key,
        seq=person.seq,
        label=person.told_label,
        demand=person.demand,
        started_at=track.started_at,
        last_seen_at=track.last_seen_at,
        last=track.last,
        hits=track.hits,
        is_live=track.live,
        has_strayed=track.has_strayed,
        votes=replace(track.votes, evidence=dict(track.votes.evidence)),
        confidences=dict(person.confidences),
        looks=_looks_of(track.signature),
        bare_since=person.bare_since,
        spell=replace(person.spell) if person.spell else None,
    )


def person_of(given: CarriedPerson) -> Person:
    """The other way round: nobody has seen them here yet, and whatever is told of them from now on is newer."""
    track = Track(
        given.key,
        given.last.box,
        given.started_at,
        given.last_seen_at,
        given.last,
        hits=given.hits,
        votes=replace(given.votes, evidence=dict(given.votes.evidence)),
        signature=_signature_of(given.looks),
        live=given.is_live,
        has_strayed=given.has_strayed,
    )
    spell = replace(given.spell, seq=given.spell.seq + SEQ_STEP, is_carried=True) if given.spell else None
    return Person(
        track,
        seq=given.seq + SEQ_STEP,
        told_label=given.label,
        told_at=float("-inf"),  # the passage is told first, and then the violation in it
        demand=given.demand,
        spell=spell,
        bare_since=given.bare_since,
        confidences=dict(given.confidences),
    )


def _looks_of(known: Signature | None) -> tuple[tuple[float, ...], ...]:
    if known is None:
        return ()
    parts: list[Patch] = [known.head, known.chest] + ([] if known.embedding is None else [known.embedding])
    return tuple(tuple(round(float(value), 4) for value in part) for part in parts)


def _signature_of(looks: tuple[tuple[float, ...], ...]) -> Signature | None:
    if len(looks) < 2:
        return None
    head, chest, *rest = (np.asarray(values, np.float32) for values in looks)
    return Signature(head, chest, rest[0] if rest else None)


def mean_confidence(person: Person, label: str) -> float:
    """The mean confidence of the frames that voted for the label, or of the last frame if none did."""
    total, count = person.confidences.get(label, (person.track.last.confidence, 1))
    return total / count
