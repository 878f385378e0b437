"""Evaluates a backend: it draws held-out combinations of attributes, and the judge reads the pictures."""

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

_DISTRACTORS: Final = 2


@dataclass(frozen=True)
class Score:
    """The results of an examination.

    accuracy: for each attribute, the fraction of pictures that show the requested value. shading: for each
    picture, from 0 to 1.
    """

    accuracy: dict[str, float]
    shading: tuple[float, ...]
    contrast: float
    """The mean over pictures of the deviation of pixel values, of 255: too few steps give low contrast."""

    @property
    def mean(self) -> float:
        """The mean accuracy over attributes."""
        return sum(self.accuracy.values()) / len(self.accuracy)


@dataclass(frozen=True)
class Question:
    """One prompt, the attributes that it requests, and the seed of its picture."""

    attributes: Mapping[str, str]
    prompt: str
    seed: int


def questions(count: int, entry: Entry, *, seed: int = 0) -> list[Question]:
    """Make prompts for held-out combinations, in free order and with distractors."""
    rng = random.Random(f"questions-{seed}")
    result = []
    for number in range(count):
        avatar = sample_held_out(rng)
        words = caption(avatar, rng, distractors=_DISTRACTORS)
        result.append(Question(avatar.visible(), _prompt(words, entry), number))
    return result


def open_questions(count: int, entry: Entry) -> list[Question]:
    """Make prompts that name only a woman or a man, so that the denoising steps decide everything else."""
    return [
        Question({"person": person}, _prompt(f"portrait of a {person}", entry), number)
        for number, person in zip(range(count), cycle(VALUES["person"]), strict=False)
    ]


def _prompt(words: str, entry: Entry) -> str:
    return compose(words, Traits(), entry.quality_terms)


def draw_all(
    backend: Backend,
    entry: Entry,
    prompts: list[Question],
    change: Callable[[Order], Order] = lambda order: order,
) -> Iterator[Image.Image]:
    """Draw the picture of every question with an entry; `change` alters its orders."""
    for question in prompts:
        order = Order.of_entry(entry, question.prompt, seed=question.seed)
        yield backend.generate(change(order), lambda _: None).image


def sized(side_px: int) -> Callable[[Order], Order]:
    """Return a function that makes an order's picture a square with this side."""
    return lambda order: replace(order, width_px=side_px, height_px=side_px)


def examine(judge: Judge, prompts: list[Question], pictures: Iterable[Image.Image]) -> Score:
    """Judge pictures, one for each question."""
    correct: dict[str, list[bool]] = defaultdict(list)
    shading, contrasts = [], []
    for question, picture in zip(prompts, pictures, strict=True):
        (verdict,) = judge_pictures(judge, [picture])
        shading.append(verdict.shading)
        contrasts.append(float(np.asarray(picture).std()))
        for name, agrees in verdict.agrees(question.attributes).items():
            correct[name].append(agrees)
    accuracy = {name: sum(flags) / len(flags) for name, flags in correct.items()}
    return Score(accuracy, tuple(shading), fmean(contrasts))
