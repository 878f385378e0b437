"""Sets of training drawings, drawn on all processors and reproducible by their seeds."""

import os
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from scripts.miniature.attributes import Avatar, sample_trained
from scripts.miniature.drawing import draw_avatar

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class DrawingSet:
    """A number of drawings of one size and style."""

    count: int
    width_px: int
    height_px: int
    shaded: bool
    seed: int


def part_of(drawing_sets: Iterable[DrawingSet], part: float) -> list[DrawingSet]:
    """Return the sets with this fraction of their drawings, at least eight each."""
    return [
        replace(drawing_set, count=max(8, round(part * drawing_set.count))) for drawing_set in drawing_sets
    ]


@dataclass(frozen=True)
class Drawing:
    """A drawing and the avatar that it shows. pixels: (3, H, W), bytes."""

    avatar: Avatar
    shaded: bool
    pixels: torch.Tensor


def draw_sets(drawing_sets: Sequence[DrawingSet], keep: Callable[[Drawing], Kept]) -> list[list[Kept]]:
    """Draw each set. keep: reduces a drawing in its own process, because whole drawings take gigabytes."""
    # Spawned: a process forked beside torch's threads would wait for them for ever.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return [
            list(
                pool.map(
                    _draw_and_keep, repeat(keep), repeat(drawing_set), range(drawing_set.count), chunksize=8
                )
            )
            for drawing_set in drawing_sets
        ]


def _draw_and_keep(keep: Callable[[Drawing], Kept], drawing_set: DrawingSet, number: int) -> Kept:
    return keep(draw(drawing_set, number))


def draw(drawing_set: DrawingSet, number: int) -> Drawing:
    """Make one drawing of a set."""
    rng = random.Random(f"{drawing_set.seed}-{number}")
    avatar = sample_trained(rng)
    image = draw_avatar(
        avatar, drawing_set.width_px, drawing_set.height_px, shaded=drawing_set.shaded, rng=rng
    )
    return Drawing(avatar, drawing_set.shaded, as_pixels(image))


def as_is(drawing: Drawing) -> Drawing:
    """Return the drawing unchanged."""
    return drawing


def as_pixels(image: Image.Image) -> torch.Tensor:
    """Convert an image to bytes (3, H, W)."""
    return torch.from_numpy(np.array(image).transpose(2, 0, 1).copy())


def as_input(pixels: torch.Tensor) -> torch.Tensor:
    """Convert bytes to the VAE's range from -1 to 1."""
    return pixels.float() / 127.5 - 1
