import json

from catalog.traits import TRAIT_NAMES, Traits


class TestTraits:
    def test_round_trip(self):
        """Traits that are written as JSON and read back are the same, with the personality in its order."""
        traits = Traits(
            persona_name="Ada", persona_age=36, persona_personality=("calm", "curious"), style="x"
        )
        assert Traits.from_json(json.loads(json.dumps(traits.to_json()))) == traits

    def test_no_personality_differs_from_an_empty_one(self):
        """A personality that was not requested stays None, and an empty personality stays empty."""
        assert Traits.from_json(Traits().to_json()).persona_personality is None
        assert Traits.from_json(Traits(persona_personality=()).to_json()).persona_personality == ()

    def test_their_names(self):
        """There are thirteen traits, those of the contract's GenerateRequest."""
        assert len(TRAIT_NAMES) == 13
        assert set(Traits().to_json()) == set(TRAIT_NAMES)
