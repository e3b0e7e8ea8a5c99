"""What is learned of the place that one camera looks at, and outlives a connection: its spots, and its sizes.

Sizes: a face that is far smaller than any that people showed at the same height of the picture is a print on a shirt, a
badge, or a picture in a hand. How small faces are at a height is learned from those who came or went, each once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from uuid import UUID

from detection.spots import Spot, Spots
from detection.tracks import Track, centre, side

BANDS = 10  # of the picture's height
ENOUGH = 30  # people, from which on their sizes are a guide
KEPT = 200
TOO_SMALL = 0.5  # of the smallest of them


class Sizes:
    """How small the faces of people are in each band of the picture."""

    def __init__(self) -> None:
        self._known: list[deque[float]] = [deque(maxlen=KEPT) for _ in range(BANDS)]
        self._now: dict[UUID, dict[int, float]] = {}

    def see(self, track: Track) -> None:
        """One more sighting of somebody; it counts when they have left."""
        sides, band = self._now.setdefault(track.key, {}), _band(track)
        sides[band] = min(side(track.box), sides.get(band, 1.0))

    def end(self, track: Track) -> None:
        """They have left. Of what never came or went, nothing is learned."""
        sides = self._now.pop(track.key, {})
        if track.confirmed and track.has_strayed and track.live:
            for band, smallest in sides.items():
                self._known[band].append(smallest)

    def fits(self, track: Track) -> bool:
        """Whether somebody can be so small where they are, as far as is known yet."""
        known = self._known[_band(track)]
        return len(known) < ENOUGH or side(track.box) >= TOO_SMALL * min(known)


class Surroundings:
    """What is remembered of one camera. Not thread-safe."""

    def __init__(self, make_key: Callable[[float], UUID], spots: Iterable[Spot] = ()) -> None:
        self.spots = Spots(make_key, spots)
        self.sizes = Sizes()

    def end(self, track: Track, has_left: bool, was_there: bool) -> None:
        """A track has ended (`Spots.note`)."""
        self.spots.note(track, has_left, was_there)
        self.sizes.end(track)


def _band(track: Track) -> int:
    return min(BANDS - 1, max(0, int(centre(track.box)[1] * BANDS)))
