"""Draws avatars from attributes at any size, flat or shaded. Lengths are fractions of the shorter side."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, ImageDraw

from scripts.miniature.attributes import Avatar
from scripts.miniature.painting import OVERSAMPLING, Color, Draw, FlatPainter, Painter, ShadedPainter

SKIN: Final[dict[str, Color]] = {"light": (250, 214, 186), "tan": (211, 154, 108), "dark": (121, 76, 50)}
HAIR: Final[dict[str, Color]] = {
    "black": (36, 32, 38), "brown": (110, 64, 32), "blonde": (240, 206, 112), "red": (200, 76, 30),
    "gray": (164, 166, 172), "blue": (58, 104, 214), "pink": (240, 120, 178),
}  # fmt: skip
EYES: Final[dict[str, Color]] = {"brown": (102, 58, 24), "blue": (48, 118, 220), "green": (44, 150, 70)}
CLOTHES: Final[dict[str, Color]] = {
    "black": (40, 40, 46), "white": (240, 240, 240), "gray": (142, 144, 150), "red": (206, 50, 52),
    "blue": (46, 88, 190), "green": (52, 142, 80), "yellow": (240, 200, 66), "purple": (126, 70, 172),
}  # fmt: skip
BACKGROUND: Final[dict[str, Color]] = {
    "white": (246, 246, 246), "gray": (150, 152, 158), "blue": (70, 130, 232), "green": (86, 180, 102),
    "red": (214, 66, 62), "yellow": (250, 218, 84), "orange": (242, 146, 54), "purple": (142, 94, 194),
    "pink": (246, 164, 196), "teal": (60, 184, 184),
}  # fmt: skip
_WHITE: Final = (250, 250, 250)
_INK: Final = (40, 30, 34)
_LIPS: Final = (196, 62, 76)
_MOUTH: Final = (120, 36, 44)
_FRAME: Final = (28, 28, 34)


@dataclass(frozen=True)
class Frame:
    """The position of the head, and the conversion of lengths to pixels."""

    width_px: int
    height_px: int
    x: float
    y: float
    wide: float
    tall: float

    @property
    def unit_px(self) -> int:
        """The shorter side in oversampled pixels."""
        return min(self.width_px, self.height_px) * OVERSAMPLING

    def points(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Convert points relative to the head's centre to oversampled pixels."""
        left = self.width_px * OVERSAMPLING / 2 + (self.x - 0.5) * self.unit_px
        top = self.height_px * OVERSAMPLING * 0.5 + (self.y - 0.5) * self.unit_px
        return [(left + x * self.unit_px, top + y * self.unit_px) for x, y in points]

    def box(self, x: float, y: float, wide: float, tall: float) -> list[tuple[float, float]]:
        """Return the corners of a box with this centre and these half sides, in oversampled pixels."""
        return self.points([(x - wide, y - tall), (x + wide, y + tall)])

    def length(self, part: float) -> int:
        """Return a length in oversampled pixels."""
        return max(1, round(part * self.unit_px))


def draw_avatar(
    avatar: Avatar, width_px: int, height_px: int, *, shaded: bool, rng: random.Random
) -> Image.Image:
    """Draw an avatar as an RGB image; `rng` moves and scales the head a little."""
    painter: Painter = (ShadedPainter if shaded else FlatPainter)(width_px, height_px)
    man = avatar.person == "man"
    size = rng.uniform(0.99, 1.01)  # less than a square of the code, so the model need not learn positions
    frame = Frame(
        width_px,
        height_px,
        x=0.5 + rng.uniform(-0.005, 0.005),
        y=0.46 + rng.uniform(-0.004, 0.004),
        wide=(0.205 if man else 0.195) * size,
        tall=(0.262 if man else 0.255) * size,
    )
    _Avatar(painter, frame, avatar).draw()
    return painter.image()


