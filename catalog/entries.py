"""The entries of the catalogue as frozen records, and the data file with their initial values."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final, Self

from catalog import fields
from catalog.tiers import Ranked, Tier

APP_ID: Final = "avatar-creator"
MIN_SIZE_PX: Final = 512  # Source: the contract of the existing product, section 2
SIZE_STEP_PX: Final = 16  # Source: FLUX.1 packs 2x2 patches of latents at 1/8 of the image's size


class Quality(Ranked):
    """The image quality of an entry."""

    FAST = "fast"
    STANDARD = "standard"
    HIGH = "high"
    ULTRA = "ultra"


class EntryMalformed(ValueError):
    """A field of an entry is missing or invalid."""

    def __init__(self, key: str, cause: str) -> None:
        super().__init__(f"Catalogue entry {key!r} is malformed: {cause}")
        self.key = key
        self.cause = cause


@dataclass(frozen=True)
class Adapter:
    """A LoRA and the scale at which it is applied."""

    model_id: str
    scale: float
    weight_name: str
    revision: str | None = None


@dataclass(frozen=True)
class Licence:
    """The licence of the base model."""

    name: str
    commercial: bool
    note: str


@dataclass(frozen=True)
class Entry:
    """One row of the catalogue: the model and its parameters, the required tier and the price in credits."""

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
    def short_key(self) -> str:
        """The key without the application's id, as used on the command line."""
        return self.key.rpartition(":")[2]

    @property
    def realism(self) -> bool:
        """Whether the entry has an adapter; the only one in this catalogue is the Realism LoRA."""
        return self.adapter is not None

    @property
    def processing_range_s(self) -> tuple[int, int] | None:
        """The seconds of `processing_time` such as "30-45s"; None if it has another form."""
        found = re.fullmatch(r"(\d+)-(\d+)s", self.processing_time)
        return (int(found[1]), int(found[2])) if found else None

    def fits(self, width_px: int, height_px: int) -> bool:
        """Whether the entry can draw an image of this size."""
        return width_px <= self.max_width_px and height_px <= self.max_height_px

    def capabilities(self) -> dict[str, Any]:
        """Return the entry's parameters as the JSON object that clients know, with newer fields added."""
        capabilities = {
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
            capabilities["fastMode"] = True
        if self.realism:
            capabilities["ultraRealistic"] = True
        return capabilities | {
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
        """Read an entry from a row of `ai_models`, whose column `capabilities` is a mapping.

        Raises:
            EntryMalformed: a field is missing or invalid.

        """
        try:
            return cls._read(row, fields.mapping("capabilities", row["capabilities"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise EntryMalformed(str(row.get("model_key", "?")), cause) from error

    @classmethod
    def _read(cls, row: Mapping[str, Any], capabilities: Mapping[str, Any]) -> Self:
        licence = fields.mapping("licence", capabilities["licence"])
        return cls(
            key=fields.text("model_key", row["model_key"]),
            name=fields.text("name", row["name"]),
            tier=Tier(row["tier"]),
            credit_cost=fields.whole("credit_cost", row["credit_cost"], minimum=0),
            quota_cost=fields.whole("quota_cost", row["quota_cost"], minimum=0),
            provider=fields.text("provider", row["provider"]),
            model_id=fields.text("modelId", capabilities["modelId"]),
            revision=fields.text_or_none("modelRevision", capabilities.get("modelRevision")),
            adapter=_adapter(capabilities),
            width_px=_side("width", capabilities["width"], "maxWidth", capabilities["maxWidth"]),
            height_px=_side("height", capabilities["height"], "maxHeight", capabilities["maxHeight"]),
            max_width_px=capabilities["maxWidth"],
            max_height_px=capabilities["maxHeight"],
            steps=fields.whole("numInferenceSteps", capabilities["numInferenceSteps"]),
            guidance_scale=fields.number("guidanceScale", capabilities["guidanceScale"]),
            max_text_tokens=fields.whole("maxTextTokens", capabilities["maxTextTokens"]),
            quality=Quality(capabilities["quality"]),
            processing_time=fields.text("processingTime", capabilities["processingTime"]),
            fast_mode=fields.flag("fastMode", capabilities.get("fastMode", False)),
            quality_terms=fields.texts("qualityTerms", capabilities["qualityTerms"]),
            licence=Licence(
                name=fields.text("licence.name", licence["name"]),
                commercial=fields.flag("licence.commercial", licence["commercial"]),
                note=fields.text("licence.note", licence["note"]),
            ),
            enabled=fields.flag("enabled", row["enabled"]),
            beta=fields.flag("beta", row["beta"]),
            total_usage=fields.whole("total_usage", row.get("total_usage", 0), minimum=0),
        )


def _adapter(capabilities: Mapping[str, Any]) -> Adapter | None:
    has_adapter = bool(capabilities.get("loraModel"))
    # If an operator edits only one of the two fields, no LoRA may be sold that is never applied.
    if fields.flag("useLoRA", capabilities.get("useLoRA", has_adapter)) != has_adapter:
        raise ValueError("useLoRA and loraModel contradict each other")
    if not has_adapter:
        return None
    return Adapter(
        model_id=fields.text("loraModel", capabilities["loraModel"]),
        scale=fields.number("loraScale", capabilities["loraScale"]),
        weight_name=fields.text("loraWeightName", capabilities["loraWeightName"]),
        revision=fields.text_or_none("loraRevision", capabilities.get("loraRevision")),
    )


def _side(field: str, value: object, limit_field: str, limit: object) -> int:
    size_px, limit_px = fields.whole(field, value), fields.whole(limit_field, limit)
    if not MIN_SIZE_PX <= size_px <= limit_px or size_px % SIZE_STEP_PX:
        raise ValueError(
            f"{field} must be a multiple of {SIZE_STEP_PX} from {MIN_SIZE_PX} to {limit_field}, not {size_px}"
        )
    return size_px


def shipped_entries(flux_model: str | None = None, flux_lora_model: str | None = None) -> tuple[Entry, ...]:
    """Return the entries of `entries.toml`, with which the database is seeded.

    flux_model: replaces the dev model's id, never schnell's, and removes its pinned revision.
    flux_lora_model: replaces the adapter's id and removes its pinned revision.
    """
    document = tomllib.loads(files("catalog").joinpath("entries.toml").read_text("utf-8"))
    rows = (_with_licence(row, document["licences"]) for row in document["entries"])
    entries = [Entry.from_row(row) for row in rows]
    return tuple(_overridden(entry, flux_model, flux_lora_model) for entry in entries)


def _with_licence(row: dict[str, Any], licences: Mapping[str, Any]) -> dict[str, Any]:
    capabilities = row["capabilities"]
    return row | {"capabilities": capabilities | {"licence": licences[capabilities["licence"]]}}


def _overridden(entry: Entry, flux_model: str | None, flux_lora_model: str | None) -> Entry:
    if flux_model and not entry.fast_mode and flux_model != entry.model_id:
        entry = replace(entry, model_id=flux_model, revision=None)
    if flux_lora_model and entry.adapter and flux_lora_model != entry.adapter.model_id:
        entry = replace(entry, adapter=replace(entry.adapter, model_id=flux_lora_model, revision=None))
    return entry
