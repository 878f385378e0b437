"""Two painters of shapes: flat, like a cartoon, and lit from the upper left, like a photograph."""

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Color = tuple[int, int, int]
Draw = Callable[[ImageDraw.ImageDraw, "Color | int"], None]

OVERSAMPLING: Final = 2
"""Shapes are drawn at twice the size and averaged, which smooths their edges."""

_RELIEF: Final = 0.5  # the contrast between the lit and the dark side of a shape
_SHADOW: Final = 0.35
_BLUR_PX: Final = 96  # the side of the copy for the relief: relief is soft, and blurring at full size is slow


class Painter(Protocol):
    """Puts shapes on a canvas; later shapes cover earlier ones."""

    def backdrop(self, color: Color) -> None:
        """Fill the whole canvas."""
        ...

    def paint(self, draw: Draw, color: Color, *, depth: float = 0.0) -> None:
        """Put a shape on the canvas. depth: its height as a fraction of the canvas; 0 is flat."""
        ...

    def image(self) -> Image.Image:
        """Return the finished picture."""
        ...


class FlatPainter:
    """Fills every shape with one colour."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self._size = (width_px * OVERSAMPLING, height_px * OVERSAMPLING)
        self._canvas = Image.new("RGB", self._size)
        self._draw = ImageDraw.Draw(self._canvas)

    def backdrop(self, color: Color) -> None:
        """Fill the whole canvas with one colour."""
        self._draw.rectangle((0, 0, *self._size), fill=color)

    def paint(self, draw: Draw, color: Color, *, depth: float = 0.0) -> None:  # noqa: ARG002 - flat has none
        """Fill the shape."""
        draw(self._draw, color)

    def image(self) -> Image.Image:
        """Return the canvas at its final size."""
        return self._canvas.reduce(OVERSAMPLING)


class ShadedPainter:
    """Lights every shape: its blurred mask serves as a height map, whose slope gives the shading."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self._size = (width_px, height_px)
        self._pixels = np.zeros((height_px, width_px, 3), np.float32)
        scale = _BLUR_PX / min(width_px, height_px)
        self._small = (round(width_px * scale), round(height_px * scale))

    def backdrop(self, color: Color) -> None:
        """Fill the canvas with a spotlight that fades towards the corners."""
        width, height = self._size
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        light = 1.12 - 0.30 * ((x + 0.25) ** 2 + (y + 0.35) ** 2)
        self._pixels[:] = np.array(color, np.float32) * light[..., None]

    def paint(self, draw: Draw, color: Color, *, depth: float = 0.0) -> None:
        """Put the lit shape on the canvas, and its shadow on the shapes below."""
        width, height = self._size
        large = Image.new("L", (width * OVERSAMPLING, height * OVERSAMPLING))
        draw(ImageDraw.Draw(large), 255)
        left, top, right, bottom = large.getbbox() or (0, 0, 1, 1)
        box = (
            left // OVERSAMPLING,
            top // OVERSAMPLING,
            -(-right // OVERSAMPLING),
            -(-bottom // OVERSAMPLING),
        )
        inside = np.s_[box[1] : box[3], box[0] : box[2]]
        mask = large.reduce(OVERSAMPLING)
        cover = np.asarray(mask.crop(box), np.float32)[..., None] / 255
        light: Any = np.float32(1)
        if depth:
            height_map = _blurred(mask.resize(self._small, Image.Resampling.BOX), depth)
            shift = max(1, round(depth * _BLUR_PX / 2))
            self._pixels *= 1 - _SHADOW * self._enlarge(_shifted(height_map, shift))
            slope = _shifted(height_map, -shift) - _shifted(height_map, shift)
            light = np.float32(1.06) + np.float32(_RELIEF) * self._enlarge(slope)[inside]
        self._pixels[inside] += cover * (np.array(color, np.float32) * light - self._pixels[inside])

    def image(self) -> Image.Image:
        """Return the canvas, clipped to white."""
        return Image.fromarray(self._pixels.clip(0, 255).round().astype(np.uint8))

    def _enlarge(self, small: np.ndarray) -> np.ndarray:
        image = Image.fromarray(small).resize(self._size, Image.Resampling.BICUBIC)
        return np.asarray(image)[..., None]


def _blurred(mask: Image.Image, depth: float) -> np.ndarray:
    """Return a mask from 0 to 1, blurred by a depth as a fraction of the canvas."""
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(depth * _BLUR_PX)), np.float32) / 255


def _shifted(values: np.ndarray, pixels: int) -> np.ndarray:
    """Shift down and to the right; the edge is repeated."""
    height, width = values.shape
    rows = np.clip(np.arange(height) - pixels, 0, height - 1)
    columns = np.clip(np.arange(width) - pixels, 0, width - 1)
    return values[rows][:, columns]
