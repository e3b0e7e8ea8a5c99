"""One camera's memory: give it frames, and it reports who came, who wore no mask, and who left.

    analyzer = Analyzer(Detector.load())
    for frame, seconds in frames:
        for finding in analyzer.analyse(frame, seconds):
            ...
    for finding in analyzer.flush():
        ...

Each person is one passage. A spell without a mask (or with one worn wrongly) is one violation within it: opened as soon
as the vote is sure, given a better picture while it is open, closed when the person puts a mask on or leaves. Bare
again before STEADY_S of steady mask is the same violation, opened again; after that, a new one. As long as somebody
stays bare, the violation is reported again every STILL_EVERY_S.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

from uuid_utils.compat import uuid7

from detection.appearance import pixelate
from detection.detector import Box, Detector, Image
from detection.filmstrip import Glimpse, glimpse
from detection.looks import SMALL_PX, PartPx
from detection.motion import Motion
from detection.people import CARRIED_S, Candidate, CarriedPerson, Person, Spell, carried, mean_confidence, person_of
from detection.surroundings import Surroundings
from detection.tracks import FAINT, LOST_S, MISSING_S, Track, Tracker, overlap, side
from detection.votes import BARE, UNSURE
from detection.zones import NOT_REQUIRED, NOWHERE, REQUIRED, Zones, strictest

STEADY_S = 5.0
SEEN_EVERY_S = 5.0  # how often last_seen_at is updated for people who stay
BETTER = 1.25  # a picture replaces another when it is this many times better
PICTURE_EVERY_S = 1.0
STILL_EVERY_S = 1.0  # for people who stay without a mask
CUT = 0.4  # what a face at the picture's edge, perhaps cut off by it, is worth as a picture
PERHAPS = 0.12  # the least confidence of what is made unrecognisable, though it is too faint to be followed
SEEN_SHARE = 0.5  # of the last analyses, in which somebody must be detected to be accused
UNKNOWN_S = 10.0  # until it is believed of a face that does not move that it is a portrait
DOUBT_S = 0.4  # until it is asked again whether it is a face
MOTION_EVERY_S = 1.0  # what moves is looked at closely
SETTLED_S = 2.0  # from the first picture: whoever is seen by then did not come just now
ROOM = 0.1  # of the picture, around a face that is well inside it


@dataclass(frozen=True)
class Snapshot:
    """The picture of a violation: other faces in it are pixelated.

    Args:
        box: the face, relative to the picture.
        is_spare: only for a violation that has none: a better one was told by the worker that watched before.
    """

    image_bgr: Image
    box: Box
    captured_at: float
    is_spare: bool = False


@dataclass(frozen=True)
class PassageFinding:
    """One person, as known now. `seq` grows with each finding of the same key; times are of frames, in seconds.

    Args:
        demand: the strictest of where they were; `label` is what was seen where masks were asked for, if they were.
    """

    key: UUID
    seq: int
    label: str
    confidence: float
    started_at: float
    last_seen_at: float
    ended_at: float | None
    box: Box
    demand: str = REQUIRED


@dataclass(frozen=True)
class ViolationFinding:
    """One spell without a mask. `snapshot` is set when there is a new picture.

    Args:
        bare_since: when the present stretch without a mask began; later than `started_at` if it was opened again.
        demand: where it began, masks are required, or only recommended.
        glimpses: those that are new.
    """

    key: UUID
    passage: UUID
    seq: int
    label: str
    confidence: float
    started_at: float
    last_seen_at: float
    ended_at: float | None
    opened_at: float
    bare_since: float
    box: Box
    snapshot: Snapshot | None = None
    demand: str = REQUIRED
    glimpses: tuple[Glimpse, ...] = ()


Finding = PassageFinding | ViolationFinding


@dataclass(frozen=True)
class Sighting:
    """A person in the newest frame, as a viewer of the live picture needs it.

    Args:
        label: what the votes decided so far.
        confidence: of the detection in this frame.
        votes: the summed weight of the track's votes, by label.
    """

    key: UUID
    box: Box
    label: str
    confidence: float
    votes: Mapping[str, float]


@dataclass(frozen=True)
class FaceQuality:
    """How well a face can be seen.

    Args:
        side_px: the geometric mean of its sides, in pixels of the model's input.
        sharpness, light: as detection/appearance.py measures them.
    """

    side_px: float
    sharpness: float
    light: float


def make_key(seconds: float) -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7) for a moment: keys sort by time."""
    return uuid7(nanoseconds=int(seconds * 1e9))


