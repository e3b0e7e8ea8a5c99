"""Parts of a camera's picture that somebody drew: where it watches, what it ignores, and what nobody may see.

    watch    only faces whose middle lies in one of these count; without any, all of the picture is watched
             what is asked of people there is the zone's demand: masks are required, recommended, or not required
    ignore   faces whose middle lies in one of these do not count: a poster, a screen, the street behind glass
    privacy  is black before anything is detected, shown or stored

Points are relative to the picture, from 0 to 1. A zone also knows how wide its picture was for its height: if the
camera was turned since, zones cannot be right, so the privacy ones black everything out and the others are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from detection.detector import Box, Image
from detection.tracks import centre

Point = tuple[float, float]
SAME_SHAPE = 0.05  # of the logarithm of the ratio of two aspects: what rounding may change
LEAST_AREA = 0.0004  # of the picture: a fiftieth of each side
KINDS = ("watch", "ignore", "privacy")
REQUIRED, RECOMMENDED, NOT_REQUIRED = DEMANDS = ("required", "recommended", "none")  # the strictest first


@dataclass(frozen=True)
class Zone:
    """One zone.

    Args:
        kind: one of KINDS.
        points: at least three, relative to the picture.
        aspect: width by height of the picture that it was drawn on; 0 if that is not known.
        demand: one of DEMANDS; only a watch zone has another than REQUIRED.
    """

    kind: str
    points: tuple[Point, ...]
    aspect: float = 0.0
    demand: str = REQUIRED

    @classmethod
    def of(cls, kind: str, points: Sequence[Sequence[float]], aspect: float = 0.0, demand: str = REQUIRED) -> Zone:
        """A zone as it is stored, its points as [[x, y], …]."""
        return cls(kind, tuple((x, y) for x, y in points), aspect, demand)


@dataclass(frozen=True)
class Zones:
    """All zones of a camera."""

    zones: tuple[Zone, ...] = ()

    def is_turned(self, image_bgr: Image) -> bool:
        """Whether a zone was drawn on a picture of another shape: the camera was turned, or shows another part."""
        height, width = image_bgr.shape[:2]
        return any(zone.aspect and abs(math.log(zone.aspect * height / width)) > SAME_SHAPE for zone in self.zones)

    def black_out(self, image_bgr: Image) -> Image:
        """The picture without what nobody may see; itself if there is no privacy zone, else a copy."""
        private = self._of("privacy")
        if not private:
            return image_bgr
        if self.is_turned(image_bgr):
            return np.zeros_like(image_bgr)
        height, width = image_bgr.shape[:2]
        picture = image_bgr.copy()
        for zone in private:
            corners = np.asarray(zone.points) * (width, height)
            cv2.fillPoly(picture, [np.round(corners).astype(np.int32)], (0, 0, 0))
        return picture

    def counting(self, boxes: Sequence[Box], image_bgr: Image) -> list[bool]:
        """Which of these faces count."""
        watched, ignored = self._of("watch"), self._of("ignore")
        if not (watched or ignored) or self.is_turned(image_bgr):
            return [True] * len(boxes)
        return [
            (not watched or any(holds(zone.points, centre(box)) for zone in watched))
            and not any(holds(zone.points, centre(box)) for zone in ignored)
            for box in boxes
        ]

    def demand(self, box: Box, image_bgr: Image) -> str:
        """What is asked of the person with this face; where watch zones overlap, the strictest counts."""
        watched = self._of("watch")
        if all(zone.demand == REQUIRED for zone in watched) or self.is_turned(image_bgr):
            return REQUIRED
        return strictest(zone.demand for zone in watched if holds(zone.points, centre(box)))

    def _of(self, kind: str) -> list[Zone]:
        return [zone for zone in self.zones if zone.kind == kind]


NOWHERE = Zones()


def strictest(demands: Iterable[str]) -> str:
    """The strictest of these; NOT_REQUIRED if there are none."""
    return min(demands, key=DEMANDS.index, default=NOT_REQUIRED)


def holds(points: Sequence[Point], point: Point) -> bool:
    """Whether a polygon holds a point, its edge included; by the even-odd rule where it crosses itself."""
    corners: npt.NDArray[np.float32] = np.asarray(points, np.float32)
    return cv2.pointPolygonTest(corners, (float(np.float32(point[0])), float(np.float32(point[1]))), False) >= 0


def crosses_itself(points: Sequence[Point]) -> bool:
    """Whether two sides of a polygon cross: then it is not clear what lies inside."""
    sides = [(points[index], points[(index + 1) % len(points)]) for index in range(len(points))]
    return any(_cross(*one, *other) for index, one in enumerate(sides) for other in sides[index + 1 :])


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    def turn(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


def extent(points: Sequence[Point]) -> float:
    """The area of the smallest convex shape around a polygon, as a share of the picture: nothing for a line."""
    return float(cv2.contourArea(cv2.convexHull(np.asarray(points, np.float32))))


def area(points: Sequence[Point]) -> float:
    """How much of the picture a polygon covers, 0 to 1, as it is drawn."""
    canvas = np.zeros((200, 200), np.uint8)
    cv2.fillPoly(canvas, [np.round(np.asarray(points) * 200).astype(np.int32)], 1)
    return float(canvas.mean())
