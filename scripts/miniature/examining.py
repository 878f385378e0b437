"""Examines what a backend draws: prompts of combinations that no training has shown, read by the judge."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import fmean
from typing import Final

import numpy as np
from PIL import Image

from catalog.entries import Entry
from catalog.orders import Order
from catalog.prompts import compose
from catalog.traits import Traits
from inference.backend import Backend
from scripts.miniature.attributes import VALUES, sample_held_out
from scripts.miniature.captions import caption
from scripts.miniature.judge import Judge, judge_pictures

_STRANGERS: Final = 2


@dataclass(frozen=True)
class Score:
    """How many of the pictures have each attribute that was asked for."""

    accuracy: dict[str, float]
    shading: tuple[float, ...]
    contrast: float
    """The mean deviation of a picture's values, of 255: too few steps blend what they cannot decide."""

    @property
    def mean(self) -> float:
        """The mean over attributes."""
        return sum(self.accuracy.values()) / len(self.accuracy)


@dataclass(frozen=True)
class Question:
    """One prompt with the attributes that it asks for, and the seed to draw it with."""

    asked: Mapping[str, str]
    prompt: str
    seed: int


def questions(count: int, entry: Entry, *, seed: int = 0) -> list[Question]:
    """Describe held-out combinations in free order, among words that no vocabulary has."""
    chance = random.Random(f"questions-{seed}")
    asked = []
    for number in range(count):
        avatar = sample_held_out(chance)
        words = caption(avatar, chance, strangers=_STRANGERS)
        asked.append(Question(avatar.visible(), _prompt(words, entry), number))
    return asked


def open_questions(count: int, entry: Entry) -> list[Question]:
    """Ask for a woman or a man and leave all else open, so that the steps must decide it."""
    return [
        Question({"person": person}, _prompt(f"portrait of a {person}", entry), number)
        for number, person in zip(range(count), cycle(VALUES["person"]), strict=False)
    ]


def _prompt(words: str, entry: Entry) -> str:
    return compose(words, Traits(), entry.quality_terms)


def draw_all(
    backend: Backend,
    entry: Entry,
    asked: list[Question],
    change: Callable[[Order], Order] = lambda order: order,
) -> Iterator[Image.Image]:
    """Draw every question's picture with an entry, its order changed if need be."""
    for question in asked:
        order = Order.of_entry(entry, question.prompt, seed=question.seed)
        yield backend.generate(change(order), lambda _: None).image


def sized(side_px: int) -> Callable[[Order], Order]:
    """Return the change that makes an order a square of this side."""
    return lambda order: replace(order, width_px=side_px, height_px=side_px)


def examine(judge: Judge, asked: list[Question], pictures: Iterable[Image.Image]) -> Score:
    """Judge pictures, one for each question."""
    right: dict[str, list[bool]] = defaultdict(list)
    shading, contrasts = [], []
    for question, picture in zip(asked, pictures, strict=True):
        (verdict,) = judge_pictures(judge, [picture])
        shading.append(verdict.shading)
        contrasts.append(float(np.asarray(picture).std()))
        for name, found in verdict.agrees(question.asked).items():
            right[name].append(found)
    accuracy = {name: sum(found) / len(found) for name, found in right.items()}
    return Score(accuracy, tuple(shading), fmean(contrasts))
