from dataclasses import replace

import pytest
from sqlalchemy import delete, text, update

from catalog.entries import shipped_entries
from server.entries.repository import Entries
from server.entries.tables import CatalogEntry

BASE = "avatar-creator:flux-dev-base"
REALISM = "avatar-creator:flux-dev-realism"
SCHNELL = "avatar-creator:flux-schnell-fast"


def seed(uow, shipped=None):
    """Seed in a transaction of its own; return how many entries were written."""
    with uow.begin() as tx:
        return Entries(tx).seed(shipped or shipped_entries())


def change(uow, key, **values):
    """Change an entry's columns as an operator does."""
    with uow.begin() as tx:
        tx.session.execute(update(CatalogEntry).where(CatalogEntry.model_key == key).values(**values))


def entries(uow):
    """Return the catalogue by key."""
    with uow.read() as tx:
        return {entry.key: entry for entry in Entries(tx).all()}


class TestSeed:
    def test_seeding_writes_four_and_then_none(self, uow, owner):
        """An empty catalogue gets the four entries of the contract; seeding again writes nothing."""
        with owner.begin() as tx:
            tx.session.execute(delete(CatalogEntry))
        assert seed(uow) == 4
        assert seed(uow) == 0
        assert entries(uow) == {entry.key: entry for entry in shipped_entries()}

    def test_a_deleted_entry_comes_back(self, uow, owner):
        """Seeding writes what is missing, and only that."""
        with owner.begin() as tx:
            tx.session.execute(delete(CatalogEntry).where(CatalogEntry.model_key == SCHNELL))
        assert seed(uow) == 1
        assert set(entries(uow)) == {entry.key for entry in shipped_entries()}

    def test_an_operators_change_survives(self, uow):
        """A price, a switch or a capability that an operator set survives every seeding."""
        with uow.read() as tx:
            capabilities = dict(tx.session.get(CatalogEntry, ("avatar-creator", BASE)).capabilities)
        change(uow, BASE, credit_cost=3, enabled=False, capabilities=capabilities | {"numInferenceSteps": 20})
        assert seed(uow) == 0
        newer = [replace(entry, name=entry.name + " 2", steps=entry.steps + 1) for entry in shipped_entries()]
        assert seed(uow, newer) == 4
        base = entries(uow)[BASE]
        assert (base.credit_cost, base.enabled, base.steps) == (3, False, 20)
        assert base.name == "FLUX.1-dev Base 2"

    def test_a_new_value_replaces_an_unchanged_one(self, uow):
        """A newly shipped value replaces a seeded value that no operator has changed."""
        newer = [replace(entry, credit_cost=entry.credit_cost + 1) for entry in shipped_entries()]
        assert seed(uow, newer) == 4
        assert entries(uow)[BASE].credit_cost == 9
        assert seed(uow, newer) == 0
        assert seed(uow) == 4
        assert entries(uow)[BASE].credit_cost == 8

    def test_counts_are_not_seeded(self, uow):
        """The count of an entry's uses survives a new seeding."""
        with uow.begin() as tx:
            Entries(tx).add_uses(BASE, 1)
        seed(uow, [replace(entry, name="New") for entry in shipped_entries()])
        assert entries(uow)[BASE].total_usage == 1

    def test_another_model_replaces_dev_and_never_schnell(self, uow):
        """FLUX_MODEL and FLUX_LORA_MODEL reach the entries that draw with them, and can be unset again."""
        assert seed(uow, shipped_entries("me/my-flux", "me/my-lora")) == 3
        changed = entries(uow)
        assert changed[BASE].model_id == "me/my-flux"
        assert changed[REALISM].adapter.model_id == "me/my-lora"
        assert changed[SCHNELL].model_id == "black-forest-labs/FLUX.1-schnell"
        assert seed(uow) == 3
        assert entries(uow) == {entry.key: entry for entry in shipped_entries()}

    def test_operators_look_with_sql(self, uow):
        """The query that operators use returns four rows."""
        with uow.read() as tx:
            rows = tx.session.execute(
                text("SELECT name, tier, enabled FROM ai_models WHERE app_id = 'avatar-creator'")
            ).all()
        assert len(rows) == 4
        assert {row.tier for row in rows} == {"free", "basic", "pro"}
        assert all(row.enabled for row in rows)


class TestMalformed:
    def test_one_malformed_entry_does_not_hide_the_rest(self, uow):
        """A malformed entry is returned as an error with its key; the others are read as usual."""
        change(uow, BASE, capabilities={})
        assert set(entries(uow)) == {entry.key for entry in shipped_entries()} - {BASE}
        with uow.read() as tx:
            _, (malformed,) = Entries(tx).examined()
        assert malformed.key == BASE

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(
        "statement",
        ["capabilities = 'no JSON'", "enabled = 'false'", "credit_cost = 'eight'", "total_usage = 'x'"],
    )
    def test_a_value_of_the_wrong_type_in_sqlite_is_noticed(self, uow, statement):
        """A value of the wrong type, which SQLite stores, makes only its own entry malformed."""
        with uow.begin() as tx:
            tx.session.execute(text(f"UPDATE ai_models SET {statement} WHERE model_key = '{BASE}'"))  # noqa: S608
        assert len(entries(uow)) == 3
        with uow.read() as tx:
            assert [error.key for error in Entries(tx).examined()[1]] == [BASE]

    def test_the_shipped_catalogue_has_none(self, uow):
        """No shipped entry is malformed."""
        with uow.read() as tx:
            assert Entries(tx).examined()[1] == []
