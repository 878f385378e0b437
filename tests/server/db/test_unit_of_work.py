import traceback
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from catalog.tiers import Tier
from server.accounts.repository import Users
from server.accounts.tables import User
from server.credits.repository import Ledger
from server.db.engine import open_engine
from server.db.migrate import unmigrate
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.errors import DatabaseAway
from server.generations.tables import Generation


class TestBegin:
    def test_a_successful_transaction_is_committed(self, uow):
        """The next transaction reads what a transaction has written."""
        with uow.begin() as tx:
            user = Users(tx).add("a@example.org", Tier.PRO)
        with uow.read() as tx:
            assert Users(tx).find(user.id).tier == "pro"

    def test_an_exception_rolls_all_back(self, uow):
        """What was written before an exception is not in the database afterwards."""

        def fail_half_way():
            with uow.begin() as tx:
                Users(tx).add(None, Tier.PRO, "half-way")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail_half_way()
        with uow.read() as tx:
            assert tx.session.get(User, "half-way") is None

    def test_simultaneous_writers_all_commit(self, uow, make_account, at_once):
        """Of thirty-two writers at the same moment none fails."""
        user = make_account(credits=0).user_id

        def grant():
            with uow.begin() as tx:
                Ledger(tx).grant(user, 1, "test", user)

        assert at_once(32, grant) == [None] * 32
        with uow.read() as tx:
            assert Ledger(tx).available(user) == 32


class TestDatabaseAway:
    def test_an_unreachable_server(self):
        """A PostgreSQL that does not answer raises DatabaseAway, without a long wait."""
        uow = UnitOfWork(open_engine("postgresql://nobody@127.0.0.1:1/none"))
        with pytest.raises(DatabaseAway), uow.begin() as tx:
            tx.session.execute(text("SELECT 1"))

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_a_table_without_grants(self, uow, owner):
        """A table that its migration has not granted to the serving role is as good as none."""
        with owner.begin() as tx:
            tx.session.execute(text("REVOKE SELECT ON ai_models FROM avatar_server"))
        with pytest.raises(DatabaseAway), uow.read() as tx:
            Entries(tx).all()

    def test_a_database_without_tables(self, uow, owner):
        """A database that was never migrated raises the same error."""
        unmigrate(owner.engine)
        with pytest.raises(DatabaseAway), uow.read() as tx:
            Entries(tx).all()


class TestErrorTexts:
    def test_they_quote_no_row(self, uow, make_account, submit_one):
        """The text of a violated constraint shows neither the statement's values nor the failing row."""
        generation = submit_one(make_account(), prompt="a very secret prompt")
        statement = update(Generation).where(Generation.prompt == generation.prompt).values(status="nonsense")
        with pytest.raises(IntegrityError) as refused, uow.begin() as tx:
            tx.session.execute(statement)
        shown = "".join(traceback.format_exception(refused.value))
        assert "generations" in shown
        assert "secret" not in shown


class TestSqlite:
    def test_a_commit_survives_a_power_cut(self, sqlite_template):
        """The write-ahead log is flushed at every commit and foreign keys are enforced."""
        engine = open_engine(f"sqlite:///{sqlite_template}")
        with engine.connect() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
        engine.dispose()
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}

    def test_each_connection_caches_little(self, sqlite_template):
        """A pool full of connections takes a few MiB for caches."""
        engine = open_engine(f"sqlite:///{sqlite_template}")
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA cache_size").scalar() == -256
        engine.dispose()

    def test_readers_do_not_take_the_write_lock(self, sqlite_template):
        """A transaction that only reads begins without the lock that a writer takes at once."""
        engine = open_engine(f"sqlite:///{sqlite_template}")
        begun = []
        event.listen(
            engine, "before_cursor_execute", lambda _c, _cursor, statement, *_rest: begun.append(statement)
        )
        uow = UnitOfWork(engine)
        with uow.read() as tx:
            Entries(tx).all()
        with uow.begin() as tx:
            Entries(tx).all()
        uow.close()
        assert [statement for statement in begun if statement.startswith("BEGIN")] == [
            "BEGIN",
            "BEGIN IMMEDIATE",
        ]


class TestTimes:
    def test_times_come_back_in_utc(self, uow):
        """A time given in another zone is stored and read as the same moment in UTC."""
        moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5)))
        with uow.begin() as tx:
            user = Users(tx).add(None, Tier.FREE)
            user.created_at = moment
        with uow.read() as tx:
            read = Users(tx).find(user.id).created_at
        assert read == moment
        assert read.tzinfo is UTC

    def test_a_time_without_a_zone_is_refused(self, uow):
        """A time whose zone is unknown never reaches the database."""
        naive = datetime(2026, 1, 2)  # noqa: DTZ001  # the fault under test
        with pytest.raises(StatementError, match="without a zone"), uow.begin() as tx:
            tx.session.execute(update(User).values(created_at=naive))
