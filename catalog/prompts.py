"""Composes the model's prompt from a request's traits and prompt."""

from collections.abc import Iterable
from typing import Final

from catalog.traits import Traits

# Source: the contract, section 4.
AGE_WORDS: Final = {
    "young": "young, 20-30 years old",
    "adult": "adult, 30-50 years old",
    "mature": "mature, 50+ years old",
}


MIN_CHARS: Final = 10
MAX_CHARS: Final = 2000
"""The length of a user's prompt. Source: the contract, section 3."""


def fold(text: str) -> str:
    """Trim a text and fold its runs of white space to one blank."""
    return " ".join(text.split())


def compose(prompt: str, traits: Traits, quality_terms: Iterable[str]) -> str:
    """Compose the model's prompt: attributes, persona, the user's prompt, the entry's quality terms."""
    parts = [*_attributes(traits), *_persona(traits), prompt, *quality_terms]
    return ", ".join(part for part in parts if part)


def _attributes(traits: Traits) -> Iterable[str]:
    yield traits.gender or ""
    age_range = traits.age_range or ""
    yield AGE_WORDS.get(age_range, age_range)
    yield f"{traits.ethnicity} ethnicity" if traits.ethnicity else ""
    yield f"{traits.body_type} body type" if traits.body_type else ""
    hair = " ".join(word for word in (traits.hair_style, traits.hair_color) if word)
    yield f"{hair} hair" if hair else ""
    yield f"{traits.eye_color} eyes" if traits.eye_color else ""
    yield f"{traits.skin_tone} skin tone" if traits.skin_tone else ""
    yield f"{traits.style} attire" if traits.style else ""


def _persona(traits: Traits) -> Iterable[str]:
    yield f"portrait of {traits.persona_name}" if traits.persona_name else ""
    yield f"{traits.persona_age} years old" if traits.persona_age is not None else ""
    yield f"{', '.join(traits.persona_personality)} personality" if traits.persona_personality else ""
