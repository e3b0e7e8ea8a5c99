"""Detections over time become tracks: one per person.

Association is by intersection over union with the predicted box, then by distance (people near the camera move by
more than a face between two analyses), confident detections first (after ByteTrack, Zhang et al., 2022: faint ones
may continue a track but never begin one). A track lost away from the picture's edge is kept for LOST_S; a face found
nearby with similar colours within that time is the same person.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from detection.appearance import Patch, Signature, face_patch, largest_change, sharpness, signature, similarity
from detection.detector import Box, Detection, Image
from detection.votes import Votes

CONFIDENT = 0.5  # begins a track
FAINT = 0.25  # continues one
MISSING_S = 0.7  # up to here, a track has merely been missed for a frame or two
LOST_S = 3.0
STILL_LOST_S = 60.0  # a portrait that flickers stays one track
EDGE = 0.015
SIMILAR = 0.72
MATCH_IOU = 0.25
REACH = 1.3  # of the face's side: how far it may jump between two analyses
PACE = 1.5  # of the side, per second: how much further after a gap; somebody walking past moves seven
CHANGED_LEVELS = 1.3
CHANGE_WINDOW = 50  # analyses
SEEN_WINDOW = 15  # analyses
CHANGED_SHARE = 0.08


@dataclass
class Track:
    """One person's (or portrait's) boxes over time.

    Args:
        key: made when the face was first seen; the passage's id.
        velocity: of the box's centre, relative to the picture, per second.
        seen: of the last analyses since it began, in which it was detected.
    """

    key: UUID
    box: Box
    started_at: float
    last_seen_at: float
    last: Detection
    velocity: tuple[float, float] = (0.0, 0.0)
    hits: int = 1
    votes: Votes = field(default_factory=Votes)
    signature: Signature | None = None
    sharpness: float = 0.0
    live: bool = False
    first_box: Box = (0.0, 0.0, 0.0, 0.0)
    reference: Patch | None = None
    reference_box: Box = (0.0, 0.0, 0.0, 0.0)
    changes: deque[bool] = field(default_factory=lambda: deque(maxlen=CHANGE_WINDOW))
    seen: deque[bool] = field(default_factory=lambda: deque([True], SEEN_WINDOW))

    @property
    def confirmed(self) -> bool:
        """Seen often enough to be more than a flicker."""
        return self.hits >= 3 or (self.hits >= 2 and self.last_seen_at - self.started_at >= 0.4)

    @property
    def seen_share(self) -> float:
        """In how much of the last analyses it was detected, and did not just go on by itself: 0 to 1."""
        return sum(self.seen) / len(self.seen)

    def predicted(self, at: float) -> Box:
        """The box where motion has carried it; motion is trusted for half a second."""
        ahead = min(0.5, max(0.0, at - self.last_seen_at))
        dx, dy = self.velocity[0] * ahead, self.velocity[1] * ahead
        x1, y1, x2, y2 = self.box
        return (x1 + dx, y1 + dy, x2 + dx, y2 + dy)

    def at_edge(self, at: float) -> bool:
        """Whether the face was leaving the picture when it was last seen."""
        x1, y1, x2, y2 = self.box
        ahead = self.predicted(at)
        touching = x1 <= EDGE or x2 >= 1 - EDGE or y2 >= 1 - EDGE
        gone = ahead[0] < 0 or ahead[2] > 1 or ahead[3] > 1
        return touching or gone

    def keep_s(self, at: float) -> float:
        """How long this track waits to be found again after it was last seen."""
        if not self.live and self.last_seen_at - self.started_at > 10:
            return STILL_LOST_S
        return MISSING_S if self.at_edge(at) else LOST_S

    def update(
        self, found: Detection, image_bgr: Image, at: float, input_scale: float, is_broken: bool = False
    ) -> float:
        """Take one more sighting; returns its vote's weight, 0 from a broken picture."""
        gap = at - self.last_seen_at
        if gap > 0:
            moved = [now - before for now, before in zip(centre(found.box), centre(self.box), strict=True)]
            pull = 0.6 if gap <= MISSING_S else 1.0
            self.velocity = (
                (1 - pull) * self.velocity[0] + pull * moved[0] / gap,
                (1 - pull) * self.velocity[1] + pull * moved[1] / gap,
            )
        self.box, self.last, self.last_seen_at = found.box, found, at
        self.hits += 1
        return 0.0 if is_broken else self.look(found, image_bgr, at, input_scale)

    def look(self, found: Detection, image_bgr: Image, at: float, input_scale: float) -> float:
        """Measure the face's pixels and let them vote."""
        self.sharpness = sharpness(image_bgr, found.box)
        self.signature = signature(image_bgr, found.box)
        self._see_life(image_bgr, input_scale)
        height, width = image_bgr.shape[:2]
        x1, y1, x2, y2 = found.box
        side_px = math.sqrt((x2 - x1) * width * (y2 - y1) * height) * input_scale * found.detail
        return self.votes.cast_vote(found, side_px, self.sharpness, at)

    def _see_life(self, image_bgr: Image, input_scale: float) -> None:
        """A face whose box and pixels never change is a portrait.

        Changes are counted against the last analysis, at one fixed place; somebody who passes in front of a
        portrait changes few of its analyses, somebody who sits and blinks changes many.
        """
        if self.live:
            return
        if self.reference is None:
            self.first_box = self.reference_box = self.box
            self.reference = face_patch(image_bgr, self.box)
            return
        now = face_patch(image_bgr, self.reference_box)
        changed = largest_change(self.reference, now) > CHANGED_LEVELS
        self.changes.append(changed or self._has_moved(image_bgr, input_scale))
        if changed:
            self.reference_box = self.box
            self.reference = face_patch(image_bgr, self.box)
        else:
            self.reference = now
        count = sum(self.changes)
        self.live = count >= 2 and count / len(self.changes) >= CHANGED_SHARE

    def _has_moved(self, image_bgr: Image, input_scale: float) -> bool:
        """Whether the box left the place of its first sighting by more than a detector's jitter (2 px of input)."""
        height, width = image_bgr.shape[:2]
        (x, y), (x0, y0) = centre(self.box), centre(self.first_box)
        return math.hypot((x - x0) * width, (y - y0) * height) * input_scale > max(
            4.0, 0.25 * side(self.box) * math.sqrt(width * height) * input_scale
        )


