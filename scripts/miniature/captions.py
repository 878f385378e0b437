"""Describes avatars in varied words and order, with omissions and with words that have no meaning."""

import random
import re
import string
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Final

from catalog.entries import shipped_entries
from catalog.prompts import AGE_WORDS
from inference.miniature.vocabulary import WORDS
from scripts.miniature.attributes import Avatar

_PHRASES: Final[dict[str, Any]] = tomllib.loads(
    files("scripts.miniature").joinpath("phrases.toml").read_text("utf-8")
)
_UNKNOWN_WORD: Final = 0.4  # of the distractors


def caption(avatar: Avatar, rng: random.Random, *, kept: float = 1.0, distractors: int = 0) -> str:
    """Describe an avatar.

    kept: the probability that an attribute is named. distractors: the number of inserted clauses without
    meaning for the drawing. Present glasses and facial hair are named with at least 97 %, so that a prompt
    without them gives an avatar without them.
    """
    person, clauses = _Describer(rng, kept).clauses(avatar)
    rng.shuffle(clauses)
    for _ in range(distractors):
        clauses.insert(rng.randint(0, len(clauses)), _distractor(rng))
    if person and rng.random() < 0.7:
        front = [clauses.pop() for _ in range(min(len(clauses), rng.choice((0, 0, 0, 1))))]
        opener = " ".join((rng.choice(_PHRASES["openers"]), *front, person)).strip()
        separator = rng.choice((", ", ", ", " with ", " "))
        return _join(opener + (separator if clauses else ""), clauses, rng)
    clauses.insert(rng.randint(0, len(clauses)), person)
    return _join("", [clause for clause in clauses if clause], rng)


def training_caption(avatar: Avatar, rng: random.Random) -> str:
    """Describe an avatar as users do: in full or in part; one caption in ten is empty."""
    if rng.random() < 0.1:  # guidance needs the prediction for the empty caption
        return ""
    kept = rng.choice((1.0, 1.0, 1.0, 0.85, 0.6, 0.35))
    text = caption(avatar, rng, kept=kept, distractors=rng.choice((0, 0, 1, 2, 4)))
    if rng.random() < 0.5:  # the catalogue appends its quality terms to the user's words
        text = ", ".join((text, *rng.choice(shipped_entries()).quality_terms))
    return text


def words() -> set[str]:
    """Return every word that captions use; the miniature's vocabulary contains them all."""
    phrases = [
        *_PHRASES["openers"],
        *_PHRASES["behind"],
        *_PHRASES["fillers"],
        "wearing dressed in a bun eyes",
    ]
    for table in (part for part in _PHRASES.values() if isinstance(part, dict)):
        phrases += [phrase for variants in table.values() for phrase in variants]
    for name, ending in (("hair_style", "haired"), ("hair_color", "haired"), ("eyes", "eyed")):
        variants = [way for value, ways in _PHRASES[name].items() if value != "bald" for way in ways]
        phrases += [f"{variant}-{ending}" for variant in variants]
    phrases += [term for entry in shipped_entries() for term in entry.quality_terms]
    return {word for phrase in phrases for word in phrase.replace("{}", "").lower().split()} | {"hair"}


def meaning(attribute: str, text: str) -> str | None:
    """Return the value of an attribute that a text names, by the longest phrase; None if it names none."""
    phrases = [(way, value) for value, ways in _PHRASES[attribute].items() for way in ways]
    named = [(way, value) for way, value in phrases if re.search(rf"(?<![\w-]){way}(?![\w-])", text.lower())]
    return max(named, key=lambda found: len(found[0]))[1] if named else None


class _Describer:
    """Describes an avatar's attributes; each is named with the same probability."""

    def __init__(self, rng: random.Random, kept: float) -> None:
        self._rng, self._kept = rng, kept

    def clauses(self, avatar: Avatar) -> tuple[str, list[str]]:
        """Return the word for the person, empty if it is not named, and the other clauses."""
        person = self._phrase("person", avatar.person) if self._is_named() else ""
        clauses = list(self._hair(avatar))
        attired = self._is_named()
        if attired and person and avatar.clothes == "suit" and self._rng.random() < 0.25:
            person, attired = _PHRASES["in_suits"][avatar.person][0], False
            if self._is_named():
                clauses.append(f"{self._phrase('clothes_color', avatar.clothes_color)} suit")
        if attired:
            clauses.append(self._clothing(avatar))
        clauses += self._rest(avatar)
        if self._rng.random() < 0.1:
            clauses.append(self._rng.choice(tuple(AGE_WORDS.values())))
        return person, clauses

    def _rest(self, avatar: Avatar) -> Iterator[str]:
        if self._is_named():
            yield self._phrase("skin", avatar.skin)
        if avatar.glasses != "sunglasses" and self._is_named():
            form = self._rng.choice(("{} eyes", "{} eyes", "{}-eyed"))
            yield form.format(self._phrase("eyes", avatar.eyes))
        if self._is_named():
            yield self._phrase("mood", avatar.mood)
        if self._is_named():
            form = self._rng.choice(_PHRASES["behind"])
            yield form.format(self._phrase("background", avatar.background))
        for name, value in (("glasses", avatar.glasses), ("facial_hair", avatar.facial_hair)):
            if self._rng.random() < (0.12 if value == "none" else max(self._kept, 0.97)):
                yield self._phrase(name, value)

    def _hair(self, avatar: Avatar) -> Iterator[str]:
        if avatar.hair_style == "bald":
            if self._is_named():
                yield self._phrase("hair_style", "bald")
            return
        style = self._phrase("hair_style", avatar.hair_style) if self._is_named() else ""
        color = self._phrase("hair_color", avatar.hair_color) if self._is_named() else ""
        match (style, color):
            case ("", ""):
                return
            case ("", word) | (word, ""):
                yield self._rng.choice(("{} hair", "{} hair", "{}-haired")).format(word)
            case _ if avatar.hair_style == "bun" and self._rng.random() < 0.4:
                yield f"{color} hair in a bun"
            case _ if self._rng.random() < 0.3:
                yield f"{style} hair"
                yield f"{color} hair"
            case _:
                yield " ".join((*self._rng.sample((style, color), 2), "hair"))

    def _clothing(self, avatar: Avatar) -> str:
        if not self._is_named():
            variants: list[str] = [*_PHRASES["clothes"][avatar.clothes], *_PHRASES["attire"][avatar.clothes]]
            return self._rng.choice(variants)
        color = self._phrase("clothes_color", avatar.clothes_color)
        form = ("{} {}", "wearing a {} {}", "in a {} {}", "dressed in a {} {}")
        garment = self._phrase("clothes", avatar.clothes)
        return self._rng.choice(form).format(color, garment)

    def _is_named(self) -> bool:
        return self._rng.random() < self._kept

    def _phrase(self, attribute: str, value: str) -> str:
        phrase: str = self._rng.choice(_PHRASES[attribute][value])
        return phrase


def _join(start: str, clauses: list[str], rng: random.Random) -> str:
    separator = rng.choice((", ", ", ", ", ", " and ", " "))
    return start + separator.join(clauses)


def _distractor(rng: random.Random) -> str:
    if rng.random() < _UNKNOWN_WORD:
        return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 11)))
    return rng.choice((rng.choice(_PHRASES["fillers"]), rng.choice(_idle_words())))


@cache
def _idle_words() -> tuple[str, ...]:
    """Return the words of the vocabulary that captions do not use."""
    return tuple(word for word in WORDS if word not in words())
