from dataclasses import replace

from catalog.traits import TRAIT_NAMES, Traits
from server.avatars.tables import Avatar, TraitColumns, trait_values
from server.routes.avatars import TraitsView
from server.routes.generation_bodies import TraitsBody


class TestTraits:
    def test_every_spelling_has_the_same_names(self):
        """Catalogue, request, columns and answer have the same traits."""
        columns = set(TraitColumns.__annotations__)
        assert columns == set(TraitsBody.model_fields) == set(TraitsView.model_fields) == set(TRAIT_NAMES)
        assert set(TRAIT_NAMES) <= set(Avatar.core().columns.keys())

    def test_the_personality_is_json_text(self):
        """The words of the personality are kept as JSON text, none as NULL; the other traits as they are."""
        traits = Traits(persona_name="Ada", persona_age=36, persona_personality=("calm", "kind"))
        values = trait_values(traits)
        assert values["persona_personality"] == '["calm", "kind"]'
        assert (values["persona_name"], values["persona_age"], values["style"]) == ("Ada", 36, None)
        assert trait_values(replace(traits, persona_personality=None))["persona_personality"] is None