class Tracker:
    """The tracks of one camera."""

    def __init__(self, make_key: Callable[[float], UUID], longer_side_px: int) -> None:
        """`make_key` gives a new key for a moment; `longer_side_px` is that of the model's input."""
        self.tracks: list[Track] = []
        self._make_key = make_key
        self._longer_side_px = longer_side_px

    def update(
        self, detections: Sequence[Detection], image_bgr: Image, at: float, is_broken: bool = False
    ) -> tuple[dict[UUID, float], list[Track]]:
        """Take in one analysis; returns the weights of the votes that it cast, by track, and the tracks that ended.

        A broken picture shows where people are that were seen before; it casts no vote, and nobody appears in it.
        """
        scale = self._longer_side_px / max(image_bgr.shape[:2])
        ended = [track for track in self.tracks if at - track.last_seen_at > track.keep_s(at)]
        self.tracks = [track for track in self.tracks if track not in ended]
        weights: dict[UUID, float] = {}
        free = list(self.tracks)
        unused: list[Detection] = []
        for strong in (True, False):
            chosen = [found for found in detections if (found.confidence >= CONFIDENT) is strong]
            pairs, left = associate(free, chosen, image_bgr, at)
            for track, found in pairs:
                weights[track.key] = track.update(found, image_bgr, at, scale, is_broken)
                free.remove(track)
            if strong:
                unused = left
        if not is_broken:
            for track in self.tracks:
                track.seen.append(track.last_seen_at == at)
        for found in () if is_broken else unused:
            if any(overlap(found.box, track.box) > 0.5 and track.last_seen_at == at for track in self.tracks):
                continue
            track = Track(self._make_key(at), found.box, at, at, found)
            weights[track.key] = track.look(found, image_bgr, at, scale)
            self.tracks.append(track)
        return weights, ended

    def flush(self) -> list[Track]:
        """End all tracks, as when the stream stops."""
        ended, self.tracks = self.tracks, []
        return ended


def associate(
    tracks: Sequence[Track], detections: Sequence[Detection], image_bgr: Image, at: float
) -> tuple[list[tuple[Track, Detection]], list[Detection]]:
    """Pairs of track and detection, best first, each used once; and the detections that are left."""
    scored = []
    for track in tracks:
        for found in detections:
            score = affinity(track, found, image_bgr, at)
            if score > 0:
                scored.append((score, track, found))
    scored.sort(key=lambda entry: -entry[0])
    pairs: list[tuple[Track, Detection]] = []
    used_tracks: set[UUID] = set()
    used_detections: set[int] = set()
    for _score, track, found in scored:
        if track.key not in used_tracks and id(found) not in used_detections:
            pairs.append((track, found))
            used_tracks.add(track.key)
            used_detections.add(id(found))
    return pairs, [found for found in detections if id(found) not in used_detections]


def affinity(track: Track, found: Detection, image_bgr: Image, at: float) -> float:
    """How well a detection continues a track: over 1 by overlap, up to 1 by distance, 0 not at all."""
    gap = at - track.last_seen_at
    ratio = side(found.box) / max(1e-6, side(track.box))
    if not 0.4 < ratio < 2.5:
        return 0.0
    predicted = track.predicted(at)
    distance = math.dist(centre(found.box), centre(predicted)) / max(side(found.box), side(track.box))
    if gap > MISSING_S:
        reach = REACH + PACE * min(gap, LOST_S)
        if distance > reach or track.signature is None:
            return 0.0
        alike = similarity(track.signature, signature(image_bgr, found.box))
        return 0.5 * alike * (1 - distance / reach) if alike >= SIMILAR else 0.0
    common = max(overlap(predicted, found.box), overlap(track.box, found.box))
    if common >= MATCH_IOU:
        return 1.0 + common
    if distance > REACH:
        return 0.0
    # No overlap to go by: two people who pass each other must not swap.
    alike = similarity(track.signature, signature(image_bgr, found.box)) if track.signature else 0.0
    return 0.5 * alike + 0.5 * (1 - distance / REACH) if alike >= SIMILAR - 0.15 else 0.0


def centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def side(box: Box) -> float:
    """The geometric mean of the box's sides."""
    return math.sqrt(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, from 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0
