from server.presets.repository import PresetUses

ONE, OTHER = "1b21d9c4-3a1d-4b8e-8c0f-5d1f0e6a7b21", "9a3f4c55-7d0e-4c2b-a1b9-2f6e8d7c5b43"


def count(uow, preset_id):
    """Count one use in a transaction of its own."""
    with uow.begin() as tx:
        PresetUses(tx).add_one(preset_id)


def counts(uow):
    """Read all counts."""
    with uow.read() as tx:
        return PresetUses(tx).all()


class TestPresetUses:
    def test_each_preset_is_counted_alone(self, uow):
        """Uses add up for their preset, and one that was never used has no count."""
        assert counts(uow) == {}
        for preset_id in (ONE, OTHER, ONE):
            count(uow, preset_id)
        assert counts(uow) == {ONE: 2, OTHER: 1}

    def test_uses_at_once(self, uow, at_once):
        """Of many uses at the same moment, the first among them, none is lost."""
        assert at_once(12, lambda: count(uow, ONE)) == [None] * 12
        assert counts(uow) == {ONE: 12}
