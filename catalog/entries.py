"""The entries of the catalogue as frozen records, and the data file that they are seeded from."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final, Self

from catalog.tiers import Tier

APP_ID: Final = "avatar-creator"


class Quality(StrEnum):
    """How good an entry's image is, in rising order."""

    FAST = "fast"
    STANDARD = "standard"
    HIGH = "high"
    ULTRA = "ultra"

    @property
    def rank(self) -> int:
        """The position in rising order, fast being 0."""
        return list(Quality).index(self)


class EntryMalformed(ValueError):
    """An entry's data lack a field or hold a value that cannot be used."""

    def __init__(self, key: str, cause: str) -> None:
        super().__init__(f"Catalogue entry {key!r} is malformed: {cause}")
        self.key = key
        self.cause = cause


@dataclass(frozen=True)
class Adapter:
    """A LoRA and how strongly it is applied."""

    model_id: str
    scale: float
    weight_name: str
    revision: str | None = None


@dataclass(frozen=True)
class Licence:
    """What the base model may be used for."""

    name: str
    commercial: bool
    note: str


@dataclass(frozen=True)
class Entry:
    """One row of the catalogue: what is drawn, for whom, and at what price in credits."""

    key: str
    name: str
    tier: Tier
    credit_cost: int
    quota_cost: int
    provider: str
    model_id: str
    revision: str | None
    adapter: Adapter | None
    width_px: int
    height_px: int
    max_width_px: int
    max_height_px: int
    steps: int
    guidance_scale: float
    max_text_tokens: int
    quality: Quality
    processing_time: str
    fast_mode: bool
    quality_terms: tuple[str, ...]
    licence: Licence
    enabled: bool = True
    beta: bool = False
    total_usage: int = 0

    @property
    def realism(self) -> bool:
        """Whether the entry draws with an adapter: in this catalogue, the Realism LoRA."""
        return self.adapter is not None

    def fits(self, width_px: int, height_px: int) -> bool:
        """Whether the entry can draw an image of this size."""
        return width_px <= self.max_width_px and height_px <= self.max_height_px

    def capabilities(self) -> dict[str, Any]:
        """The entry's parameters as the JSON object that clients know, with the fields that we added."""
        known = {
            "modelId": self.model_id,
            "loraModel": self.adapter.model_id if self.adapter else None,
            "loraScale": self.adapter.scale if self.adapter else None,
            "useLoRA": self.adapter is not None,
            "width": self.width_px,
            "height": self.height_px,
            "maxWidth": self.max_width_px,
            "maxHeight": self.max_height_px,
            "numInferenceSteps": self.steps,
            "guidanceScale": self.guidance_scale,
            "quality": self.quality.value,
            "processingTime": self.processing_time,
        }
        if self.fast_mode:
            known["fastMode"] = True
        if self.realism:
            known["ultraRealistic"] = True
        return known | {
            "modelRevision": self.revision,
            "loraWeightName": self.adapter.weight_name if self.adapter else None,
            "loraRevision": self.adapter.revision if self.adapter else None,
            "maxTextTokens": self.max_text_tokens,
            "qualityTerms": list(self.quality_terms),
            "licence": {
                "name": self.licence.name,
                "commercial": self.licence.commercial,
                "note": self.licence.note,
            },
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read an entry from a catalogue row: the columns of `ai_models`, capabilities being a mapping.

        Raises:
            EntryMalformed: a field is missing or has a value that cannot be used.

        """
        try:
            return cls._read(row, row["capabilities"])
        except (KeyError, TypeError, ValueError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise EntryMalformed(str(row.get("model_key", "?")), cause) from error

    @classmethod
    def _read(cls, row: Mapping[str, Any], abilities: Mapping[str, Any]) -> Self:
        adapter = None
        if abilities.get("loraModel"):
            adapter = Adapter(
                model_id=str(abilities["loraModel"]),
                scale=float(abilities["loraScale"]),
                weight_name=str(abilities["loraWeightName"]),
                revision=abilities.get("loraRevision"),
            )
        return cls(
            key=str(row["model_key"]),
            name=str(row["name"]),
            tier=Tier(row["tier"]),
            credit_cost=_positive("credit_cost", row["credit_cost"], least=0),
            quota_cost=_positive("quota_cost", row["quota_cost"], least=0),
            provider=str(row["provider"]),
            model_id=str(abilities["modelId"]),
            revision=abilities.get("modelRevision"),
            adapter=adapter,
            width_px=_positive("width", abilities["width"]),
            height_px=_positive("height", abilities["height"]),
            max_width_px=_positive("maxWidth", abilities["maxWidth"]),
            max_height_px=_positive("maxHeight", abilities["maxHeight"]),
            steps=_positive("numInferenceSteps", abilities["numInferenceSteps"]),
            guidance_scale=float(abilities["guidanceScale"]),
            max_text_tokens=_positive("maxTextTokens", abilities["maxTextTokens"]),
            quality=Quality(abilities["quality"]),
            processing_time=str(abilities["processingTime"]),
            fast_mode=bool(abilities.get("fastMode", False)),
            quality_terms=tuple(str(term) for term in abilities["qualityTerms"]),
            licence=Licence(**abilities["licence"]),
            enabled=bool(row["enabled"]),
            beta=bool(row["beta"]),
            total_usage=int(row.get("total_usage", 0)),
        )


def _positive(field: str, number: object, least: int = 1) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise ValueError(f"{field} must be a whole number of at least {least}, not {number!r}")
    return number


def shipped_entries(flux_model: str | None = None, flux_lora_model: str | None = None) -> tuple[Entry, ...]:
    """Return the entries of `entries.toml`, as they are seeded.

    flux_model: replaces the dev model's id, never schnell's; its pinned revision goes with it.
    flux_lora_model: the same for the adapter.
    """
    document = tomllib.loads(files("catalog").joinpath("entries.toml").read_text("utf-8"))
    rows = (_with_licence(row, document["licences"]) for row in document["entries"])
    entries = [Entry.from_row(row) for row in rows]
    return tuple(_overridden(entry, flux_model, flux_lora_model) for entry in entries)


def _with_licence(row: dict[str, Any], licences: Mapping[str, Any]) -> dict[str, Any]:
    abilities = row["capabilities"]
    return row | {"capabilities": abilities | {"licence": licences[abilities["licence"]]}}


def _overridden(entry: Entry, flux_model: str | None, flux_lora_model: str | None) -> Entry:
    if flux_model and not entry.fast_mode and flux_model != entry.model_id:
        entry = replace(entry, model_id=flux_model, revision=None)
    if flux_lora_model and entry.adapter and flux_lora_model != entry.adapter.model_id:
        entry = replace(entry, adapter=replace(entry.adapter, model_id=flux_lora_model, revision=None))
    return entry
