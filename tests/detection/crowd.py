"""A crowd whose every face is known: people of the demo cross a lobby, overlap, and stand behind each other.

    python -m tests.detection.crowd --crowds 12 --seed 1    counts how often a track goes over to somebody else

Both portraits of the demo, mirrored or not, in several lights and shirts, with and without a mask. Who is nearer is
larger and hides who is behind. All is drawn from one seed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import motmetrics
import numpy as np
import numpy.typing as npt
from PIL.Image import Resampling

from detection import Analyzer, Box, Detector, Image
from detection.tracks import overlap
from portal.demo.make_clips import COLLINS, HOPPER, figure

WIDTH_PX, HEIGHT_PX = 960, 540
PORTRAITS = {"collins": COLLINS, "hopper": HOPPER}
FACE_PX = 120.0
WIDE = {"collins": 0.7, "hopper": 0.77}  # a face, for its height
SHIRTS = ((1.0, 1.0, 1.0), (0.4, 0.9, 1.5), (1.5, 0.6, 0.5), (0.5, 1.3, 0.6), (1.3, 1.2, 0.4), (0.35, 0.35, 0.4))
PER_SECOND = 5
SHOWN = 0.6  # of a face, from which on it is to be followed
SAME = 0.4  # intersection over union


@dataclass(frozen=True)
class Walker:
    """One person on a straight way, with one stop perhaps.

    Args:
        size: factor of a face of FACE_PX. start_s: when they enter; speed: of the picture's width, a s.
        stop: at what share of the way they stand, and for how long in seconds.
    """

    name: str
    is_masked: bool
    is_mirrored: bool
    shirt: tuple[float, float, float]
    tone: tuple[float, float, float]
    size: float
    start_s: float
    speed: float
    goes_left: bool
    floor: float
    stop: tuple[float, float]
    phase: float

    def place(self, at_s: float) -> tuple[float, float] | None:
        """The middle of the face in px, or None before they came and after they left."""
        way, walked_s = WIDTH_PX + 400.0, at_s - self.start_s
        share, pause_s = self.stop
        until_stop_s = share * way / (self.speed * WIDTH_PX)
        walked_s = min(walked_s, until_stop_s) + max(0.0, walked_s - until_stop_s - pause_s)
        along = walked_s * self.speed * WIDTH_PX
        if not 0 <= along <= way:
            return None
        x = (WIDTH_PX + 200 - along) if self.goes_left else along - 200
        return x, self.floor + 4 * self.size * math.sin(11 * at_s + self.phase)


@dataclass(frozen=True)
class CrowdFrame:
    """A picture, the moment, and whose face is where: by number of the walker, relative to the picture."""

    image_bgr: Image
    at_s: float
    faces: dict[int, Box]


def walkers(rng: np.random.Generator, count: int, seconds: float) -> list[Walker]:
    found = []
    for _ in range(count):
        size = float(rng.uniform(0.3, 0.95))
        found.append(
            Walker(
                name=str(rng.choice(list(PORTRAITS))),
                is_masked=bool(rng.random() < 0.5),
                is_mirrored=bool(rng.random() < 0.5),
                shirt=SHIRTS[int(rng.integers(len(SHIRTS)))],
                tone=tuple(float(value) for value in rng.uniform(0.7, 1.1) * rng.uniform(0.92, 1.08, 3)),  # type: ignore[arg-type]
                size=size,
                start_s=float(rng.uniform(0, seconds * 0.45)),
                speed=float(rng.uniform(0.12, 0.34)),
                goes_left=bool(rng.random() < 0.5),
                floor=float(150 + 60 * size + rng.uniform(-30, 30)),
                stop=(float(rng.uniform(0.3, 0.7)), float(rng.choice([0.0, 0.0, 2.5]))),
                phase=float(rng.uniform(0, 6)),
            )
        )
    return found


def frames(seed: int, count: int = 8, seconds: float = 14.0) -> Iterator[CrowdFrame]:
    rng = np.random.default_rng(seed)
    people = walkers(rng, count, seconds)
    empty = lobby(rng)
    for number in range(round(seconds * PER_SECOND)):
        at_s = number / PER_SECOND
        canvas = empty.copy()
        shown: dict[int, Box] = {}
        covered: dict[int, npt.NDArray[np.float32]] = {}
        for who in sorted(range(count), key=lambda each: people[each].size):  # the most distant first
            middle = people[who].place(at_s)
            if middle is None:
                continue
            alpha = _paint(canvas, people[who], middle)
            for other in covered:
                covered[other] = np.maximum(covered[other], alpha)
            tall = FACE_PX * people[who].size
            half = WIDE[people[who].name] * tall / 2, tall / 2
            shown[who] = (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])
            covered[who] = np.zeros_like(alpha)
        noise = rng.normal(0, 3, (HEIGHT_PX, WIDTH_PX, 1))
        picture = np.clip(canvas + noise, 0, 255).astype(np.uint8)
        sides = (WIDTH_PX, HEIGHT_PX, WIDTH_PX, HEIGHT_PX)
        faces = {
            who: tuple(value / side for value, side in zip(box, sides, strict=True))
            for who, box in shown.items()
            if _share_shown(box, covered[who]) >= SHOWN
        }
        yield CrowdFrame(picture, at_s, faces)  # type: ignore[arg-type]


def lobby(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A wall with windows and a door, unlike at each place."""
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), rng.uniform(150, 230, 3), np.float32)
    picture *= np.linspace(1.05, 0.85, HEIGHT_PX, dtype=np.float32)[:, None, None]
    for left in range(40, WIDTH_PX, 190):
        colour = rng.uniform(90, 240, 3)
        cv2.rectangle(picture, (left, 40), (left + 110, 330), colour.tolist(), -1)
        cv2.rectangle(picture, (left, 40), (left + 110, 330), (90, 90, 90), 4)
    cv2.rectangle(picture, (0, 450), (WIDTH_PX, HEIGHT_PX), (140, 150, 160), -1)
    return cv2.GaussianBlur(picture, (0, 0), 1.0).astype(np.float32)


