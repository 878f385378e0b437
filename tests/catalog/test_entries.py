import math
from dataclasses import replace
from typing import Any

import pytest

from catalog.entries import APP_ID, Entry, EntryMalformed, _overridden, shipped_entries
from catalog.tiers import Tier

DEV, SCHNELL = "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell"
LORA = ("XLabs-AI/flux-RealismLora", 0.9)
BASE, REALISM, HD, FAST = KEYS = [
    "avatar-creator:flux-dev-base",
    "avatar-creator:flux-dev-realism",
    "avatar-creator:flux-dev-hd-realism",
    "avatar-creator:flux-schnell-fast",
]
# Source: the contract, section 1, transposed: one line per field, one column per entry.
CONTRACT = {
    "key": KEYS,
    "name": [
        "FLUX.1-dev Base",
        "FLUX.1-dev + Realism LoRA",
        "FLUX.1-dev HD + Realism LoRA",
        "FLUX.1-schnell Fast",
    ],
    "tier": ["free", "basic", "pro", "basic"],
    "credit_cost": [8, 12, 15, 6],
    "quota_cost": [1, 2, 3, 1],
    "model_id": [DEV, DEV, DEV, SCHNELL],
    "lora": [None, LORA, LORA, None],
    "width_px": [512, 768, 1024, 512],
    "height_px": [512, 768, 1024, 512],
    "max_width_px": [1024, 1024, 1536, 1024],
    "max_height_px": [1024, 1024, 1536, 1024],
    "steps": [28, 30, 35, 4],
    "guidance_scale": [3.5, 3.5, 3.5, 0.0],
    "quality": ["standard", "high", "ultra", "fast"],
    "processing_time": ["30-45s", "45-60s", "60-90s", "5-15s"],
    "fast_mode": [False, False, False, True],
    "realism": [False, True, True, False],
}
ABSENT = object()  # marks a field to remove from a row


def shipped(key: str, **overrides: str) -> Entry:
    return next(entry for entry in shipped_entries(**overrides) if entry.key == key)


def value_of(entry: Entry, field: str) -> object:
    """Return the entry's field; the adapter as in the contract, with id and scale."""
    if field == "lora":
        return (entry.adapter.model_id, entry.adapter.scale) if entry.adapter else None
    return getattr(entry, field)


def row_of(entry: Entry) -> dict[str, Any]:
    """Return the entry as a row of `ai_models`."""
    return {
        "app_id": APP_ID,
        "model_key": entry.key,
        "name": entry.name,
        "tier": entry.tier.value,
        "credit_cost": entry.credit_cost,
        "quota_cost": entry.quota_cost,
        "provider": entry.provider,
        "enabled": entry.enabled,
        "beta": entry.beta,
        "total_usage": entry.total_usage,
        "capabilities": entry.capabilities(),
    }


def broken(fields: dict[str, Any], field: str, value: object) -> dict[str, Any]:
    """Return the fields with one value replaced, or removed if it is ABSENT."""
    return {name: other for name, other in (fields | {field: value}).items() if other is not ABSENT}


class TestShippedEntries:
    @pytest.mark.parametrize("field", CONTRACT)
    def test_contract(self, field: str) -> None:
        """Every field of every shipped entry has the value of the contract."""
        assert [value_of(entry, field) for entry in shipped_entries()] == CONTRACT[field]

    def test_there_are_no_others(self) -> None:
        """The catalogue has the four entries of the contract, each enabled, unused and not in beta."""
        entries = shipped_entries()
        assert [entry.key for entry in entries] == KEYS
        assert all(entry.enabled and not entry.beta and entry.total_usage == 0 for entry in entries)

    def test_text_tokens(self) -> None:
        """The dev entries read 512 text tokens, and schnell 256, with which it was trained."""
        assert [entry.max_text_tokens for entry in shipped_entries()] == [512, 512, 512, 256]

    def test_licences(self) -> None:
        """Only schnell's licence permits commercial use, and every licence has a name and a note."""
        assert [entry.key for entry in shipped_entries() if entry.licence.commercial] == [FAST]
        assert all(entry.licence.name and entry.licence.note for entry in shipped_entries())

    def test_base_models_are_pinned(self) -> None:
        """Every base model is pinned to a commit, the same commit in all its entries."""
        pins = {(entry.model_id, entry.revision) for entry in shipped_entries()}
        assert len(pins) == 2
        assert all(revision and len(revision) == 40 for _, revision in pins)

    def test_quality_terms(self) -> None:
        """Every entry has quality terms, and only those of the realism entries contain `photorealistic`."""
        assert all(entry.quality_terms for entry in shipped_entries())
        photographic = [entry.key for entry in shipped_entries() if "photorealistic" in entry.quality_terms]
        assert photographic == [REALISM, HD]


