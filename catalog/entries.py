"""The entries of the catalogue as frozen records, and the data file that they are seeded from."""

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
    """How good an entry's image is."""

    FAST = "fast"
    STANDARD = "standard"
    HIGH = "high"
    ULTRA = "ultra"


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
    def short_key(self) -> str:
        """The key without the application's id, as the command line takes it."""
        return self.key.rpartition(":")[2]

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
            return cls._read(row, fields.mapping("capabilities", row["capabilities"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise EntryMalformed(str(row.get("model_key", "?")), cause) from error

    @classmethod
    def _read(cls, row: Mapping[str, Any], abilities: Mapping[str, Any]) -> Self:
        licence = fields.mapping("licence", abilities["licence"])
        return cls(
            key=fields.text("model_key", row["model_key"]),
            name=fields.text("name", row["name"]),
            tier=Tier(row["tier"]),
            credit_cost=fields.whole("credit_cost", row["credit_cost"], least=0),
            quota_cost=fields.whole("quota_cost", row["quota_cost"], least=0),
            provider=fields.text("provider", row["provider"]),
            model_id=fields.text("modelId", abilities["modelId"]),
            revision=fields.text_or_none("modelRevision", abilities.get("modelRevision")),
            adapter=_adapter(abilities),
            width_px=_side("width", abilities["width"], "maxWidth", abilities["maxWidth"]),
            height_px=_side("height", abilities["height"], "maxHeight", abilities["maxHeight"]),
            max_width_px=abilities["maxWidth"],
            max_height_px=abilities["maxHeight"],
            steps=fields.whole("numInferenceSteps", abilities["numInferenceSteps"]),
            guidance_scale=fields.number("guidanceScale", abilities["guidanceScale"]),
            max_text_tokens=fields.whole("maxTextTokens", abilities["maxTextTokens"]),
            quality=Quality(abilities["quality"]),
            processing_time=fields.text("processingTime", abilities["processingTime"]),
            fast_mode=fields.flag("fastMode", abilities.get("fastMode", False)),
            quality_terms=fields.texts("qualityTerms", abilities["qualityTerms"]),
            licence=Licence(
                name=fields.text("licence.name", licence["name"]),
                commercial=fields.flag("licence.commercial", licence["commercial"]),
                note=fields.text("licence.note", licence["note"]),
            ),
            enabled=fields.flag("enabled", row["enabled"]),
            beta=fields.flag("beta", row["beta"]),
            total_usage=fields.whole("total_usage", row.get("total_usage", 0), least=0),
        )


def _adapter(abilities: Mapping[str, Any]) -> Adapter | None:
    wanted = bool(abilities.get("loraModel"))
    # An operator who edits one of the two and not the other must not sell a LoRA that is never applied.
    if fields.flag("useLoRA", abilities.get("useLoRA", wanted)) != wanted:
        raise ValueError("useLoRA and loraModel contradict each other")
    if not wanted:
        return None
    return Adapter(
        model_id=fields.text("loraModel", abilities["loraModel"]),
        scale=fields.number("loraScale", abilities["loraScale"]),
        weight_name=fields.text("loraWeightName", abilities["loraWeightName"]),
        revision=fields.text_or_none("loraRevision", abilities.get("loraRevision")),
    )


def _side(field: str, value: object, limit_field: str, limit: object) -> int:
    size_px, limit_px = fields.whole(field, value), fields.whole(limit_field, limit)
    if not MIN_SIZE_PX <= size_px <= limit_px or size_px % SIZE_STEP_PX:
        raise ValueError(
            f"{field} must be a multiple of {SIZE_STEP_PX} from {MIN_SIZE_PX} to {limit_field}, not {size_px}"
        )
    return size_px


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
