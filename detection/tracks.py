"""Detections over time become tracks: one per person.

Association is by place, size and looks at once, for all people together, so that in a crowd a track does not go over
to a neighbour; confident detections come first (after ByteTrack, Zhang et al., 2022: faint ones may continue a track
but never begin one). A track lost away from the picture's edge is kept for LOST_S; a face found nearby with similar
colours within that time is the same person.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import lap
import numpy as np

from detection.appearance import (
    Patch,
    Signature,
    blended,
    clarity,
    face_patch,
    largest_change,
    signature,
    unlikeness,
)
from detection.detector import Box, Detection, Image
from detection.features import Features
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
# How a detection may differ from where a track is expected: standard deviations, of the face's side and its logarithm.
PLACE_SPREAD, PLACE_DRIFT = 0.15, 0.6  # and more for each second since it was last seen
SIZE_SPREAD, SIZE_DRIFT = 0.1, 0.15
YOUNG = 0.5  # more, as long as it is not known how somebody moves
BY_LOOKS = 20.0  # what unlikeness costs beside that
FAR, NEVER = 12.0, 1e6
AHEAD_S = 1.5  # for so long, motion is trusted
FRESH = 0.3  # of what is remembered of somebody's looks is new
BODY = 0.3  # of a face's width: by so much a body is broader, on each side, at the least
NEIGHBOUR = 5.0  # faces' sides
CHANGED_LEVELS = 1.3
CHANGE_WINDOW = 50  # analyses
SEEN_WINDOW = 15  # analyses
CHANGED_SHARE = 0.08
PLACES = 20
STRAYED = 0.5  # of the face's side, or its logarithm: from there on, somebody is at another place


@dataclass
class Instant:
    """One analysis, as tracks see it.

    Args:
        input_scale: pixels of the model's input per pixel of the picture.
        is_broken: parts of the picture are missing, so no face in it votes.
    """

    image_bgr: Image
    at: float
    detections: Sequence[Detection]
    input_scale: float
    is_broken: bool = False
    features: Features | None = None
    _signatures: dict[int, Signature] = field(default_factory=dict)

    def signature(self, found: Detection) -> Signature:
        """Measured when it is first asked for."""
        key = id(found)
        if key not in self._signatures:
            self._signatures[key] = signature(self.image_bgr, found.box, self.features)
        return self._signatures[key]

    def is_alone(self, found: Detection) -> bool:
        """Whether nobody else stands before or behind what is remembered of somebody's looks."""
        return not any(each is not found and hides(each.box, found.box) for each in self.detections)


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
    light: float = 0.0
    side_px: float = 0.0
    live: bool = False
    first_box: Box = (0.0, 0.0, 0.0, 0.0)
    reference: Patch | None = None
    reference_box: Box = (0.0, 0.0, 0.0, 0.0)
    changes: deque[bool] = field(default_factory=lambda: deque(maxlen=CHANGE_WINDOW))
    seen: deque[bool] = field(default_factory=lambda: deque([True], SEEN_WINDOW))
    has_strayed: bool = False  # from where it began
    patience_s: float = 0.0  # that nobody watched: for so much longer it waits to be found again
    places: deque[tuple[Box, float]] = field(default_factory=lambda: deque(maxlen=PLACES))  # before, and how long

    def __post_init__(self) -> None:
        self.place, self.place_at = self.box, self.started_at  # where it is, and since when

    @property
    def confirmed(self) -> bool:
        """Seen often enough to be more than a flicker."""
        return self.hits >= 3 or (self.hits >= 2 and self.last_seen_at - self.started_at >= 0.4)

    @property
    def seen_share(self) -> float:
        """In how much of the last analyses it was detected, and did not just go on by itself: 0 to 1."""
        return sum(self.seen) / len(self.seen)

    def stays(self, least_s: float) -> list[Box]:
        """Where somebody who came from elsewhere, or went elsewhere, stayed for so long. None who never moved."""
        known = [*self.places, (self.place, self.last_seen_at - self.place_at)]
        return [box for box, seconds in known if seconds >= least_s] if self.has_strayed else []

    def _note_place(self) -> None:
        size = side(self.box)
        off = math.dist(centre(self.box), centre(self.place)) / max(1e-6, size)
        if off <= STRAYED and abs(math.log(max(1e-6, size) / max(1e-6, side(self.place)))) <= STRAYED:
            return
        self.has_strayed = True
        self.places.append((self.place, self.last_seen_at - self.place_at))
        self.place, self.place_at = self.box, self.last_seen_at

    def predicted(self, at: float) -> Box:
        """The box where motion has carried it, for as long as motion is trusted."""
        ahead = min(AHEAD_S, max(0.0, at - self.last_seen_at))
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
            return STILL_LOST_S + self.patience_s
        return (MISSING_S if self.at_edge(at) else LOST_S) + self.patience_s

    def update(self, found: Detection, now: Instant) -> float:
        """Take one more sighting; returns its vote's weight, 0 from a broken picture."""
        gap = now.at - self.last_seen_at
        if gap > 0:
            moved = [new - old for new, old in zip(centre(found.box), centre(self.box), strict=True)]
            pull = 0.6 if gap <= MISSING_S else 1.0
            self.velocity = (
                (1 - pull) * self.velocity[0] + pull * moved[0] / gap,
                (1 - pull) * self.velocity[1] + pull * moved[1] / gap,
            )
        self.box, self.last, self.last_seen_at, self.patience_s = found.box, found, now.at, 0.0
        self.hits += 1
        self._note_place()
        return 0.0 if now.is_broken else self.look(found, now)

    def look(self, found: Detection, now: Instant) -> float:
        """Measure the face's pixels and let them vote."""
        self.sharpness, self.light = clarity(now.image_bgr, found.box)
        if self.signature is None:
            self.signature = now.signature(found)
        elif now.is_alone(found):  # else half of what is seen is somebody else
            self.signature = blended(self.signature, now.signature(found), FRESH)
        self._see_life(now.image_bgr, now.input_scale)
        height, width = now.image_bgr.shape[:2]
        x1, y1, x2, y2 = found.box
        self.side_px = math.sqrt((x2 - x1) * width * (y2 - y1) * height) * now.input_scale * found.detail
        return self.votes.cast_vote(found, self.side_px, self.sharpness, now.at)

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
        self,
        detections: Sequence[Detection],
        image_bgr: Image,
        at: float,
        is_broken: bool = False,
        features: Features | None = None,
    ) -> tuple[dict[UUID, float], list[Track]]:
        """Take in one analysis; returns the weights of the votes that it cast, by track, and the tracks that ended.

        A broken picture shows where people are that were seen before; it casts no vote, and nobody appears in it.
        """
        scale = self._longer_side_px / max(image_bgr.shape[:2])
        now = Instant(image_bgr, at, detections, scale, is_broken, features)
        ended = [track for track in self.tracks if at - track.last_seen_at > track.keep_s(at)]
        self.tracks = [track for track in self.tracks if track not in ended]
        weights: dict[UUID, float] = {}
        free = list(self.tracks)
        unused: list[Detection] = []
        for strong in (True, False):
            chosen = [found for found in detections if (found.confidence >= CONFIDENT) is strong]
            pairs, left = associate(free, chosen, now)
            for track, found in pairs:
                weights[track.key] = track.update(found, now)
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
            weights[track.key] = track.look(found, now)
            self.tracks.append(track)
        return weights, ended

    def flush(self) -> list[Track]:
        """End all tracks, as when the stream stops."""
        ended, self.tracks = self.tracks, []
        return ended