class TestModelOverrides:
    def test_flux_model(self) -> None:
        """FLUX_MODEL replaces the dev model's id and removes its pinned revision."""
        for key in (BASE, REALISM, HD):
            entry = shipped(key, flux_model="acme/flux-dev")
            assert (entry.model_id, entry.revision) == ("acme/flux-dev", None)
            assert entry.adapter == shipped(key).adapter

    def test_flux_model_does_not_change_schnell(self) -> None:
        """FLUX_MODEL does not change the schnell entry."""
        assert shipped(FAST, flux_model="acme/flux-dev") == shipped(FAST)

    def test_flux_lora_model(self) -> None:
        """FLUX_LORA_MODEL replaces the adapter's id, keeps its scale and changes nothing else."""
        for key in (REALISM, HD):
            entry = shipped(key, flux_lora_model="acme/lora")
            assert entry.adapter is not None
            assert (entry.adapter.model_id, entry.adapter.scale) == ("acme/lora", 0.9)
            assert (entry.model_id, entry.revision) == (shipped(key).model_id, shipped(key).revision)
        for key in (BASE, FAST):
            assert shipped(key, flux_lora_model="acme/lora") == shipped(key)

    @pytest.mark.parametrize("overrides", [{}, {"flux_model": ""}, {"flux_model": DEV}])
    @pytest.mark.parametrize("lora", [{}, {"flux_lora_model": ""}, {"flux_lora_model": LORA[0]}])
    def test_nothing_to_override(self, overrides: dict[str, str], lora: dict[str, str]) -> None:
        """An override that is empty or names the shipped model changes no entry and no pinned revision."""
        assert shipped_entries(**overrides, **lora) == shipped_entries()


class TestCapabilities:
    @pytest.mark.parametrize("key", [BASE, REALISM, HD, FAST])
    def test_round_trip(self, key: str) -> None:
        """An entry written as a row and read back is the same entry."""
        assert Entry.from_row(row_of(shipped(key))) == shipped(key)

    @pytest.mark.parametrize("column", range(4), ids=KEYS)
    def test_fields_of_the_contract(self, column: int) -> None:
        """The capabilities object has every field that existing clients read, under its old name."""
        contract = {field: values[column] for field, values in CONTRACT.items()}
        lora_model, lora_scale = contract["lora"] or (None, None)
        expected = {
            "modelId": contract["model_id"],
            "loraModel": lora_model,
            "loraScale": lora_scale,
            "useLoRA": contract["realism"],
            "width": contract["width_px"],
            "height": contract["height_px"],
            "maxWidth": contract["max_width_px"],
            "maxHeight": contract["max_height_px"],
            "numInferenceSteps": contract["steps"],
            "guidanceScale": contract["guidance_scale"],
            "quality": contract["quality"],
            "processingTime": contract["processing_time"],
        }
        assert shipped(KEYS[column]).capabilities().items() >= expected.items()

    def test_flags(self) -> None:
        """Only schnell has fastMode, and only the realism entries have ultraRealistic."""
        fast = {entry.key for entry in shipped_entries() if entry.capabilities().get("fastMode")}
        realistic = {entry.key for entry in shipped_entries() if entry.capabilities().get("ultraRealistic")}
        assert (fast, realistic) == ({FAST}, {REALISM, HD})