class Analyzer:
    """The memory of one camera. Not thread-safe: one camera, one thread, one analyzer."""

    def __init__(self, detector: Detector, zones: Zones = NOWHERE, surroundings: Surroundings | None = None) -> None:
        """Pictures come with their privacy zones black already (`Zones.black_out`).

        Args:
            zones: those of now; whoever knows their hours may set others between two frames.
            surroundings: what is remembered of the camera when this memory ends.
        """
        self._detector = detector
        self.zones = zones
        self.surroundings = surroundings or Surroundings(make_key)
        self._began_at: float | None = None
        longer = detector.manifest.input.longer_side or max(
            detector.manifest.input.width, detector.manifest.input.height
        )
        self._tracker = Tracker(make_key, longer)
        self._longer_px = longer
        self._motion = Motion()
        self._moved_at = float("-inf")
        self._parts: list[PartPx] = []  # that the last picture was looked at closely in
        self._people: dict[UUID, Person] = {}
        self._faces: tuple[Box, ...] = ()  # in the newest frame: those that are followed, or do not count
        self._suspected: tuple[Box, ...] = ()  # and what is too faint for that
        self._newest_at = float("-inf")
        self.detect_s = 0.0  # how long the detector took for the newest frame

    def analyse(self, image_bgr: Image, captured_at: float, is_broken: bool = False) -> list[Finding]:
        """Analyse one frame. `image_bgr` is kept until a better one comes: never write to it afterwards.

        Args:
            captured_at: seconds, on a clock that only moves forward; a frame earlier than the last is left out.
            is_broken: parts of the picture are missing, so no face in it votes.
        """
        if captured_at <= self._newest_at:
            return []
        hints = self._hints(image_bgr, captured_at, self._newest_at)
        self._newest_at = captured_at
        if self._began_at is None:
            self._began_at = captured_at
            self._await_carried(captured_at)
        began = perf_counter()
        seen = self._detector.look(image_bgr, PERHAPS, hints, self._parts)
        possible, self._parts = seen.detections, seen.parts
        self.detect_s = perf_counter() - began
        count = self.zones.counting([found.box for found in possible], image_bgr)
        clear = [found for found in possible if found.confidence >= FAINT]
        detections = [found for found, own in zip(possible, count, strict=True) if own and found.confidence >= FAINT]
        weights, ended = self._tracker.update(detections, image_bgr, captured_at, is_broken, seen.features)
        findings = [finding for track in ended for finding in self._end(track, has_left=True)]
        missed = (
            track.predicted(captured_at)
            for track in self._tracker.tracks
            if 0 < captured_at - track.last_seen_at <= MISSING_S
        )
        self._faces = (*(found.box for found in clear), *missed)
        self._suspected = tuple(found.box for found in possible if found.confidence < FAINT)
        for track in self._tracker.tracks:
            if track.last_seen_at == captured_at:
                findings += self._see(track, weights.get(track.key, 0.0), image_bgr)
        return findings

    def people_in_view(self) -> tuple[CarriedPerson, ...]:
        """Those who were reported and have not left, as the next analyzer of this camera needs them."""
        people = (self._people.get(track.key) for track in self._tracker.tracks)
        return tuple(carried(person) for person in people if person is not None and person.seq)

    def take_over(self, people: Iterable[CarriedPerson]) -> None:
        """Go on with people whom another analyzer saw in this camera; before the first picture.

        Whoever is not found again within LOST_S of pictures has left when they were last seen.
        """
        for given in people:
            person = person_of(given)
            self._people[given.key] = person
            self._tracker.tracks.append(person.track)

    def _await_carried(self, at: float) -> None:
        """While nobody watched, they could not be seen. Clocks of two machines may differ a little."""
        for track in self._tracker.tracks:
            track.last_seen_at = min(track.last_seen_at, at)
            unseen_s = at - track.last_seen_at
            track.patience_s = unseen_s if unseen_s <= CARRIED_S else 0.0

    def flush(self) -> list[Finding]:
        """Everybody leaves: as when the stream ends or the worker stops."""
        return [finding for track in self._tracker.flush() for finding in self._end(track, has_left=False)]

    def sightings(self) -> list[Sighting]:
        """Who is in the newest frame."""
        return [
            Sighting(track.key, track.box, self._seen_label(track), track.last.confidence, dict(track.votes.evidence))
            for track in self._tracker.tracks
            if track.last_seen_at == self._newest_at
        ]

    def qualities(self) -> list[FaceQuality]:
        """How well each of those in the newest frame can be seen."""
        return [
            FaceQuality(track.side_px, track.sharpness, track.light)
            for track in self._tracker.tracks
            if track.last_seen_at == self._newest_at
        ]

    def is_busy(self) -> bool:
        """Whether somebody is in view, or was a moment ago. A face that has never moved for long is on a wall."""
        return any(track.live or self._newest_at - track.started_at < UNKNOWN_S for track in self._tracker.tracks)

    def possible_faces(self) -> tuple[Box, ...]:
        """Where faces may be in the newest frame: all that the detector suspects, and people it missed just now."""
        return self._faces + self._suspected

    def _hints(self, image_bgr: Image, at: float, before: float) -> list[Box]:
        """Where a closer look may find something: people who are small or were lost, and what moves.

        What moves is looked at once a second, and not where somebody large enough walks: that is their body.
        """
        if not self._detector.manifest.looks.far_most:
            return []
        tracks = [track for track in self._tracker.tracks if at - track.last_seen_at <= LOST_S]
        ahead = [track.predicted(at) for track in tracks]
        shape = image_bgr.shape[:2]
        near_px = [side(box) * math.sqrt(shape[0] * shape[1]) * self._longer_px / max(shape) for box in ahead]
        lost = [track.last_seen_at < before and track.live for track in tracks]
        hints = [box for box, px, gone in zip(ahead, near_px, lost, strict=True) if px < SMALL_PX and gone]
        moved = self._motion.places(image_bgr)
        if at - self._moved_at >= MOTION_EVERY_S:
            bodies = [body(box) for box, px in zip(ahead, near_px, strict=True) if px >= SMALL_PX]
            found = [box for box in moved if not any(overlap(box, each) > 0 for each in bodies)]
            if found:
                self._moved_at = at
            hints += found
        return hints

    # -- one track, one frame -----------------------------------------------------------------------------------------

    def _see(self, track: Track, weight: float, image_bgr: Image) -> list[Finding]:
        person = self._people.setdefault(track.key, Person(track))
        person.demand_now = self.zones.demand(track.box, image_bgr)
        person.demand = strictest((person.demand, person.demand_now))
        if weight > 0:
            self._note_vote(person, weight, image_bgr)
            self._note_glimpse(person, image_bgr)
        self.surroundings.spots.note_portrait(track)
        self.surroundings.sizes.see(track)
        if not track.confirmed:
            return []
        findings: list[Finding] = []
        label = self._label(person)
        now = track.last_seen_at
        if label != person.told_label or now - person.told_at >= SEEN_EVERY_S:
            findings.append(self._passage(person, None))
        findings += self._judge(person, label, image_bgr)
        return findings

    def _note_vote(self, person: Person, weight: float, image_bgr: Image) -> None:
        found, at = person.track.last, person.track.last_seen_at
        total, count = person.confidences.get(found.label, (0.0, 0))
        person.confidences[found.label] = (total + found.confidence, count + 1)
        if found.label not in BARE:
            person.masked_since = at if person.masked_since is None else person.masked_since
            if person.track.votes.decision == "mask":  # one masked frame among bare ones clears nothing
                person.candidate = person.bare_since = None
            return
        person.masked_since = None
        if person.demand_now == NOT_REQUIRED:
            person.candidate = person.bare_since = None
            return
        person.bare_since = at if person.bare_since is None else person.bare_since
        quality = weight * side(found.box) * framing(found.box)
        if person.candidate is None or quality > person.candidate.quality:
            person.candidate = Candidate(quality, image_bgr, found, self._others(found.box), at)

    def _note_glimpse(self, person: Person, image_bgr: Image) -> None:
        at, is_masked = person.track.last_seen_at, person.track.votes.decision == "mask"
        ends_now = is_masked and person.spell is not None and person.spell.open
        if person.demand_now != NOT_REQUIRED and (ends_now or person.strip.is_due(at)):
            person.strip.add(glimpse(image_bgr, person.track.box, self._others(person.track.box), at))

    def _others(self, own: Box) -> tuple[Box, ...]:
        """Where others' faces may be. What is only suspected may be a part of this very face: it must not touch it."""
        return (
            *(box for box in self._faces if overlap(box, own) < 0.45),
            *(box for box in self._suspected if overlap(box, own) == 0),
        )

    def _judge(self, person: Person, label: str, image_bgr: Image) -> list[Finding]:
        """Open, renew, improve or close the person's violation, as their label now says."""
        spell, at = person.spell, person.track.last_seen_at
        if person.demand_now == NOT_REQUIRED:
            return self._close(person, at)
        if label in BARE:
            if spell is None and not self._is_a_face(person, image_bgr):
                return []
            if spell is None or self._is_another(person, spell):
                return self._open(person, label)
            if not spell.open:
                spell.open, spell.ended_at, spell.label = True, None, label
                spell.bare_since = person.bare_since if person.bare_since is not None else at
                return [self._violation(person, spell)]
            if label != spell.label:
                spell.label = label
                return [self._violation(person, spell)]
            return self._better(person, spell) or self._still_bare(person, spell)
        return self._close(person, person.masked_since or at) if label == "mask" else []

    def _close(self, person: Person, at: float) -> list[Finding]:
        """End the violation that is going on, if one is."""
        if person.spell is None or not person.spell.open:
            return []
        person.spell.open, person.spell.ended_at = False, at
        return [self._violation(person, person.spell, glimpses=person.strip.closing())]

    def _is_another(self, person: Person, spell: Spell) -> bool:
        """Whether this is no more of the same violation: they had a mask on, or more is asked of them here."""
        is_stricter = strictest((spell.demand, person.demand_now)) != spell.demand
        return is_stricter or (not spell.open and self._was_steadily_masked(person, spell))

    def _is_a_face(self, person: Person, image_bgr: Image) -> bool:
        """Before the first accusation.

        It was mostly detected, not only followed; people can be so small there; and it is found again from nearby.
        """
        track = person.track
        if track.seen_share < SEEN_SHARE or track.last_seen_at - person.doubted_at < DOUBT_S:
            return False
        if not self.surroundings.sizes.fits(track):
            return False
        if self._detector.survives(image_bgr, track.box):
            return True
        person.doubted_at = track.last_seen_at
        return False

    def _was_steadily_masked(self, person: Person, spell: Spell) -> bool:
        bare_since = person.bare_since if person.bare_since is not None else person.track.last_seen_at
        return spell.ended_at is not None and bare_since - spell.ended_at >= STEADY_S

    def _open(self, person: Person, label: str) -> list[Finding]:
        """Begin a violation, and end another; without a picture to show for it there is none."""
        candidate = person.candidate
        if candidate is None:
            return []
        at = person.track.last_seen_at
        before = self._close(person, at)
        started = person.bare_since if person.bare_since is not None and not before else at
        person.spell = Spell(make_key(started), label, started, at, started, person.demand_now)
        picture, best = self._take_picture(person, person.spell, candidate)
        return [*before, self._violation(person, person.spell, picture, person.strip.opening(best))]

    def _better(self, person: Person, spell: Spell) -> list[Finding]:
        candidate, at = person.candidate, person.track.last_seen_at
        if candidate is None or at - spell.picture_at < PICTURE_EVERY_S:
            return []
        is_better = candidate.quality >= BETTER * spell.picture_quality
        if not is_better and not spell.is_carried:
            return []
        picture, best = self._take_picture(person, spell, candidate, is_spare=not is_better)
        return [self._violation(person, spell, picture, person.strip.better(best) if is_better else ())]

    def _still_bare(self, person: Person, spell: Spell) -> list[Finding]:
        if person.track.last_seen_at < spell.next_at:
            return []
        return [self._violation(person, spell, glimpses=person.strip.during(spell.opened_at))]

    def _take_picture(
        self, person: Person, spell: Spell, candidate: Candidate, is_spare: bool = False
    ) -> tuple[Snapshot, Glimpse]:
        """The whole picture, and the person in it."""
        person.candidate = None
        best = glimpse(candidate.image_bgr, candidate.detection.box, candidate.others, candidate.captured_at)
        picture = candidate.image_bgr.copy()
        for box in candidate.others:
            pixelate(picture, box)
        spell.picture_quality = max(candidate.quality, spell.picture_quality)
        spell.picture_at, spell.is_carried = person.track.last_seen_at, False
        spell.box = candidate.detection.box
        return Snapshot(picture, candidate.detection.box, candidate.captured_at, is_spare), best

    def _end(self, track: Track, has_left: bool) -> list[Finding]:
        began_at = self._began_at if self._began_at is not None else track.started_at
        self.surroundings.end(track, has_left, was_there=track.started_at - began_at < SETTLED_S)
        person = self._people.pop(track.key, None)
        if person is None or not track.confirmed:
            return []
        findings: list[Finding] = []
        findings += self._close(person, track.last_seen_at)
        findings.append(self._passage(person, track.last_seen_at))
        return findings

    def _seen_label(self, track: Track) -> str:
        """What somebody wears; unsure for what is perhaps no person."""
        return UNSURE if self.surroundings.spots.doubts(track) else label_of(track)

    def _label(self, person: Person) -> str:
        """What they wear; where nothing is asked of them, what they wore where it was."""
        if person.demand_now == NOT_REQUIRED and person.demand != NOT_REQUIRED:
            return person.told_label or UNSURE
        return self._seen_label(person.track)

    # -- findings -----------------------------------------------------------------------------------------------------

    def _passage(self, person: Person, ended_at: float | None) -> PassageFinding:
        track = person.track
        person.seq += 1
        person.told_label, person.told_at = self._label(person), track.last_seen_at
        return PassageFinding(
            track.key,
            person.seq,
            person.told_label,
            mean_confidence(person, person.told_label),
            track.started_at,
            track.last_seen_at,
            ended_at,
            track.box,
            person.demand,
        )

    def _violation(
        self, person: Person, spell: Spell, snapshot: Snapshot | None = None, glimpses: tuple[Glimpse, ...] = ()
    ) -> ViolationFinding:
        spell.seq += 1
        spell.next_at = next_tick(spell.bare_since, person.track.last_seen_at)
        return ViolationFinding(
            spell.key,
            person.track.key,
            spell.seq,
            spell.label,
            mean_confidence(person, spell.label),
            spell.started_at,
            person.track.last_seen_at,
            spell.ended_at,
            spell.opened_at,
            spell.bare_since,
            spell.box,
            snapshot,
            spell.demand,
            glimpses,
        )


def next_tick(bare_since: float, at: float) -> float:
    """The first moment after `at` that is a whole number of STILL_EVERY_S after `bare_since`.

    >>> next_tick(10.0, 12.4)
    13.0
    """
    return bare_since + STILL_EVERY_S * (math.floor((at - bare_since) / STILL_EVERY_S + 1e-6) + 1)


def label_of(track: Track) -> str:
    """What the votes decided; unsure for a face that never moved."""
    return track.votes.decision if track.live else UNSURE


def body(box: Box) -> Box:
    """Where the body of a person with this face may be, arms included."""
    x1, y1, x2, y2 = box
    wide, tall = x2 - x1, y2 - y1
    return (x1 - wide, y1 - tall / 2, x2 + wide, y2 + 7 * tall)


def framing(box: Box) -> float:
    """How well a face is placed in the picture: from CUT at the edge to 1 with ROOM around it."""
    room = min(*box[:2], 1 - box[2], 1 - box[3])
    return CUT + (1 - CUT) * min(1.0, max(0.0, room / ROOM))
