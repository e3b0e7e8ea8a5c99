"""Places of one camera at which pictures of faces show, and no people: posters and screens.

People come and go; a face on a wall or a screen begins and ends where it is. A spot is doubted when short visits began
and ended there again and again, without anybody ever having come to it or gone from it; or when a portrait has hung
there for long. Whoever shows there then is unsure, until somebody is seen who came or went after all, or until a person
says that people can be there. Large faces are never doubted: who steps close to a lens has little room to move in.

    spots = Spots(known)                   # for as long as the camera is watched
    spots.note(track, has_left=True)       # each track that ends
    spots.doubts(track)                    # each track that is seen
    for change in spots.take_changes(): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from detection.detector import Box
from detection.tracks import Track, overlap, side

VISITS = 5  # from which on it is doubted
LEAST_S = 600.0  # from the first of them, or of a portrait
SHORT_S = 60.0  # a visit
LONG_S = 120.0  # in one place, with a face that moves: a person
STAY_S = 3.0  # at a spot, by somebody who came to it or went from it: people can be there
APART_S = 5.0  # between two visits; before that it merely flickers
LARGEST = 0.2  # side of a face, relative to the picture
SAME = 0.3  # intersection over union
MOST = 50  # spots of a camera


@dataclass(frozen=True)
class Spot:
    """A place where faces were seen. Times are of frames, in seconds.

    Args:
        visits: how many began and ended there.
        has_people: somebody came there or went from there, or a person said so. It is not doubted.
    """

    key: UUID
    box: Box
    visits: int
    first_at: float
    last_at: float
    is_doubted: bool = False
    has_people: bool = False


class Spots:
    """The spots of one camera. Not thread-safe."""

    def __init__(self, make_key: Callable[[float], UUID], known: Iterable[Spot] = ()) -> None:
        """`known` are those of before: doubted ones, and those of which a person said that people can be there."""
        self._make_key = make_key
        self._spots = {spot.key: spot for spot in known}
        self._changed: dict[UUID, Spot] = {}

    def note(self, track: Track, has_left: bool, was_there: bool = False) -> None:
        """A track has ended.

        Args:
            has_left: nobody was seen there any more, while pictures came; else only the pictures ended.
            was_there: it was there already when the pictures began.
        """
        if not track.confirmed:
            return
        for stay in track.stays(STAY_S):
            self._people_at(stay, track)
        lasted_s = track.last_seen_at - track.started_at
        if not track.has_strayed and track.live and lasted_s >= LONG_S:
            self._people_at(track.box, track)
        if has_left and not was_there and not track.has_strayed and track.live and lasted_s <= SHORT_S:
            self._visit(track)

    def note_portrait(self, track: Track) -> None:
        """A track goes on of a face that has never moved."""
        is_long = track.last_seen_at - track.started_at >= LEAST_S
        if is_long and not track.live and not track.has_strayed and side(track.box) <= LARGEST:
            spot = self._at(track.box) or self._new(track)
            self._keep(replace(spot, last_at=track.last_seen_at, is_doubted=not spot.has_people))

    def doubts(self, track: Track) -> bool:
        """Whether what shows here is perhaps no person. Whoever is seen to come is one."""
        if track.has_strayed:
            return False
        spot = self._at(track.box)
        return spot is not None and spot.is_doubted

    def known(self) -> Sequence[Spot]:
        """All that is remembered."""
        return list(self._spots.values())

    def take_changes(self) -> Sequence[Spot]:
        """What is doubted now and was not, or the other way round, since the last call."""
        changed, self._changed = list(self._changed.values()), {}
        return changed

    def _visit(self, track: Track) -> None:
        if side(track.box) > LARGEST:
            return
        spot = self._at(track.box) or self._new(track)
        if spot.visits and track.started_at - spot.last_at < APART_S:
            self._keep(replace(spot, last_at=track.last_seen_at))
            return
        visits = spot.visits + 1
        is_doubted = spot.is_doubted or (visits >= VISITS and track.last_seen_at - spot.first_at >= LEAST_S)
        box = spot.box if spot.is_doubted else _between(spot.box, track.box, 1 / visits)
        doubted = is_doubted and not spot.has_people
        self._keep(replace(spot, box=box, visits=visits, last_at=track.last_seen_at, is_doubted=doubted))

    def _people_at(self, box: Box, track: Track) -> None:
        spot = self._at(box) or replace(self._new(track), box=box)
        self._keep(replace(spot, last_at=track.last_seen_at, has_people=True, is_doubted=False))

    def _at(self, box: Box) -> Spot | None:
        near = max(self._spots.values(), key=lambda spot: overlap(spot.box, box), default=None)
        return near if near is not None and overlap(near.box, box) >= SAME else None

    def _new(self, track: Track) -> Spot:
        if len(self._spots) >= MOST:
            idle = [spot for spot in self._spots.values() if not spot.is_doubted]
            oldest = min(idle or self._spots.values(), key=lambda spot: spot.last_at)
            del self._spots[oldest.key]
        return Spot(self._make_key(track.started_at), track.box, 0, track.started_at, track.last_seen_at)

    def _keep(self, spot: Spot) -> None:
        before = self._spots.get(spot.key)
        if spot.is_doubted != (before is not None and before.is_doubted):
            self._changed[spot.key] = spot
        self._spots[spot.key] = spot


def _between(box: Box, other: Box, share: float) -> Box:
    x1, y1, x2, y2 = ((1 - share) * a + share * b for a, b in zip(box, other, strict=True))
    return x1, y1, x2, y2
