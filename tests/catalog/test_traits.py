import json

from catalog.traits import TRAIT_NAMES, Traits


class TestTraits:
    def test_they_survive_being_kept(self):
        """Traits that went through JSON are the same traits, the personality's words in their order."""
        traits = Traits(
            persona_name="Ada", persona_age=36, persona_personality=("calm", "curious"), style="x"
        )
        assert Traits.from_json(json.loads(json.dumps(traits.to_json()))) == traits

    def test_no_personality_differs_from_an_empty_one(self):
        """A personality that was not asked for stays None, and one without words stays empty."""
        assert Traits.from_json(Traits().to_json()).persona_personality is None
        assert Traits.from_json(Traits(persona_personality=()).to_json()).persona_personality == ()

    def test_their_names(self):
        """There are thirteen traits, those of the contract's GenerateRequest."""
        assert len(TRAIT_NAMES) == 13
        assert set(Traits().to_json()) == set(TRAIT_NAMES)
