import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.entries import Entry, shipped_entries
from catalog.prompts import AGE_WORDS, Appearance, Persona, compose

LOOKS = Appearance(
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
ADA = Persona(name="Ada", age=36, personality=("curious", "calm"), background="Born by the sea.")
NOBODY = Appearance()
words = st.text("abcdefghij ", min_size=1).map(str.strip).filter(bool)
appearances = st.builds(Appearance, *[st.none() | words] * 9)
personas = st.builds(
    Persona, st.none() | words, st.none() | st.integers(1, 120), st.lists(words, max_size=3).map(tuple)
)


class TestCompose:
    def test_order(self) -> None:
        """Attributes come first, then the persona, the user's prompt and the entry's quality terms."""
        assert compose("reading a map at dusk", LOOKS, ADA, ["photorealistic", "sharp focus"]) == (
            "female, young, 20-30 years old, Nordic ethnicity, athletic body type, wavy auburn hair,"
            " green eyes, fair skin tone, casual attire, portrait of Ada, 36 years old,"
            " curious, calm personality, reading a map at dusk, photorealistic, sharp focus"
        )

    def test_prompt_alone(self) -> None:
        """A prompt without attributes, persona and terms is sent as it was written."""
        assert compose("reading a map", NOBODY, Persona(), []) == "reading a map"

    @pytest.mark.parametrize(
        ("age_range", "years"), [("young", "20-30"), ("adult", "30-50"), ("mature", "50+")]
    )
    def test_age_range(self, age_range: str, years: str) -> None:
        """An age range is written with the years that it stands for."""
        assert (
            compose("x", Appearance(age_range=age_range), Persona(), [])
            == f"{age_range}, {years} years old, x"
        )
        assert set(AGE_WORDS) == {"young", "adult", "mature"}

    @pytest.mark.parametrize(
        ("looks", "text"),
        [
            (Appearance(gender="unisex"), "unisex"),
            (Appearance(ethnicity="Nordic"), "Nordic ethnicity"),
            (Appearance(body_type="slim"), "slim body type"),
            (Appearance(hair_style="curly"), "curly hair"),
            (Appearance(hair_color="black"), "black hair"),
            (Appearance(eye_color="brown"), "brown eyes"),
            (Appearance(skin_tone="olive"), "olive skin tone"),
            (Appearance(style="formal"), "formal attire"),
        ],
    )
    def test_one_attribute(self, looks: Appearance, text: str) -> None:
        """An attribute that stands alone is written alone, and an absent one leaves no gap."""
        assert compose("a prompt", looks, Persona(), []) == f"{text}, a prompt"

    def test_background_is_not_drawn(self) -> None:
        """The persona's background is kept with the avatar and never sent to the model."""
        assert "sea" not in compose("a prompt", LOOKS, ADA, [])

    @pytest.mark.parametrize("entry", shipped_entries(), ids=lambda entry: entry.key)
    def test_quality_terms(self, entry: Entry) -> None:
        """The prompt ends with the quality terms of the entry that draws it, in their order."""
        assert compose("a prompt", NOBODY, Persona(), entry.quality_terms) == ", ".join(
            ["a prompt", *entry.quality_terms]
        )

    @given(prompt=words, looks=appearances, persona=personas, terms=st.lists(words, max_size=4))
    def test_any_request(self, prompt: str, looks: Appearance, persona: Persona, terms: list[str]) -> None:
        """Whatever is asked for, the user's words stand unchanged between the persona and the terms."""
        before = compose("", looks, persona, [])
        parts = [before, prompt, *terms] if before else [prompt, *terms]
        assert compose(prompt, looks, persona, terms) == ", ".join(parts)
        assert "None" not in before
