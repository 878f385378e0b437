"""The upgrade of a ledger that an older program wrote."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from server.credits.errors import HoldMissing
from server.credits.repository import Ledger
from server.db.migrate import migrate, unmigrate
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.tallies.repository import MOVED, Tallies

MOMENT = "'2026-01-02 03:04:05.000000+00:00'"


class TestOldLedger:
    """What a program of revision 0011 wrote: its own postings, and no references of grants."""

    TRANSFERS = (
        # id, kind, credits, balance, settles_id, reference_type, reference_id
        (1, "grant", 30, 30, None, "grant", "u"),
        (2, "grant", 30, 60, None, "grant", "u"),
        (3, "hold", 8, 52, None, "generation", "g1"),
        (4, "hold", 12, 40, None, "generation", "g2"),
        (5, "capture", 5, 43, 3, "generation", "g1"),
        (6, "hold", 0, 43, None, "generation", "g3"),
    )
    POSTINGS = (
        (1, "issuance", -30),
        (1, "available", 30),
        (2, "issuance", -30),
        (2, "available", 30),
        (3, "available", -8),
        (3, "held", 8),
        (4, "available", -12),
        (4, "held", 12),
        (5, "held", -8),
        (5, "available", 3),
        (5, "revenue", 5),
        (6, "held", 0),
    )

    @pytest.fixture
    def old(self, engine):
        """A database of revision 0011 with two grants and three holds, of which one was captured."""
        unmigrate(engine, "0011")
        with engine.begin() as connection:
            connection.execute(
                text(f"INSERT INTO users (id, tier, created_at) VALUES ('u', 'free', {MOMENT})")  # noqa: S608
            )
            connection.execute(text("INSERT INTO accounts (user_id, available, held) VALUES ('u', 43, 12)"))
            names = ("id", "kind", "credits", "balance", "settles_id", "reference_type", "reference_id")
            kept = ", ".join(f":{name}" for name in names)
            connection.execute(
                text(
                    f"INSERT INTO ledger_transfers ({', '.join(names)}, user_id, description, created_at) "  # noqa: S608
                    f"VALUES ({kept}, 'u', 'old', {MOMENT})"
                ),
                [dict(zip(names, row, strict=True)) for row in self.TRANSFERS],
            )
            connection.execute(
                text(
                    "INSERT INTO ledger_postings (transfer_id, user_id, account, amount) "
                    "VALUES (:transfer_id, 'u', :account, :amount)"
                ),
                [dict(zip(("transfer_id", "account", "amount"), row, strict=True)) for row in self.POSTINGS],
            )
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT setval('ledger_transfers_id_seq', 6)"))
        return engine

    @staticmethod
    def rows(engine):
        """Return the ledger as a program of revision 0011 reads it."""
        columns = "id, user_id, kind, credits, balance, settles_id, reference_type, reference_id, description"
        with engine.connect() as connection:
            return [
                connection.execute(text(query)).all()
                for query in (
                    f"SELECT {columns} FROM ledger_transfers ORDER BY id",  # noqa: S608
                    "SELECT * FROM ledger_postings ORDER BY id",
                    "SELECT * FROM accounts",
                )
            ]

    def test_old_rows_stay_as_they_are(self, old):
        """No transfer and no posting is changed or added, up and down again, and grants have no reference."""
        before = self.rows(old)
        migrate(old)
        assert self.rows(old) == before
        with old.connect() as connection:
            references = connection.execute(text("SELECT DISTINCT grant_reference FROM ledger_transfers"))
            assert references.all() == [(None,)]
        unmigrate(old, "0011")
        assert self.rows(old) == before

    def test_old_postings_are_those_that_their_transfers_ask_for(self, old):
        """The database derives from the old transfers exactly the postings that the old program wrote."""
        migrate(old)
        query = text("SELECT transfer_id, account, amount FROM ledger_sides")
        with old.connect() as connection:
            derived = [tuple(row) for row in connection.execute(query)]
        assert sorted(derived) == sorted(self.POSTINGS)

    def test_old_transfers_are_counted(self, old):
        """What was moved before the trigger is in the tallies once, also after a way down and up again."""
        migrate(old)
        unmigrate(old, "0014")
        migrate(old)
        with UnitOfWork(old).read() as tx:
            moved = {part: total for (kind, _, part), total in Tallies(tx).all().items() if kind == MOVED}
        with old.connect() as connection:
            kinds = connection.execute(text("SELECT kind, sum(credits) FROM ledger_transfers GROUP BY kind"))
            assert moved == {kind: total for kind, total in kinds if total}
        assert "grant" in moved

    def test_old_holds_end(self, old):
        """A hold of before is settled once, by the rules of now, and the books balance."""
        migrate(old)
        uow = UnitOfWork(old)
        with uow.begin() as tx:
            Ledger(tx).void("g2")
            Ledger(tx).capture("g3", 0)
        with pytest.raises((IntegrityError, HoldMissing)), uow.begin() as tx:
            Ledger(tx).void("g1")
        with uow.read() as tx:
            assert (Ledger(tx).sum_of_postings(), Ledger(tx).drifts(), Ledger(tx).held()) == (0, [], 0)
            assert Ledger(tx).available("u") == 55

    def test_a_database_without_the_triggers_takes_no_transfer(self, old):
        """On a database that is not migrated a hold fails as a whole: nothing would be posted."""
        before = self.rows(old)
        with pytest.raises((DatabaseAway, ProgrammingError)), UnitOfWork(old).begin() as tx:
            Ledger(tx).hold("u", 8, "g4", "test")
        assert self.rows(old) == before
