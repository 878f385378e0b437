"""The persona and the looks of an avatar: one record, from the request to the avatar."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self


@dataclass(frozen=True)
class Traits:
    """The persona and the looks that a user requested. None: not requested.

    The names are the avatar's columns in the database, and in camelCase the fields of the API.
    persona_background is stored with the avatar, but not drawn.
    """

    persona_name: str | None = None
    persona_age: int | None = None
    persona_personality: tuple[str, ...] | None = None
    persona_background: str | None = None
    gender: str | None = None
    age_range: str | None = None
    ethnicity: str | None = None
    body_type: str | None = None
    hair_style: str | None = None
    hair_color: str | None = None
    eye_color: str | None = None
    skin_tone: str | None = None
    style: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the traits as a JSON object."""
        return {**vars(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read the result of `to_json`."""
        personality = stored.get("persona_personality")
        return cls(**{**stored, "persona_personality": None if personality is None else tuple(personality)})


TRAIT_NAMES: Final = tuple(field.name for field in fields(Traits))
