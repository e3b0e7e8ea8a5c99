"""Makes the demo's clips: the people in two public-domain portraits walk through a painted lobby.

    python -m portal.demo.make_clips            writes portal/demo/clips/*.mp4

The portraits are scikit-image's `astronaut` (Eileen Collins, NASA) and matplotlib's `grace_hopper.jpg` (Grace Hopper,
US Navy), both in the public domain; both packages are needed only for making clips. SCENES says what each scene
shows; masks are drawn.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from cameras.replay.clip_writer import ClipWriter

CLIPS = Path(__file__).resolve().parent / "clips"
WIDTH_PX, HEIGHT_PX, RATE = 1280, 720, 15
COUNTER_Y_PX = 525  # people further away walk behind the reception counter
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Portrait:
    """A person cut out of a picture: outline, mask and face are in pixels of that picture."""

    name: str
    outline: Points
    mask: Points
    straps: Points
    face_centre: tuple[float, float]
    face_height: float


COLLINS = Portrait(
    "collins",
    outline=(
        *((8, 512), (14, 440), (28, 345), (44, 290), (74, 250), (112, 216), (118, 186), (138, 160), (176, 150)),
        *((166, 122), (154, 98), (152, 62), (170, 32), (202, 17), (244, 15), (280, 32), (299, 62), (300, 96)),
        *((284, 126), (270, 150), (268, 168), (290, 190), (303, 216), (306, 236), (332, 258), (350, 290), (362, 344)),
        *((400, 343), (440, 352), (474, 384), (496, 430), (508, 512)),
    ),
    mask=(
        (188, 124),
        (205, 116),
        (224, 111),
        (246, 116),
        (264, 124),
        (264, 148),
        (252, 168),
        (228, 181),
        (203, 170),
        (189, 150),
    ),
    straps=((180, 106), (188, 126), (264, 126), (272, 106)),
    face_centre=(226, 119),
    face_height=114,
)
HOPPER = Portrait(
    "hopper",
    outline=(
        *((10, 600), (25, 480), (42, 392), (62, 376), (130, 350), (202, 322), (205, 302), (176, 286), (157, 240)),
        *((155, 200), (150, 152), (145, 132), (146, 100), (175, 90), (180, 66), (216, 36), (265, 22), (310, 30)),
        *((344, 54), (356, 86), (372, 96), (372, 150), (374, 190), (370, 232), (354, 280), (336, 304), (330, 318)),
        *((400, 355), (470, 380), (494, 402), (504, 450), (510, 600)),
    ),
    mask=(
        (194, 246),
        (228, 222),
        (268, 204),
        (308, 222),
        (346, 246),
        (346, 292),
        (322, 326),
        (274, 348),
        (224, 326),
        (196, 292),
    ),
    straps=((172, 214), (194, 248), (346, 248), (366, 214)),
    face_centre=(264, 231),
    face_height=208,
)


@dataclass(frozen=True)
class Walk:
    """One person's path through the picture.

    Args:
        start_s, end_s: when the path begins and ends; before and after it the person is absent.
        way: (share of the time, x px, y px) of the centre of the face; straight lines in between.
        face_px: height of the face at the start and at the end.
        mask_on_at: share of the time from which the mask is worn; 0 means always, 1 never.
    """

    portrait: Portrait
    start_s: float
    end_s: float
    way: tuple[tuple[float, float, float], ...]
    face_px: tuple[float, float]
    mask_on_at: float = 1.0
    mirrored: bool = False
    shirt: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors of red, green and blue below the chin


def across(y: float, *, leftward: bool = False) -> tuple[tuple[float, float, float], ...]:
    """A straight path from outside one edge to outside the other."""
    return ((0.0, 1480.0, y), (1.0, -200.0, y)) if leftward else ((0.0, -200.0, y), (1.0, 1480.0, y))


@dataclass(frozen=True)
class ClipScene:
    """A clip: its length, the colour of the wall, and who walks through it."""

    length_s: float
    wall: tuple[int, int, int]
    walks: tuple[Walk, ...]


STOP_AND_MASK = ((0.0, -220.0, 300.0), (0.3, 560.0, 290.0), (0.72, 600.0, 290.0), (1.0, 1500.0, 300.0))
SCENES = {
    # Two people three seconds apart, both bare; then one with a mask comes nearer.
    "harbour-house": ClipScene(
        21,
        (214, 222, 218),
        (
            Walk(COLLINS, 1.0, 8.0, across(270), (120, 120)),
            Walk(HOPPER, 4.0, 11.0, across(300), (140, 140)),
            Walk(
                COLLINS, 12.5, 19.5, ((0.0, 1450.0, 300.0), (1.0, -230.0, 270.0)), (90, 150), 0.0, True, (0.5, 0.9, 1.4)
            ),
        ),
    ),
    # One masked, one who stops to put a mask on, and one far away and bare behind the counter.
    "maple-tower": ClipScene(
        26,
        (226, 216, 204),
        (
            Walk(HOPPER, 0.5, 7.0, across(280, leftward=True), (150, 150), 0.0),
            Walk(COLLINS, 7.5, 17.5, STOP_AND_MASK, (130, 130), 0.52),
            Walk(HOPPER, 17.0, 24.5, across(425, leftward=True), (74, 74), 1.0, True, (1.2, 0.8, 0.9)),
        ),
    ),
    # Nobody without a mask: the tests play it and expect no violation.
    "masked-only": ClipScene(
        16,
        (214, 222, 218),
        (
            Walk(COLLINS, 0.5, 7.0, across(280), (130, 130), 0.0),
            Walk(HOPPER, 8.0, 15.0, across(300, leftward=True), (140, 140), 0.0),
        ),
    ),
}


@cache
def portrait_pixels(name: str) -> Image.Image:
    """The portrait as its package ships it."""
    if name == "collins":
        from skimage import data

        return Image.fromarray(data.astronaut())  # type: ignore[no-untyped-call]
    import matplotlib.cbook

    return Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))).convert("RGB")


@cache
def figure(portrait: Portrait, masked: bool, shirt: tuple[float, float, float]) -> Image.Image:
    """The person cut out, with or without a mask, as RGBA."""
    pixels = np.asarray(portrait_pixels(portrait.name), np.float32).copy()
    chin = int(portrait.face_centre[1] + portrait.face_height * 0.62)
    fade = np.clip((np.arange(len(pixels)) - chin) / 20, 0, 1)[:, None, None]
    pixels *= 1 + fade * (np.asarray(shirt, np.float32) - 1)
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if masked:
        draw_mask(picture, portrait)
    alpha = Image.new("L", picture.size, 0)
    ImageDraw.Draw(alpha).polygon(portrait.outline, fill=255)
    picture.putalpha(alpha.filter(ImageFilter.GaussianBlur(1.6)))
    return picture


def draw_mask(picture: Image.Image, portrait: Portrait) -> None:
    """A pleated light-blue mask with its straps, drawn at four times the size for smooth edges."""
    factor = 4
    layer = Image.new("RGBA", (picture.width * factor, picture.height * factor))
    draw = ImageDraw.Draw(layer)
    outline = [(x * factor, y * factor) for x, y in portrait.mask]
    straps = [(x * factor, y * factor) for x, y in portrait.straps]
    thin = max(4, round(portrait.face_height * factor / 60))
    draw.line(straps[:2], fill=(240, 244, 246, 255), width=thin)
    draw.line(straps[2:], fill=(240, 244, 246, 255), width=thin)
    draw.polygon(outline, fill=(146, 190, 214, 255))
    left, right = min(x for x, _ in outline), max(x for x, _ in outline)
    top, bottom = min(y for _, y in outline), max(y for _, y in outline)
    for share in (0.42, 0.56, 0.70):
        y = top + share * (bottom - top)
        inset = (right - left) * (0.04 + 0.12 * abs(share - 0.5))
        draw.arc((left + inset, y - 6 * factor, right - inset, y + 6 * factor), 20, 160, (112, 158, 186, 255), thin)
    draw.line([*outline, outline[0]], fill=(206, 226, 236, 255), width=thin, joint="curve")
    small = layer.resize(picture.size, Image.Resampling.LANCZOS)
    picture.paste(small, (0, 0), small)


def lobby(wall: tuple[int, int, int]) -> Image.Image:
    """An empty lobby: wall, windows, a plant and a slightly shiny floor."""
    picture = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), wall)
    draw = ImageDraw.Draw(picture)
    for y in range(HEIGHT_PX):
        shade = 1.04 - 0.16 * y / HEIGHT_PX
        draw.line([(0, y), (WIDTH_PX, y)], fill=tuple(min(255, round(value * shade)) for value in wall))
    draw.polygon([(0, 720), (0, 600), (1280, 600), (1280, 720)], fill=(166, 156, 146))
    for x in range(-200, 1500, 170):
        draw.line([(640 + (x - 640) * 0.8, 600), (640 + (x - 640) * 1.5, 720)], fill=(150, 140, 131), width=2)
    for left in (70, 300, 850, 1080):
        draw.rectangle((left, 70, left + 150, 420), fill=(178, 206, 222), outline=(120, 124, 126), width=6)
        draw.polygon([(left + 20, 410), (left + 90, 80), (left + 130, 80), (left + 60, 410)], fill=(196, 219, 231))
        draw.line([(left + 75, 70), (left + 75, 420)], fill=(120, 124, 126), width=4)
    draw.rectangle((560, 110, 740, 600), fill=(120, 98, 82), outline=(92, 74, 62), width=8)
    draw.rectangle((585, 140, 715, 420), fill=(190, 212, 222))
    draw.ellipse((700, 350, 722, 372), fill=(210, 190, 120))
    draw.rectangle((20, 520, 60, 604), fill=(150, 92, 70))
    for angle in range(-70, 71, 20):
        tip = (40 + 130 * math.sin(math.radians(angle)), 520 - 150 * math.cos(math.radians(angle)))
        draw.line([(40, 520), tip], fill=(70, 116, 82), width=12)
    return picture.filter(ImageFilter.GaussianBlur(1.2))


def counter() -> Image.Image:
    """The reception counter, which hides the lower half of anyone walking behind it; transparent elsewhere."""
    layer = Image.new("RGBA", (WIDTH_PX, HEIGHT_PX))
    draw = ImageDraw.Draw(layer)
    draw.rectangle((0, COUNTER_Y_PX, WIDTH_PX, HEIGHT_PX), fill=(126, 104, 88, 255))
    draw.rectangle((0, COUNTER_Y_PX, WIDTH_PX, COUNTER_Y_PX + 16), fill=(176, 152, 130, 255))
    for x in range(60, WIDTH_PX, 190):
        draw.line([(x, COUNTER_Y_PX + 16), (x, HEIGHT_PX)], fill=(108, 88, 74, 255), width=4)
    return layer


def place(picture: Image.Image, walk: Walk, at_s: float) -> None:
    """Paint the walking person into the picture, if they are there at this moment."""
    if not walk.start_s <= at_s < walk.end_s:
        return
    share = (at_s - walk.start_s) / (walk.end_s - walk.start_s)
    shares = [point[0] for point in walk.way]
    x = float(np.interp(share, shares, [point[1] for point in walk.way]))
    y = float(np.interp(share, shares, [point[2] for point in walk.way])) + 4 * math.sin(at_s * 11)
    scale = float(np.interp(share, [0, 1], walk.face_px)) / walk.portrait.face_height
    person = figure(walk.portrait, share >= walk.mask_on_at, walk.shirt)
    centre_x, centre_y = walk.portrait.face_centre
    if walk.mirrored:
        person = person.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        centre_x = person.width - centre_x
    tilt = math.radians(2.2 * math.sin(at_s * 5.5))
    # The inverse map, from the lobby's pixels to the portrait's: it keeps subpixel positions, so movement is smooth.
    cos, sin = math.cos(tilt) / scale, math.sin(tilt) / scale
    inverse = (cos, sin, centre_x - cos * x - sin * y, -sin, cos, centre_y + sin * x - cos * y)
    if scale < 0.9:
        person = person.filter(ImageFilter.BoxBlur(0.5 / scale - 0.5))
    layer = person.transform(picture.size, Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC)
    picture.paste(layer, (0, 0), layer)


def write_scene(scene: ClipScene, path: Path) -> None:
    """Render a scene, the most distant people first, and encode it as a camera with 15 pictures a second would."""
    empty, front = lobby(scene.wall), counter()
    noise = np.random.default_rng(7).normal(0, 2.0, (HEIGHT_PX, WIDTH_PX + RATE, 1))
    walks = sorted(scene.walks, key=lambda walk: walk.face_px[0])
    with ClipWriter(path, RATE, crf=27, preset="slow") as clip:
        for number in range(int(scene.length_s * RATE)):
            picture = empty.copy()
            for walk in walks:
                place(picture, walk, number / RATE)
            picture.paste(front, (0, 0), front)
            grain = noise[:, number % RATE : number % RATE + WIDTH_PX]
            pixels = np.clip(np.asarray(picture, np.float32) + grain, 0, 255).astype(np.uint8)
            clip.add(np.ascontiguousarray(pixels[..., ::-1]))


def main() -> None:
    CLIPS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SCENES:
        write_scene(SCENES[name], CLIPS / f"{name}.mp4")
        print(f"{name}.mp4  {(CLIPS / f'{name}.mp4').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
