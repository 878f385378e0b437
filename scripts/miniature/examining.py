"""Examines what a backend draws: prompts of combinations that no training has shown, read by the judge."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from PIL import Image

from catalog.entries import Entry
from catalog.prompts import Appearance, Persona, compose
from inference.backend import Backend, Order
from scripts.miniature.attributes import Avatar, sample_held_out
from scripts.miniature.captions import caption
from scripts.miniature.judge import Judge, Verdict, judge_pictures

_STRANGERS: Final = 2


@dataclass(frozen=True)
class Score:
    """How many of the pictures have each attribute that was asked for."""

    accuracy: dict[str, float]
    shading: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over attributes."""
        return sum(self.accuracy.values()) / len(self.accuracy)


@dataclass(frozen=True)
class Question:
    """One prompt with what it asks for, and the seed to draw it with."""

    avatar: Avatar
    prompt: str
    seed: int


def questions(count: int, entry: Entry, *, seed: int = 0) -> list[Question]:
    """Describe held-out combinations in free order, among words that no vocabulary has."""
    chance = random.Random(f"questions-{seed}")
    asked = []
    for number in range(count):
        avatar = sample_held_out(chance)
        words = caption(avatar, chance, strangers=_STRANGERS)
        asked.append(Question(avatar, compose(words, Appearance(), Persona(), entry.quality_terms), number))
    return asked


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
    verdicts: list[Verdict] = []
    for question, picture in zip(asked, pictures, strict=True):
        (verdict,) = judge_pictures(judge, [picture])
        verdicts.append(verdict)
        for name, found in verdict.agrees(question.avatar).items():
            right[name].append(found)
    accuracy = {name: sum(found) / len(found) for name, found in right.items()}
    return Score(accuracy, tuple(verdict.shading for verdict in verdicts))