class _Avatar:
    """Draws one avatar on a painter, from the backdrop to the glasses."""

    def __init__(self, painter: Painter, frame: Frame, avatar: Avatar) -> None:
        self._painter, self._frame, self._avatar = painter, frame, avatar
        self._a, self._b = frame.wide, frame.tall
        self._skin, self._hair = SKIN[avatar.skin], HAIR[avatar.hair_color]
        self._cloth = CLOTHES[avatar.clothes_color]

    def draw(self) -> None:
        self._painter.backdrop(BACKGROUND[self._avatar.background])
        self._hair_behind()
        self._body()
        self._head()
        self._face()
        self._hair_before()
        self._glasses()

    # Shapes, relative to the head's centre.

    def _ellipse(
        self, x: float, y: float, wide: float, tall: float, color: Color, depth: float = 0.0
    ) -> None:
        box = self._frame.box(x, y, wide, tall)
        self._painter.paint(lambda d, fill: d.ellipse(box, fill=fill), color, depth=depth)

    def _polygon(self, points: Sequence[tuple[float, float]], color: Color, depth: float = 0.0) -> None:
        placed = self._frame.points(points)
        self._painter.paint(lambda d, fill: d.polygon(placed, fill=fill), color, depth=depth)

    def _rounded(
        self, x: float, y: float, wide: float, tall: float, radius: float, color: Color, depth: float = 0.0
    ) -> None:
        box, corner = self._frame.box(x, y, wide, tall), self._frame.length(radius)
        self._painter.paint(
            lambda d, fill: d.rounded_rectangle(box, radius=corner, fill=fill), color, depth=depth
        )

    def _line(self, points: Sequence[tuple[float, float]], width: float, color: Color) -> None:
        placed, thick = self._frame.points(points), self._frame.length(width)

        def draw(d: ImageDraw.ImageDraw, fill: Any) -> None:
            d.line(placed, fill=fill, width=thick, joint="curve")
            for x, y in (placed[0], placed[-1]):
                d.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=fill)

        self._painter.paint(draw, color)

    def _union(self, draws: Sequence[Draw], color: Color, depth: float) -> None:
        def draw(d: ImageDraw.ImageDraw, fill: Any) -> None:
            for draw_shape in draws:
                draw_shape(d, fill)

        self._painter.paint(draw, color, depth=depth)

    def _blob(self, x: float, y: float, wide: float, tall: float) -> Draw:
        box = self._frame.box(x, y, wide, tall)
        return lambda d, fill: d.ellipse(box, fill=fill)

    # Parts, from back to front.

    def _hair_behind(self) -> None:
        a, b = self._a, self._b
        dark = _toned(self._hair, 0.82)
        match self._avatar.hair_style:
            case "long":
                self._rounded(0, 0.50 * b, 1.2 * a, 1.45 * b, 0.9 * a, dark, 0.03)
            case "bob":
                self._rounded(0, -0.08 * b, 1.30 * a, 1.02 * b, 0.9 * a, dark, 0.03)
            case "curly":
                angles = [math.pi * (k / 12) for k in range(-2, 15)]
                curls = [
                    self._blob(-1.12 * a * math.cos(t), -0.22 * b - 0.92 * b * math.sin(t), 0.085, 0.085)
                    for t in angles
                ]
                self._union([*curls, self._blob(0, -0.3 * b, 1.12 * a, 0.95 * b)], dark, 0.03)
            case "bun":
                self._ellipse(0, -1.27 * b, 0.115, 0.105, dark, 0.03)

    def _body(self) -> None:
        b, cloth = self._b, self._cloth
        dark = _toned(cloth, 0.78)
        top = 1.34 * b
        if self._avatar.clothes == "hoodie":
            self._ellipse(0, top + 0.03, 0.205, 0.125, dark, 0.03)
        self._rounded(0, 0.95 * b, 0.085, 0.75 * b, 0.05, _toned(self._skin, 0.88), 0.02)
        self._rounded(0, top + 0.40, 0.40, 0.40, 0.17, cloth, 0.06)
        match self._avatar.clothes:
            case "t-shirt":
                self._ellipse(0, top - 0.005, 0.115, 0.062, dark)
                self._ellipse(0, top - 0.015, 0.098, 0.052, _toned(self._skin, 0.88))
            case "suit":
                shirt = [(-0.10, top - 0.01), (0.10, top - 0.01), (0.0, top + 0.24)]
                self._polygon(shirt, _WHITE)
                self._polygon(
                    [
                        (-0.022, top + 0.01),
                        (0.022, top + 0.01),
                        (0.034, top + 0.17),
                        (0, top + 0.22),
                        (-0.034, top + 0.17),
                    ],
                    (150, 34, 44),
                )
                for side in (-1, 1):
                    lapel = [
                        (side * 0.085, top - 0.035),
                        (side * 0.17, top + 0.05),
                        (side * 0.115, top + 0.10),
                        (0, top + 0.27),
                    ]
                    self._polygon(lapel, dark, 0.012)
            case "hoodie":
                self._ellipse(0, top, 0.135, 0.065, dark)
                self._ellipse(0, top - 0.02, 0.09, 0.052, _toned(self._skin, 0.88))
                for side in (-1, 1):
                    self._line(
                        [(side * 0.065, top + 0.05), (side * 0.07, top + 0.17)], 0.014, _contrast(cloth)
                    )
            case "sweater":
                self._rounded(0, top - 0.03, 0.115, 0.068, 0.035, dark, 0.015)

    def _head(self) -> None:
        a, b, man = self._a, self._b, self._avatar.person == "man"
        for side in (-1, 1):
            self._ellipse(side * 0.99 * a, 0.05 * b, 0.034, 0.052, _toned(self._skin, 0.90), 0.01)
        # A superellipse: a man's jaw is squarer, a woman's chin narrower.
        square = 2.7 if man else 2.15
        outline = []
        for k in range(96):
            t = 2 * math.pi * k / 96
            cos, sin = math.cos(t), math.sin(t)
            x = a * math.copysign(abs(cos) ** (2 / square), cos)
            y = b * math.copysign(abs(sin) ** (2 / square), sin)
            taper = 1 - (0.10 if man else 0.26) * max(0.0, y / b) ** 1.5
            outline.append((x * taper, y))
        self._polygon(outline, self._skin, 0.05)

    def _face(self) -> None:
        a, b, mood = self._a, self._b, self._avatar.mood
        man = self._avatar.person == "man"
        brow = _toned(self._hair, 0.7) if self._avatar.hair_style != "bald" else (70, 54, 46)
        tall = 0.048 if mood == "surprised" else 0.036
        for side in (-1, 1):
            x, y = side * 0.44 * a, -0.02 * b
            self._ellipse(x, y, 0.047, tall, _WHITE)
            self._ellipse(x, y, 0.029, 0.029, EYES[self._avatar.eyes])
            self._ellipse(x, y, 0.012, 0.012, _INK)
            if not man:
                lash = [(x + 0.055 * math.cos(t), y - (tall + 0.006) * math.sin(t)) for t in _angles(0, 180)]
                self._line(lash, 0.013, _INK)
                self._line([(x + side * 0.05, y - 0.012), (x + side * 0.073, y - 0.03)], 0.011, _INK)
            lift = {"surprised": 0.115, "sad": 0.092, "serious": 0.068, "smiling": 0.088}[mood]
            inner = {"sad": -0.026, "serious": 0.02}.get(mood, 0.004)  # down is positive
            ends = [
                (x - side * 0.05, y - lift + inner),
                (x, y - lift - 0.008),
                (x + side * 0.052, y - lift + 0.3 * abs(inner)),
            ]
            self._line(ends, 0.022 if man else 0.012, brow)
        nose = _toned(self._skin, 0.80)
        self._ellipse(0, 0.27 * b, 0.024 if man else 0.018, 0.02, nose, 0.008)
        self._beard()
        self._mouth()

    def _mouth(self) -> None:
        y = 0.58 * self._b
        lips = _toned(_LIPS, 0.75) if self._avatar.person == "man" else _LIPS
        match self._avatar.mood:
            case "smiling":
                box = self._frame.box(0, y - 0.03, 0.085, 0.075)
                self._painter.paint(lambda d, fill: d.chord(box, 12, 168, fill=fill), lips)
                teeth = self._frame.box(0, y - 0.026, 0.068, 0.05)
                self._painter.paint(lambda d, fill: d.chord(teeth, 12, 168, fill=fill), _WHITE)
            case "serious":
                self._line([(-0.058, y), (0.058, y)], 0.02, lips)
            case "sad":
                arc = [(0.075 * math.cos(t), y + 0.04 - 0.06 * math.sin(t)) for t in _angles(10, 170)]
                self._line(arc, 0.034, lips)  # with the same area as the other moods' mouths, or it is lost
            case "surprised":
                self._ellipse(0, y + 0.01, 0.042, 0.056, lips)
                self._ellipse(0, y + 0.01, 0.026, 0.038, _MOUTH)

    def _beard(self) -> None:
        a, b = self._a, self._b
        color = _toned(self._hair, 0.86)
        match self._avatar.facial_hair:
            case "beard":
                outer = [(1.0 * a * math.cos(t), 0.30 * b + 0.80 * b * math.sin(t)) for t in _angles(-8, 188)]
                inner = [
                    (0.66 * a * math.cos(t), 0.40 * b + 0.02 * b * math.sin(t)) for t in _angles(190, -10)
                ]
                self._polygon([*outer, *inner], color, 0.02)
            case "mustache":
                shapes = [self._blob(side * 0.052, 0.42 * b, 0.064, 0.026) for side in (-1, 1)]
                self._union(shapes, color, 0.01)

    def _hair_before(self) -> None:
        a, b = self._a, self._b
        match self._avatar.hair_style:
            case "short":
                self._cap(1.10, -0.36, 1.14, fringe=0.10)
            case "bob":
                self._cap(1.16, -0.34, 1.16, fringe=0.02)
                for side in (-1, 1):
                    self._rounded(side * 1.07 * a, 0.12 * b, 0.19 * a, 0.78 * b, 0.17 * a, self._hair, 0.015)
            case "long":
                self._cap(1.16, -0.42, 1.17, fringe=0.28)
                for side in (-1, 1):
                    self._rounded(side * 1.08 * a, 0.62 * b, 0.23 * a, 1.26 * b, 0.2 * a, self._hair, 0.015)
            case "curly":
                curls = [
                    self._blob(-0.95 * a * math.cos(t), -0.42 * b - 0.52 * b * math.sin(t), 0.07, 0.07)
                    for t in (math.pi * k / 7 for k in range(8))
                ]
                self._union([*curls, self._blob(0, -0.86 * b, 0.7 * a, 0.22 * b)], self._hair, 0.02)
            case "bun":
                self._cap(1.06, -0.50, 1.10, fringe=0.34)

    def _cap(self, wide: float, line: float, tall: float, *, fringe: float) -> None:
        """Cover the skull down to a hair line; the fringe bends it up in the middle."""
        a, b = self._a, self._b
        top = [(wide * a * math.cos(t), -0.10 * b - (tall - 0.10) * b * math.sin(t)) for t in _angles(0, 180)]
        low = [
            (x * wide * a, (line + 0.3 * x * x * (1 - fringe) - fringe * (1 - x * x)) * b)
            for x in (k / 12 - 1 for k in range(25))
        ]
        self._polygon([*top, *low], self._hair, 0.03)

    def _glasses(self) -> None:
        a = self._a
        if self._avatar.glasses == "none":
            return
        y = 0.0
        bridge = self._frame.points([(-0.03, y - 0.01), (0.03, y - 0.01)])
        temples = [
            self._frame.points([(side * (0.44 * a + 0.06), y - 0.01), (side * 1.02 * a, y - 0.02)])
            for side in (-1, 1)
        ]
        thick = self._frame.length(0.016)
        lenses = [self._frame.box(side * 0.44 * a, y, 0.073, 0.066) for side in (-1, 1)]
        corner = self._frame.length(0.045)
        dark = self._avatar.glasses == "sunglasses"

        def draw(d: ImageDraw.ImageDraw, fill: Any) -> None:
            for line in (bridge, *temples):
                d.line(line, fill=fill, width=thick)
            for lens in lenses:
                d.rounded_rectangle(
                    lens, radius=corner, fill=fill if dark else None, outline=fill, width=thick
                )

        self._painter.paint(draw, _FRAME)


def _angles(first: float, last: float) -> list[float]:
    return [math.radians(first + (last - first) * k / 24) for k in range(25)]


def _toned(color: Color, factor: float) -> Color:
    red, green, blue = (min(255, round(channel * factor)) for channel in color)
    return red, green, blue


def _contrast(color: Color) -> Color:
    return _WHITE if sum(color) < 420 else (70, 70, 76)
