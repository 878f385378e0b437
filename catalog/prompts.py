"""How a request's attributes, persona and prompt become the text that the model reads."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# Source: the contract, section 4.
AGE_WORDS: Final = {
    "young": "young, 20-30 years old",
    "adult": "adult, 30-50 years old",
    "mature": "mature, 50+ years old",
}


@dataclass(frozen=True)
class Appearance:
    """What the avatar looks like, each field a word or two of the user's, None if not asked for."""

    gender: str | None = None
    age_range: str | None = None
    ethnicity: str | None = None
    body_type: str | None = None
    hair_style: str | None = None
    hair_color: str | None = None
    eye_color: str | None = None
    skin_tone: str | None = None
    style: str | None = None


@dataclass(frozen=True)
class Persona:
    """Who the avatar is. The background is kept with the avatar and not drawn."""

    name: str | None = None
    age: int | None = None
    personality: tuple[str, ...] = ()
    background: str | None = None


def compose(prompt: str, appearance: Appearance, persona: Persona, quality_terms: Iterable[str]) -> str:
    """Compose the model's prompt: attributes, persona, the user's words, the entry's quality terms."""
    parts = [*_appearance(appearance), *_persona(persona), prompt, *quality_terms]
    return ", ".join(part for part in parts if part)


def _appearance(looks: Appearance) -> Iterable[str]:
    yield looks.gender or ""
    yield AGE_WORDS.get(looks.age_range, looks.age_range) if looks.age_range else ""
    yield f"{looks.ethnicity} ethnicity" if looks.ethnicity else ""
    yield f"{looks.body_type} body type" if looks.body_type else ""
    hair = " ".join(word for word in (looks.hair_style, looks.hair_color) if word)
    yield f"{hair} hair" if hair else ""
    yield f"{looks.eye_color} eyes" if looks.eye_color else ""
    yield f"{looks.skin_tone} skin tone" if looks.skin_tone else ""
    yield f"{looks.style} attire" if looks.style else ""


def _persona(persona: Persona) -> Iterable[str]:
    yield f"portrait of {persona.name}" if persona.name else ""
    yield f"{persona.age} years old" if persona.age is not None else ""
    yield f"{', '.join(persona.personality)} personality" if persona.personality else ""