def associate(
    tracks: Sequence[Track], detections: Sequence[Detection], now: Instant
) -> tuple[list[tuple[Track, Detection]], list[Detection]]:
    """The pairs of track and detection that fit best all together, each used once; and the detections that are left.

    Solved as a whole (Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear
    assignment problems", 1987), so that no track takes the face that another one needs.
    """
    if not tracks or not detections:
        return [], list(detections)
    costs = np.asarray([[mismatch(track, found, now) for found in detections] for track in tracks])
    _cost, columns, _rows = lap.lapjv(costs, extend_cost=True, cost_limit=FAR)
    pairs = [(track, detections[column]) for track, column in zip(tracks, columns, strict=True) if column >= 0]
    pairs += undisputed(tracks, detections, pairs, now)
    used = {id(found) for _track, found in pairs}
    return pairs, [found for found in detections if id(found) not in used]


def mismatch(track: Track, found: Detection, now: Instant) -> float:
    """How badly a detection continues a track, by place, size and looks: from 0; FAR or more is not at all.

    Place and size as a squared Mahalanobis distance, and looks beside it, as in Wojke, Bewley, Paulus: "Simple online
    and realtime tracking with a deep association metric", 2017.
    """
    ratio = side(found.box) / max(1e-6, side(track.box))
    if not 0.4 < ratio < 2.5:
        return NEVER
    gap, looks = now.at - track.last_seen_at, now.signature(found)
    unlike = unlikeness(track.signature, looks) if track.signature else 1.0
    reach = REACH if gap <= MISSING_S else REACH + PACE * min(gap, LOST_S)
    off = math.dist(centre(found.box), centre(track.predicted(now.at))) / max(side(found.box), side(track.box))
    if not touches(track, found, now.at):
        # After a gap, or without an overlap, there is less to go by: then the colours must be the same.
        least = SIMILAR - 0.15 if gap <= MISSING_S else SIMILAR
        if off > reach or 1 - unlike < least:
            return NEVER
    place = off / (PLACE_SPREAD + PLACE_DRIFT * gap + (YOUNG if track.hits == 1 else 0.0))
    size = math.log(ratio) / (SIZE_SPREAD + SIZE_DRIFT * gap)
    return (place * place + size * size) / 2 + BY_LOOKS * unlike


def undisputed(
    tracks: Sequence[Track], detections: Sequence[Detection], pairs: Sequence[tuple[Track, Detection]], now: Instant
) -> list[tuple[Track, Detection]]:
    """What is left and lies on each other, with nobody else near: a light was switched on, or a hand came up."""
    taken = {track.key for track, _found in pairs}
    used = {id(found) for _track, found in pairs}
    return [
        (track, found)
        for track in tracks
        if track.key not in taken
        for found in detections
        if id(found) not in used
        and touches(track, found, now.at)
        and not any(is_near(other.box, found.box) for other in tracks if other is not track)
        and not any(is_near(other.box, found.box) for other in now.detections if other is not found)
    ]


def is_near(box: Box, other: Box) -> bool:
    return math.dist(centre(box), centre(other)) < NEIGHBOUR * max(side(box), side(other))


def touches(track: Track, found: Detection, at: float) -> bool:
    """Whether a detection lies on a track that was seen just now."""
    if at - track.last_seen_at > MISSING_S:
        return False
    return max(overlap(track.predicted(at), found.box), overlap(track.box, found.box)) >= MATCH_IOU


def hides(box: Box, other: Box) -> bool:
    """Whether somebody's face or body covers some of what is remembered of another's: hair, face and chest."""
    x1, y1, x2, y2 = other
    wide, tall = x2 - x1, y2 - y1
    return (
        box[0] - BODY * (box[2] - box[0]) < x2 + wide * 0.3
        and box[2] + BODY * (box[2] - box[0]) > x1 - wide * 0.3
        and box[1] < y2 + tall
        and y1 - tall * 0.25 < box[3] + 3 * (box[3] - box[1])
    )


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
