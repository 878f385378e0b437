"""The presets as frozen records: ready-made people from which a user draws an avatar."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final, Self
from uuid import UUID

from catalog import fields
from catalog.prompts import AGE_WORDS
from catalog.traits import Traits

GENDERS: Final = ("male", "female", "unisex")  # Source: the contract, section 3
WORDS: Final = ("ethnicity", "body_type", "hair_style", "hair_color", "eye_color", "skin_tone", "style")


class Category(StrEnum):
    """What a preset is for. Source: the contract, section 3."""

    PROFESSIONAL = "professional"
    CASUAL = "casual"
    SPORTS = "sports"
    FASHION = "fashion"
    TRADITIONAL = "traditional"


class PresetMalformed(ValueError):
    """A field of a preset is missing or invalid."""

    def __init__(self, preset_id: str, cause: str) -> None:
        super().__init__(f"Preset {preset_id!r} is malformed: {cause}")
        self.preset_id = preset_id
        self.cause = cause


@dataclass(frozen=True)
class Preset:
    """A person with all traits, and the prompt that draws them.

    popularity: the editors' order, the highest first.
    """

    id: str
    name: str
    category: Category
    description: str
    prompt: str
    traits: Traits
    popularity: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a preset from a table of `presets.toml`.

        Raises:
            PresetMalformed: a field is missing or invalid.

        """
        try:
            return cls._read(row)
        except (KeyError, TypeError, ValueError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise PresetMalformed(str(row.get("id", "?")), cause) from error

    @classmethod
    def _read(cls, row: Mapping[str, Any]) -> Self:
        created_at = fields.moment("created_at", row["created_at"])
        return cls(
            id=_identifier(row["id"]),
            name=fields.text("name", row["name"]),
            category=Category(row["category"]),
            description=fields.text("description", row["description"]),
            prompt=fields.text("prompt", row["prompt"]),
            traits=_traits(fields.mapping("persona", row["persona"]), fields.mapping("looks", row["looks"])),
            popularity=fields.whole("popularity", row["popularity"], minimum=0),
            created_at=created_at,
            updated_at=fields.moment("updated_at", row.get("updated_at", created_at)),
        )


@cache
def shipped_presets() -> Mapping[str, Preset]:
    """Return the presets of `presets.toml` by their ids, the most popular first, then by name."""
    document = tomllib.loads(files("catalog").joinpath("presets.toml").read_text("utf-8"))
    presets = [Preset.from_row(row) for row in document["presets"]]
    presets.sort(key=lambda preset: (-preset.popularity, preset.name))
    return {preset.id: preset for preset in presets}


def _identifier(value: object) -> str:
    text = fields.text("id", value)
    if str(UUID(text)) != text:
        raise ValueError(f"id must be written as {UUID(text)}, not {text}")
    return text


def _traits(persona: Mapping[str, Any], looks: Mapping[str, Any]) -> Traits:
    return Traits(
        persona_name=fields.text("persona.name", persona["name"]),
        persona_age=fields.whole("persona.age", persona["age"]),
        persona_personality=fields.texts("persona.personality", persona["personality"]),
        persona_background=fields.text("persona.background", persona["background"]),
        gender=fields.one_of("looks.gender", looks["gender"], GENDERS),
        age_range=fields.one_of("looks.age_range", looks["age_range"], AGE_WORDS),
        **{word: fields.text(f"looks.{word}", looks[word]) for word in WORDS},
    )