class TestFromRow:
    @pytest.mark.parametrize(
        ("field", "value"),
        [(field, ABSENT) for field in row_of(shipped(HD)) if field not in {"app_id", "total_usage"}]
        + [(field, None) for field in ("model_key", "name", "provider", "tier", "enabled", "capabilities")]
        + [("model_key", ""), ("name", 5), ("tier", "gold"), ("enabled", "false"), ("beta", 2)]
        + [("credit_cost", bad) for bad in (-1, 1.5, "8", True, None)]
        + [("quota_cost", -1), ("total_usage", -1), ("total_usage", "many")]
        + [("capabilities", bad) for bad in ("{}", [], 3)],
    )
    def test_broken_column(self, field: str, value: object) -> None:
        """A row with a missing or invalid column is refused, and the error names the entry."""
        row = broken(row_of(shipped(HD)), field, value)
        with pytest.raises(EntryMalformed) as refused:
            Entry.from_row(row)
        assert refused.value.key == str(row.get("model_key", "?"))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            (field, ABSENT)
            for field in shipped(HD).capabilities()
            if field not in {"modelRevision", "loraRevision", "ultraRealistic", "useLoRA"}
        ]
        + [("modelId", ""), ("modelRevision", 7), ("quality", "superb"), ("processingTime", 60)]
        + [("loraModel", None), ("loraModel", 5), ("useLoRA", False), ("loraWeightName", None)]
        + [("loraScale", bad) for bad in ("0.9", None, math.nan, math.inf, -0.1, True)]
        + [("guidanceScale", bad) for bad in ("3.5", math.nan, -math.inf, -1, True, 10**400)]
        + [(field, bad) for field in ("width", "height") for bad in (0, 496, 520, 1552, 768.0, True)]
        + [(field, bad) for field in ("maxWidth", "maxHeight") for bad in (1008, "1536", None)]
        + [("numInferenceSteps", 0), ("maxTextTokens", 0), ("fastMode", "yes")]
        + [("qualityTerms", bad) for bad in ("sharp", None, [5], [""])]
        + [
            ("licence", bad)
            for bad in (None, "Apache-2.0", {}, {"name": "X", "commercial": "no", "note": "Y"})
        ],
    )
    def test_broken_capability(self, field: str, value: object) -> None:
        """A row with a missing or invalid capability is refused, and the error names the entry."""
        row = row_of(shipped(HD))
        with pytest.raises(EntryMalformed, match=HD) as refused:
            Entry.from_row(row | {"capabilities": broken(row["capabilities"], field, value)})
        assert refused.value.key == HD
        assert refused.value.cause

    def test_optional_fields(self) -> None:
        """Flags, revisions and the usage count may be missing from a row."""
        row = row_of(shipped(HD))
        del row["total_usage"]
        for field in ("modelRevision", "loraRevision", "ultraRealistic", "useLoRA"):
            del row["capabilities"][field]
        entry = Entry.from_row(row)
        assert entry.tier is Tier.PRO
        assert (entry.revision, entry.realism, entry.fast_mode, entry.total_usage) == (None, True, False, 0)

    def test_a_database_without_booleans(self) -> None:
        """The numbers 1 and 0 are read as true and false."""
        entry = Entry.from_row(row_of(shipped(HD)) | {"enabled": 0, "beta": 1})
        assert (entry.enabled, entry.beta) == (False, True)

    @pytest.mark.parametrize(
        ("field", "value", "cause"),
        [
            ("model_key", "", "ValueError: model_key must be a text, not ''"),
            ("model_key", ABSENT, "KeyError: 'model_key'"),
            ("name", 5, "ValueError: name must be a text, not 5"),
            ("tier", "gold", "ValueError: 'gold' is not a valid Tier"),
            ("provider", " ", "ValueError: provider must be a text, not ' '"),
            ("credit_cost", -1, "ValueError: credit_cost must be a whole number of at least 0, not -1"),
            ("quota_cost", "1", "ValueError: quota_cost must be a whole number of at least 0, not '1'"),
            ("total_usage", -1, "ValueError: total_usage must be a whole number of at least 0, not -1"),
            ("enabled", "false", "ValueError: enabled must be true or false, not 'false'"),
            ("beta", 2, "ValueError: beta must be true or false, not 2"),
            ("capabilities", "{}", "TypeError: capabilities must be an object, not '{}'"),
        ],
    )
    def test_the_cause_names_the_column(self, field: str, value: object, cause: str) -> None:
        """The error names the broken column, what it must be and what it is."""
        row = broken(row_of(shipped(HD)), field, value)
        with pytest.raises(EntryMalformed) as refused:
            Entry.from_row(row)
        key = str(row.get("model_key", "?"))
        assert (refused.value.key, refused.value.cause) == (key, cause)
        assert str(refused.value) == f"Catalogue entry {key!r} is malformed: {cause}"

    @pytest.mark.parametrize(
        ("field", "value", "cause"),
        [
            ("modelId", "", "ValueError: modelId must be a text, not ''"),
            ("modelRevision", 7, "ValueError: modelRevision must be a text, not 7"),
            ("loraModel", 5, "ValueError: loraModel must be a text, not 5"),
            ("loraScale", -0.1, "ValueError: loraScale must be a number of at least 0, not -0.1"),
            ("loraWeightName", None, "ValueError: loraWeightName must be a text, not None"),
            ("loraRevision", "", "ValueError: loraRevision must be a text, not ''"),
            ("useLoRA", "yes", "ValueError: useLoRA must be true or false, not 'yes'"),
            ("useLoRA", False, "ValueError: useLoRA and loraModel contradict each other"),
            ("width", "768", "ValueError: width must be a whole number of at least 1, not '768'"),
            ("width", 496, "ValueError: width must be a multiple of 16 from 512 to maxWidth, not 496"),
            ("height", "768", "ValueError: height must be a whole number of at least 1, not '768'"),
            ("height", 1552, "ValueError: height must be a multiple of 16 from 512 to maxHeight, not 1552"),
            ("maxWidth", None, "ValueError: maxWidth must be a whole number of at least 1, not None"),
            ("maxHeight", None, "ValueError: maxHeight must be a whole number of at least 1, not None"),
            (
                "numInferenceSteps",
                0,
                "ValueError: numInferenceSteps must be a whole number of at least 1, not 0",
            ),
            ("guidanceScale", "3", "ValueError: guidanceScale must be a number of at least 0, not '3'"),
            ("maxTextTokens", 0, "ValueError: maxTextTokens must be a whole number of at least 1, not 0"),
            ("quality", "superb", "ValueError: 'superb' is not a valid Quality"),
            ("processingTime", 60, "ValueError: processingTime must be a text, not 60"),
            ("fastMode", "yes", "ValueError: fastMode must be true or false, not 'yes'"),
            ("qualityTerms", "sharp", "TypeError: qualityTerms must be a list of texts, not 'sharp'"),
            ("qualityTerms", ["sharp", 5], "ValueError: qualityTerms must be a text, not 5"),
            ("licence", None, "TypeError: licence must be an object, not None"),
        ],
    )
    def test_the_cause_names_the_capability(self, field: str, value: object, cause: str) -> None:
        """The error names the broken capability, what it must be and what it is."""
        row = row_of(shipped(HD))
        with pytest.raises(EntryMalformed) as refused:
            Entry.from_row(row | {"capabilities": broken(row["capabilities"], field, value)})
        assert refused.value.cause == cause

    @pytest.mark.parametrize(
        ("part", "value", "must"),
        [("name", "", "a text"), ("commercial", "no", "true or false"), ("note", None, "a text")],
    )
    def test_the_cause_names_the_part_of_the_licence(self, part: str, value: object, must: str) -> None:
        """A broken licence is refused by the name of the part that is broken."""
        row = row_of(shipped(HD))
        licence = row["capabilities"]["licence"] | {part: value}
        with pytest.raises(EntryMalformed) as refused:
            Entry.from_row(row | {"capabilities": row["capabilities"] | {"licence": licence}})
        assert refused.value.cause == f"ValueError: licence.{part} must be {must}, not {value!r}"

    @pytest.mark.parametrize(("field", "least"), [("credit_cost", 0), ("quota_cost", 0), ("total_usage", 0)])
    def test_the_least_of_a_column(self, field: str, least: int) -> None:
        """An entry may cost 0 credits, count 0 in the quota and have a usage of 0."""
        assert getattr(Entry.from_row(row_of(shipped(HD)) | {field: least}), field) == least

    @pytest.mark.parametrize(
        ("field", "ability", "least"),
        [
            ("steps", "numInferenceSteps", 1),
            ("max_text_tokens", "maxTextTokens", 1),
            ("guidance_scale", "guidanceScale", 0),
            ("width_px", "width", 512),
            ("height_px", "height", 512),
            ("width_px", "width", 1536),
            ("height_px", "height", 1536),
        ],
    )
    def test_the_bounds_of_a_capability(self, field: str, ability: str, least: int) -> None:
        """The least steps, tokens, guidance scale and side are allowed, and a side equal to its maximum."""
        row = row_of(shipped(HD))
        entry = Entry.from_row(row | {"capabilities": row["capabilities"] | {ability: least}})
        assert getattr(entry, field) == least


