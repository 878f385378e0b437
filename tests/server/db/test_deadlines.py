import threading
import time
from contextlib import contextmanager

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

from catalog.tiers import Tier
from server.accounts.repository import Users
from server.accounts.tables import User
from server.db.engine import Deadlines, open_engine
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway, OutcomeUnknown

SHORT = Deadlines(lock_timeout_s=0.3, statement_timeout_s=1.0, pool_timeout_s=0.5)


@pytest.fixture
def hasty(database_url):
    """A unit of work that waits a second at most."""
    unit = UnitOfWork(open_engine(database_url, SHORT))
    yield unit
    unit.close()


@pytest.fixture
def user(uow):
    """A user in the database."""
    with uow.begin() as tx:
        return Users(tx).add(None, Tier.FREE).id


def rename(unit, user_id, name="changed"):
    """Change a user in a transaction."""
    with unit.begin() as tx:
        tx.session.get(User, user_id).email = name


def seconds(act):
    """Call a function that finds the database away; return the seconds that it took to find out."""
    began = time.monotonic()
    with pytest.raises(DatabaseAway):
        act()
    return time.monotonic() - began


only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class TestLocks:
    def test_a_writer_does_not_wait_for_ever(self, uow, hasty, user):
        """What another transaction has locked is waited for within the deadline."""
        with uow.begin() as tx:
            tx.session.get(User, user).email = "first"
            tx.session.flush()
            assert seconds(lambda: rename(hasty, user)) < 5
        rename(hasty, user)

    def test_readers_go_on(self, uow, hasty, user):
        """A reader does not wait for a transaction that is open for writing."""
        with uow.begin() as tx:
            tx.session.get(User, user).email = "first"
            tx.session.flush()
            with hasty.read() as other:
                assert other.session.get(User, user).email is None


@only_sqlite
class TestSqliteWriters:
    def test_many_writers_give_up_together(self, uow, hasty, user):
        """Of many writers behind one lock, none waits for the deadlines of those before it."""
        waits = []
        with uow.begin():
            threads = [
                threading.Thread(target=lambda: waits.append(seconds(lambda: rename(hasty, user))))
                for _ in range(16)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        assert len(waits) == 16
        assert max(waits) < 16 * SHORT.lock_timeout_s / 2

    def test_who_comes_later_is_refused_at_once(self, database_url, uow, user):
        """While a writer has waited for another process for long, further ones take no thread to wait in."""
        unit = UnitOfWork(open_engine(database_url, Deadlines(lock_timeout_s=4)))
        with uow.begin():
            first = threading.Thread(target=rename, args=(unit, user))
            first.start()
            time.sleep(1.5)
            assert seconds(lambda: rename(unit, user)) < 1
        first.join(10)
        rename(unit, user)
        unit.close()


@only_postgresql
class TestPostgresql:
    def test_a_long_statement_is_ended(self, hasty):
        """A statement that takes too long is ended by the server."""
        assert seconds(lambda: self.sleep(hasty, 30)) < 6

    def sleep(self, unit, seconds_):
        """Let the server sleep."""
        with unit.read() as tx:
            tx.session.execute(text("SELECT pg_sleep(:s)"), {"s": seconds_})

    def test_an_idle_transaction_is_ended(self, database_url, user):
        """A transaction that does nothing for too long loses its locks to others."""
        short = Deadlines(lock_timeout_s=0.1, statement_timeout_s=0.2, idle_timeout_s=0.3)
        unit = UnitOfWork(open_engine(database_url, short))

        def forget():
            with unit.begin() as tx:
                tx.session.get(User, user).email = "half-way"
                tx.session.flush()
                time.sleep(1)

        assert seconds(forget) < 5
        rename(unit, user)
        unit.close()

    def test_no_connection_is_free(self, database_url):
        """A transaction that gets no connection in time finds the database away."""
        engine = create_engine(
            open_engine(database_url).url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.2
        )
        unit = UnitOfWork(engine)
        with unit.read() as tx:
            tx.session.execute(text("SELECT 1"))
            assert seconds(lambda: self.sleep(unit, 0)) < 5
        unit.close()

    def test_a_server_that_only_reads(self, database_url, owner, user):
        """A server that became read-only, as after a failover, is away for those who write."""
        with owner.begin() as tx:
            tx.session.execute(
                text(f"ALTER DATABASE {tx.session.bind.url.database} SET default_transaction_read_only = on")
            )
        unit = UnitOfWork(open_engine(database_url))
        seconds(lambda: rename(unit, user))
        with unit.read() as tx:
            assert tx.session.get(User, user)
        unit.close()

    def test_an_older_revision(self, uow, owner, user):
        """A database that lacks a column of this program is away, and no bug."""
        with owner.begin() as tx:
            tx.session.execute(text("ALTER TABLE users DROP COLUMN last_claimed_at"))
        seconds(lambda: rename(uow, user))

    def test_a_server_that_is_silent(self, hasty, user):
        """A server that stops answering without closing its connections is away after the deadlines."""
        with hasty.read() as tx:
            backend = psutil.Process(tx.session.scalar(text("SELECT pg_backend_pid()")))
        stopped = [backend.parent(), backend]
        for process in stopped:
            process.suspend()
        try:
            assert seconds(lambda: rename(hasty, user)) < 10
        finally:
            for process in stopped:
                process.resume()
        rename(hasty, user)

    def test_a_connection_that_is_silent(self, hasty, user):
        """A single connection that stops answering is replaced after the deadline."""
        with hasty.read() as tx:
            backend = psutil.Process(tx.session.scalar(text("SELECT pg_backend_pid()")))
        backend.suspend()
        try:
            rename(hasty, user)
        finally:
            backend.resume()


@only_postgresql
class TestCommit:
    @contextmanager
    def lost(self, monkeypatch):
        """Commit, but lose the server's answer."""
        commit = psycopg.Connection.commit

        def losing(connection):
            commit(connection)
            connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(psycopg.Connection, "commit", losing)
        yield
        monkeypatch.undo()

    def test_a_lost_answer_is_told_apart(self, uow, user, monkeypatch):
        """A commit whose answer is lost may have happened: nobody is told that nothing was changed."""
        with self.lost(monkeypatch), pytest.raises(OutcomeUnknown):
            rename(uow, user)
        with uow.read() as tx:
            assert tx.session.get(User, user).email == "changed"

    def test_before_the_commit_all_is_certain(self, uow, user):
        """A connection that breaks before the commit has changed nothing."""

        def break_off():
            with uow.begin() as tx:
                tx.session.get(User, user).email = "changed"
                tx.session.flush()
                tx.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

        with pytest.raises(DatabaseAway) as raised:
            break_off()
        assert not isinstance(raised.value, OutcomeUnknown)
        with uow.read() as tx:
            assert tx.session.get(User, user).email is None