@cache
def _figure(
    name: str, is_masked: bool, shirt: tuple[float, float, float], tone: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """A person with a face of FACE_PX as blue, green, red, alpha: (height, width, 4)."""
    person = figure(PORTRAITS[name], is_masked, shirt)
    factor = FACE_PX / PORTRAITS[name].face_height
    small = person.resize((round(person.width * factor), round(person.height * factor)), Resampling.LANCZOS)
    red, green, blue, alpha = np.moveaxis(np.asarray(small, np.float32), 2, 0)
    colours = np.stack([blue, green, red], 2) * np.asarray(tone, np.float32)
    return np.concatenate([np.clip(colours, 0, 255), alpha[..., None]], 2)


def _paint(canvas: npt.NDArray[np.float32], walker: Walker, middle: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Paint somebody; returns how much of each pixel they hide, 0 to 1."""
    figure = _figure(walker.name, walker.is_masked, walker.shirt, walker.tone)
    portrait = PORTRAITS[walker.name]
    x, y = (value * FACE_PX / portrait.face_height for value in portrait.face_centre)
    if walker.is_mirrored:
        figure, x = figure[:, ::-1], figure.shape[1] - x
    tilt = math.radians(2.2 * math.sin(5.5 * middle[0] / 60 + walker.phase))
    cos, sin = walker.size * math.cos(tilt), walker.size * math.sin(tilt)
    matrix = np.asarray([[cos, -sin, middle[0] - cos * x + sin * y], [sin, cos, middle[1] - sin * x - cos * y]])
    layer = cv2.warpAffine(np.ascontiguousarray(figure), matrix, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_AREA)
    alpha = np.asarray(layer[..., 3] / 255, np.float32)
    canvas += alpha[..., None] * (layer[..., :3] - canvas)
    return alpha


def _share_shown(box_px: Box, covered: npt.NDArray[np.float32]) -> float:
    x1, y1, x2, y2 = (round(value) for value in box_px)
    inside = covered[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]
    whole = (x2 - x1) * (y2 - y1)
    return float((1 - inside).sum() / whole) if whole else 0.0


@dataclass(frozen=True)
class Followed:
    """How well tracks kept to people.

    Args:
        switches: how often the track of a person was not the one of before.
        taken: how often a track went over from one person to another.
        id_f1: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016.
    """

    people: int
    tracks: int
    switches: int
    taken: int
    id_f1: float
    missed_share: float


def follow(detector: Detector, seed: int, count: int = 8, seconds: float = 14.0) -> Followed:
    """Let one camera's analyzer watch a crowd."""
    analyzer = Analyzer(detector)
    score = motmetrics.MOTAccumulator(auto_id=True)
    seen: dict[object, list[int]] = {}
    everybody: set[int] = set()
    for frame in frames(seed, count, seconds):
        analyzer.analyse(frame.image_bgr, frame.at_s + 1.0)
        sightings = analyzer.sightings()
        everybody |= set(frame.faces)
        overlaps = np.asarray(
            [[overlap(box, found.box) for found in sightings] for box in frame.faces.values()], np.float64
        ).reshape(len(frame.faces), len(sightings))
        distances = np.where(overlaps >= SAME, 1 - overlaps, np.nan)
        score.update(list(frame.faces), [found.key.int for found in sightings], distances)
        for column, found in enumerate(sightings):
            if len(frame.faces) and overlaps[:, column].max() >= SAME:
                who = list(frame.faces)[int(overlaps[:, column].argmax())]
                whom = seen.setdefault(found.key, [])
                if not whom or whom[-1] != who:
                    whom.append(who)
    figures = motmetrics.metrics.create().compute(
        score, metrics=["idf1", "num_switches", "num_misses", "num_objects"], name="crowd"
    )
    one = figures.loc["crowd"]
    return Followed(
        len(everybody),
        len(seen),
        int(one["num_switches"]),
        sum(len(whom) - 1 for whom in seen.values()),
        float(one["idf1"]),
        float(one["num_misses"] / max(1, one["num_objects"])),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crowds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--people", type=int, default=8)
    given = parser.parse_args()
    detector = Detector.load()
    every = [follow(detector, given.seed + number, given.people) for number in range(given.crowds)]
    for number, one in enumerate(every):
        print(f"seed {given.seed + number}: {one}")
    people = sum(one.people for one in every)
    print(
        f"{people} people: {sum(one.switches for one in every)} switches, {sum(one.taken for one in every)} tracks "
        f"taken over, {sum(one.tracks for one in every)} tracks, IDF1 {np.mean([one.id_f1 for one in every]):.3f}, "
        f"missed {np.mean([one.missed_share for one in every]):.3f}"
    )


if __name__ == "__main__":
    main()