class TestAdapterPinned:
    def test_it_survives_being_kept(self) -> None:
        """An adapter's revision is written to the row and read back, and its scale may be 0."""
        adapter = replace(shipped(HD).adapter, revision="0123abcd", scale=0.0)
        entry = replace(shipped(HD), adapter=adapter)
        assert Entry.from_row(row_of(entry)) == entry

    def test_another_adapter_loses_the_pin(self) -> None:
        """FLUX_LORA_MODEL drops the revision of the adapter that it replaces, for it is another's."""
        pinned = replace(shipped(HD), adapter=replace(shipped(HD).adapter, revision="0123abcd"))
        replaced = _overridden(pinned, None, "acme/lora").adapter
        assert replaced is not None
        assert (replaced.model_id, replaced.revision) == ("acme/lora", None)
        assert _overridden(pinned, None, pinned.adapter.model_id) is pinned


class TestProcessingRange:
    @pytest.mark.parametrize(
        ("time", "range_s"),
        [("30-45s", (30, 45)), ("5-15s", (5, 15)), ("soon", None), ("30-45s or so", None), ("30-45", None)],
    )
    def test_seconds(self, time: str, range_s: tuple[int, int] | None) -> None:
        """A time such as 30-45s is read as seconds, and any other text as unknown."""
        assert replace(shipped(HD), processing_time=time).processing_range_s == range_s
