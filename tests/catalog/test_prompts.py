import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.entries import Entry, shipped_entries
from catalog.prompts import AGE_WORDS, compose
from catalog.traits import Traits

ADA = Traits(
    persona_name="Ada",
    persona_age=36,
    persona_personality=("curious", "calm"),
    persona_background="Born by the sea.",
    gender="female",
    age_range="young",
    ethnicity="Nordic",
    body_type="athletic",
    hair_style="wavy",
    hair_color="auburn",
    eye_color="green",
    skin_tone="fair",
    style="casual",
)
NOBODY = Traits()
words = st.text("abcdefghij ", min_size=1).map(str.strip).filter(bool)
any_traits = st.builds(
    Traits,
    st.none() | words,
    st.none() | st.integers(1, 120),
    st.none() | st.lists(words, max_size=3).map(tuple),
    *[st.none() | words] * 10,
)


class TestCompose:
    def test_order(self) -> None:
        """Attributes come first, then the persona, the user's prompt and the entry's quality terms."""
        assert compose("reading a map at dusk", ADA, ["photorealistic", "sharp focus"]) == (
            "female, young, 20-30 years old, Nordic ethnicity, athletic body type, wavy auburn hair,"
            " green eyes, fair skin tone, casual attire, portrait of Ada, 36 years old,"
            " curious, calm personality, reading a map at dusk, photorealistic, sharp focus"
        )

    def test_prompt_alone(self) -> None:
        """A prompt without attributes, persona and terms is not changed."""
        assert compose("reading a map", NOBODY, []) == "reading a map"

    @pytest.mark.parametrize(
        ("age_range", "years"), [("young", "20-30"), ("adult", "30-50"), ("mature", "50+")]
    )
    def test_age_range(self, age_range: str, years: str) -> None:
        """An age range is written with its years."""
        assert compose("x", Traits(age_range=age_range), []) == f"{age_range}, {years} years old, x"
        assert set(AGE_WORDS) == {"young", "adult", "mature"}

    @pytest.mark.parametrize(
        ("traits", "text"),
        [
            (Traits(gender="unisex"), "unisex"),
            (Traits(ethnicity="Nordic"), "Nordic ethnicity"),
            (Traits(body_type="slim"), "slim body type"),
            (Traits(hair_style="curly"), "curly hair"),
            (Traits(hair_color="black"), "black hair"),
            (Traits(eye_color="brown"), "brown eyes"),
            (Traits(skin_tone="olive"), "olive skin tone"),
            (Traits(style="formal"), "formal attire"),
        ],
    )
    def test_one_attribute(self, traits: Traits, text: str) -> None:
        """A single attribute is written alone; absent attributes leave no gap."""
        assert compose("a prompt", traits, []) == f"{text}, a prompt"

    def test_background_is_not_drawn(self) -> None:
        """The persona's background is never part of the model's prompt."""
        assert "sea" not in compose("a prompt", ADA, [])

    @pytest.mark.parametrize("entry", shipped_entries(), ids=lambda entry: entry.key)
    def test_quality_terms(self, entry: Entry) -> None:
        """The prompt ends with the entry's quality terms, in their order."""
        assert compose("a prompt", NOBODY, entry.quality_terms) == ", ".join(
            ["a prompt", *entry.quality_terms]
        )

    @given(prompt=words, traits=any_traits, terms=st.lists(words, max_size=4))
    def test_any_request(self, prompt: str, traits: Traits, terms: list[str]) -> None:
        """In any request, the user's prompt is unchanged between the persona and the terms."""
        prefix = compose("", traits, [])
        parts = [prefix, prompt, *terms] if prefix else [prompt, *terms]
        assert compose(prompt, traits, terms) == ", ".join(parts)
        assert "None" not in prefix

    def test_an_unknown_age_range(self) -> None:
        """An age range that is not in the table is written as it was given."""
        assert compose("a prompt", Traits(age_range="ageless"), []) == "ageless, a prompt"
