"""Pools of drawings to train on, drawn by all processors, the same for the same seed."""

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
class Lot:
    """So many drawings of one size and style."""

    count: int
    width_px: int
    height_px: int
    shaded: bool
    seed: int


def part_of(lots: Iterable[Lot], part: float) -> list[Lot]:
    """Return lots with this part of their drawings, though never fewer than eight."""
    return [replace(lot, count=max(8, round(part * lot.count))) for lot in lots]


@dataclass(frozen=True)
class Drawing:
    """A drawing and what it shows. pixels: (3, H, W), bytes."""

    avatar: Avatar
    shaded: bool
    pixels: torch.Tensor


def draw_lots(lots: Sequence[Lot], keep: Callable[[Drawing], Kept]) -> list[list[Kept]]:
    """Draw each lot. keep: what to take of a drawing, where it is drawn: whole, they are gigabytes."""
    # Spawned: a process forked beside torch's threads waits for them for ever.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return [
            list(pool.map(_drawn, repeat(keep), repeat(lot), range(lot.count), chunksize=8)) for lot in lots
        ]


def _drawn(keep: Callable[[Drawing], Kept], lot: Lot, number: int) -> Kept:
    return keep(draw(lot, number))


def draw(lot: Lot, number: int) -> Drawing:
    """Make one drawing of a lot."""
    chance = random.Random(f"{lot.seed}-{number}")
    avatar = sample_trained(chance)
    image = draw_avatar(avatar, lot.width_px, lot.height_px, shaded=lot.shaded, chance=chance)
    return Drawing(avatar, lot.shaded, as_pixels(image))


def as_is(drawing: Drawing) -> Drawing:
    """Keep a drawing as it is."""
    return drawing


def as_pixels(image: Image.Image) -> torch.Tensor:
    """Turn an image into bytes (3, H, W)."""
    return torch.from_numpy(np.array(image).transpose(2, 0, 1).copy())


def as_input(pixels: torch.Tensor) -> torch.Tensor:
    """Turn bytes into the VAE's numbers from -1 to 1."""
    return pixels.float() / 127.5 - 1
