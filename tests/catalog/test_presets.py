import tomllib
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest

from catalog.presets import Category, Preset, PresetMalformed, shipped_presets
from catalog.traits import TRAIT_NAMES, Traits

ABSENT = object()  # marks a field to remove from a row
ID = "0b7c9f52-6a04-4f43-9d8e-1c5a2e7f3b60"
CREATED = datetime(2026, 1, 2, tzinfo=UTC)
UPDATED = datetime(2026, 3, 4, tzinfo=UTC)
PERSONA = {"name": "Ada", "age": 36, "personality": ["calm", "bold"], "background": "She counts."}
LOOKS = {
    "gender": "female",
    "age_range": "adult",
    "ethnicity": "English",
    "body_type": "slim",
    "hair_style": "long",
    "hair_color": "brown",
    "eye_color": "hazel",
    "skin_tone": "fair",
    "style": "formal",
}
ROW: dict[str, Any] = {
    "id": ID,
    "name": "Countess",
    "category": "fashion",
    "description": "A mathematician.",
    "prompt": "portrait of a countess",
    "popularity": 7,
    "created_at": CREATED,
    "updated_at": UPDATED,
    "persona": PERSONA,
    "looks": LOOKS,
}
AGES = {"young": range(20, 30), "adult": range(30, 50), "mature": range(50, 121)}


def broken(fields: dict[str, Any], field: str, value: object) -> dict[str, Any]:
    """Return the fields with one value replaced, or removed if it is ABSENT."""
    return {name: other for name, other in (fields | {field: value}).items() if other is not ABSENT}


def cause_of(row: dict[str, Any]) -> str:
    """Return why a row is refused."""
    with pytest.raises(PresetMalformed) as refused:
        Preset.from_row(row)
    assert refused.value.preset_id == str(row.get("id", "?"))
    assert str(refused.value) == f"Preset {refused.value.preset_id!r} is malformed: {refused.value.cause}"
    return refused.value.cause


class TestShippedPresets:
    def test_every_category_is_served(self) -> None:
        """There are at least 20 presets, and at least four in each of the contract's five categories."""
        counts = Counter(preset.category for preset in shipped_presets().values())
        assert set(counts) == {"professional", "casual", "sports", "fashion", "traditional"}
        assert min(counts.values()) >= 4
        assert sum(counts.values()) >= 20

    def test_the_file_names_nothing_twice(self) -> None:
        """No two presets have the same id, name, person or prompt, and no preset is lost on the way."""
        document = tomllib.loads(files("catalog").joinpath("presets.toml").read_text("utf-8"))
        presets = shipped_presets()
        assert len(presets) == len(document["presets"])
        assert set(presets) == {preset.id for preset in presets.values()}
        for name in ("name", "prompt", "description"):
            assert len({getattr(preset, name) for preset in presets.values()}) == len(presets)
        assert len({preset.traits.persona_name for preset in presets.values()}) == len(presets)

    def test_the_popular_come_first(self) -> None:
        """Presets are in falling order of popularity, and those of equal popularity in the order of names."""
        presets = list(shipped_presets().values())
        assert [preset.popularity for preset in presets] == sorted(
            (preset.popularity for preset in presets), reverse=True
        )
        equal = [pair for pair in pairwise(presets) if pair[0].popularity == pair[1].popularity]
        assert equal
        assert all(first.name < second.name for first, second in equal)

    def test_every_trait_is_set(self) -> None:
        """Every preset has a whole persona and whole looks, and an age within its age range."""
        for preset in shipped_presets().values():
            traits = preset.traits.to_json()
            assert all(traits[name] for name in TRAIT_NAMES), preset.name
            assert preset.traits.persona_age in AGES[str(preset.traits.age_range)], preset.name

    def test_the_people_differ(self) -> None:
        """The presets show every gender and age range, at least ten origins and five skin tones."""
        traits = [preset.traits for preset in shipped_presets().values()]
        assert {each.gender for each in traits} == {"male", "female", "unisex"}
        assert {each.age_range for each in traits} == set(AGES)
        assert len({each.ethnicity for each in traits}) >= 10
        assert len({each.skin_tone for each in traits}) >= 5


