"""Says in words what an avatar shows: many ways, any order, much left out, much that means nothing."""

import random
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
_UNKNOWN_WORD: Final = 0.4  # of the words that mean nothing


def caption(avatar: Avatar, chance: random.Random, *, kept: float = 1.0, strangers: int = 0) -> str:
    """Describe an avatar. kept: how likely each attribute is named; strangers: how many words mean nothing.

    Glasses and facial hair are nearly always named where they are, so that a prompt without them gets none.
    """
    person, clauses = _Speaker(chance, kept).clauses(avatar)
    chance.shuffle(clauses)
    for _ in range(strangers):
        clauses.insert(chance.randint(0, len(clauses)), _stranger(chance))
    if person and chance.random() < 0.7:
        front = [clauses.pop() for _ in range(min(len(clauses), chance.choice((0, 0, 0, 1))))]
        opener = " ".join((chance.choice(_PHRASES["openers"]), *front, person)).strip()
        glue = chance.choice((", ", ", ", " with ", " "))
        return _joined(opener + (glue if clauses else ""), clauses, chance)
    clauses.insert(chance.randint(0, len(clauses)), person)
    return _joined("", [clause for clause in clauses if clause], chance)


def training_caption(avatar: Avatar, chance: random.Random) -> str:
    """Describe an avatar as any user may: at length or hardly, one time in ten not at all."""
    if chance.random() < 0.1:  # guidance is the difference to these
        return ""
    kept = chance.choice((1.0, 1.0, 1.0, 0.85, 0.6, 0.35))
    text = caption(avatar, chance, kept=kept, strangers=chance.choice((0, 0, 1, 2, 4)))
    if chance.random() < 0.5:  # the catalogue's own words come after the user's
        text = ", ".join((text, *chance.choice(shipped_entries()).quality_terms))
    return text


def words() -> set[str]:
    """Return every word that captions are made of: the miniature's vocabulary holds them all."""
    phrases = [
        *_PHRASES["openers"],
        *_PHRASES["behind"],
        *_PHRASES["fillers"],
        "wearing dressed in a bun eyes",
    ]
    for table in (part for part in _PHRASES.values() if isinstance(part, dict)):
        phrases += [phrase for ways in table.values() for phrase in ways]
    for name, ending in (("hair_style", "haired"), ("hair_color", "haired"), ("eyes", "eyed")):
        ways = [way for value, each in _PHRASES[name].items() if value != "bald" for way in each]
        phrases += [f"{way}-{ending}" for way in ways]
    phrases += [term for entry in shipped_entries() for term in entry.quality_terms]
    return {word for phrase in phrases for word in phrase.replace("{}", "").lower().split()} | {"hair"}


class _Speaker:
    """Says an avatar's attributes, each with the same likelihood of being named at all."""

    def __init__(self, chance: random.Random, kept: float) -> None:
        self._chance, self._kept = chance, kept

    def clauses(self, avatar: Avatar) -> tuple[str, list[str]]:
        """Return the word for the person, or nothing, and the rest in pieces."""
        person = self._way("person", avatar.person) if self._named() else ""
        clauses = list(self._hair(avatar))
        attired = self._named()
        if attired and person and avatar.clothes == "suit" and self._chance.random() < 0.25:
            person, attired = _PHRASES["in_suits"][avatar.person][0], False
            if self._named():
                clauses.append(f"{self._way('clothes_color', avatar.clothes_color)} suit")
        if attired:
            clauses.append(self._clothing(avatar))
        clauses += self._rest(avatar)
        if self._chance.random() < 0.1:
            clauses.append(self._chance.choice(tuple(AGE_WORDS.values())))
        return person, clauses

    def _rest(self, avatar: Avatar) -> Iterator[str]:
        if self._named():
            yield self._way("skin", avatar.skin)
        if avatar.glasses != "sunglasses" and self._named():
            form = self._chance.choice(("{} eyes", "{} eyes", "{}-eyed"))
            yield form.format(self._way("eyes", avatar.eyes))
        if self._named():
            yield self._way("mood", avatar.mood)
        if self._named():
            form = self._chance.choice(_PHRASES["behind"])
            yield form.format(self._way("background", avatar.background))
        for name, value in (("glasses", avatar.glasses), ("facial_hair", avatar.facial_hair)):
            if self._chance.random() < (0.12 if value == "none" else max(self._kept, 0.97)):
                yield self._way(name, value)

    def _hair(self, avatar: Avatar) -> Iterator[str]:
        if avatar.hair_style == "bald":
            if self._named():
                yield self._way("hair_style", "bald")
            return
        style = self._way("hair_style", avatar.hair_style) if self._named() else ""
        color = self._way("hair_color", avatar.hair_color) if self._named() else ""
        match (style, color):
            case ("", ""):
                return
            case ("", word) | (word, ""):
                yield self._chance.choice(("{} hair", "{} hair", "{}-haired")).format(word)
            case _ if avatar.hair_style == "bun" and self._chance.random() < 0.4:
                yield f"{color} hair in a bun"
            case _ if self._chance.random() < 0.3:
                yield f"{style} hair"
                yield f"{color} hair"
            case _:
                yield " ".join((*self._chance.sample((style, color), 2), "hair"))

    def _clothing(self, avatar: Avatar) -> str:
        if not self._named():
            ways: list[str] = [*_PHRASES["clothes"][avatar.clothes], *_PHRASES["attire"][avatar.clothes]]
            return self._chance.choice(ways)
        color = self._way("clothes_color", avatar.clothes_color)
        form = ("{} {}", "wearing a {} {}", "in a {} {}", "dressed in a {} {}")
        garment = self._way("clothes", avatar.clothes)
        return self._chance.choice(form).format(color, garment)

    def _named(self) -> bool:
        return self._chance.random() < self._kept

    def _way(self, attribute: str, value: str) -> str:
        way: str = self._chance.choice(_PHRASES[attribute][value])
        return way


def _joined(start: str, clauses: list[str], chance: random.Random) -> str:
    glue = chance.choice((", ", ", ", ", ", " and ", " "))
    return start + glue.join(clauses)


def _stranger(chance: random.Random) -> str:
    if chance.random() < _UNKNOWN_WORD:
        return "".join(chance.choices(string.ascii_lowercase, k=chance.randint(3, 11)))
    return chance.choice((chance.choice(_PHRASES["fillers"]), chance.choice(_idle_words())))


@cache
def _idle_words() -> tuple[str, ...]:
    """Return the words that the vocabulary has and no attribute is said with."""
    return tuple(word for word in WORDS if word not in words())