class TestFromRow:
    def test_a_whole_row(self) -> None:
        """Every field of a row is read, the persona and the looks as traits."""
        assert Preset.from_row(ROW) == Preset(
            id=ID,
            name="Countess",
            category=Category.FASHION,
            description="A mathematician.",
            prompt="portrait of a countess",
            traits=Traits(
                persona_name="Ada",
                persona_age=36,
                persona_personality=("calm", "bold"),
                persona_background="She counts.",
                **LOOKS,
            ),
            popularity=7,
            created_at=CREATED,
            updated_at=UPDATED,
        )

    def test_never_updated(self) -> None:
        """A preset without a time of update was updated when it was created."""
        assert Preset.from_row(broken(ROW, "updated_at", ABSENT)).updated_at == CREATED

    def test_no_popularity(self) -> None:
        """A popularity may be 0."""
        assert Preset.from_row(ROW | {"popularity": 0}).popularity == 0

    @pytest.mark.parametrize("field", [field for field in ROW if field != "updated_at"])
    def test_missing_field(self, field: str) -> None:
        """A row without a field is refused by the field's name."""
        assert cause_of(broken(ROW, field, ABSENT)) == f"KeyError: {field!r}"

    @pytest.mark.parametrize(
        ("field", "value", "cause"),
        [
            ("id", 5, "ValueError: id must be a text, not 5"),
            ("id", "ada", "ValueError: badly formed hexadecimal UUID string"),
            ("id", ID.upper(), f"ValueError: id must be written as {ID}, not {ID.upper()}"),
            ("name", " ", "ValueError: name must be a text, not ' '"),
            ("category", "music", "ValueError: 'music' is not a valid Category"),
            ("description", None, "ValueError: description must be a text, not None"),
            ("prompt", "", "ValueError: prompt must be a text, not ''"),
            ("popularity", -1, "ValueError: popularity must be a whole number of at least 0, not -1"),
            ("popularity", "7", "ValueError: popularity must be a whole number of at least 0, not '7'"),
            ("created_at", "today", "ValueError: created_at must be a time with a zone, not 'today'"),
            (
                "updated_at",
                datetime(2026, 1, 2),  # noqa: DTZ001  # the fault
                "ValueError: updated_at must be a time with a zone, not datetime.datetime(2026, 1, 2, 0, 0)",
            ),
            ("persona", [], "TypeError: persona must be an object, not []"),
            ("looks", "tall", "TypeError: looks must be an object, not 'tall'"),
        ],
    )
    def test_broken_field(self, field: str, value: object, cause: str) -> None:
        """A row with an invalid field is refused, and the error names the field and its rule."""
        assert cause_of(ROW | {field: value}) == cause

    @pytest.mark.parametrize(
        ("field", "value", "cause"),
        [
            *((field, ABSENT, f"KeyError: {field!r}") for field in PERSONA),
            ("name", "", "ValueError: persona.name must be a text, not ''"),
            ("age", 0, "ValueError: persona.age must be a whole number of at least 1, not 0"),
            ("personality", "calm", "TypeError: persona.personality must be a list of texts, not 'calm'"),
            ("personality", [5], "ValueError: persona.personality must be a text, not 5"),
            ("background", None, "ValueError: persona.background must be a text, not None"),
        ],
    )
    def test_broken_persona(self, field: str, value: object, cause: str) -> None:
        """A row with an invalid persona is refused, and the error names the part that is broken."""
        assert cause_of(ROW | {"persona": broken(PERSONA, field, value)}) == cause

    @pytest.mark.parametrize(
        ("field", "value", "cause"),
        [
            *((field, ABSENT, f"KeyError: {field!r}") for field in LOOKS),
            *(
                (field, 5, f"ValueError: looks.{field} must be a text, not 5")
                for field in LOOKS
                if field not in {"gender", "age_range"}
            ),
            (
                "gender",
                "Female",
                "ValueError: looks.gender must be one of male, female, unisex, not 'Female'",
            ),
            (
                "age_range",
                "old",
                "ValueError: looks.age_range must be one of young, adult, mature, not 'old'",
            ),
            ("age_range", [], "ValueError: looks.age_range must be one of young, adult, mature, not []"),
        ],
    )
    def test_broken_looks(self, field: str, value: object, cause: str) -> None:
        """A row with invalid looks is refused, and the error names the part that is broken."""
        assert cause_of(ROW | {"looks": broken(LOOKS, field, value)}) == cause
