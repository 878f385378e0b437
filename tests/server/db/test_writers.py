"""Writers on SQLite that share a transaction."""

import threading
import time

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from catalog.tiers import Tier
from server.accounts.repository import Users
from server.accounts.tables import User
from server.errors import DatabaseAway


@pytest.fixture
def database_url(make_database):
    """PostgreSQL has many writers, and joins the flushes of their commits itself."""
    return make_database("sqlite")


@pytest.fixture
def commits(uow):
    """The commits of the database so far."""
    made = []
    event.listen(uow.engine, "commit", made.append)
    return made


@pytest.fixture
def together(uow):
    """Run functions as writers of which all wait in line while the first writes; return how each ended."""

    def run(*bodies, joint=None):
        joint = joint or [True] * len(bodies)
        ended = [None] * len(bodies)
        all_wait = threading.Event()

        def write(number):
            try:
                with uow.begin(joint=joint[number]) as tx:
                    all_wait.wait()
                    bodies[number](tx)
            except Exception as error:  # noqa: BLE001  # a result like any other
                ended[number] = error

        threads = []
        for number in range(len(bodies)):
            threads.append(threading.Thread(target=write, args=(number,)))
            threads[-1].start()
            while not uow._writers._taken or len(uow._writers._line) < number:
                time.sleep(0.001)
        all_wait.set()
        for thread in threads:
            thread.join()
        return ended

    return run


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let a transaction be joined however slow this machine is."""
    monkeypatch.setattr("server.db.writers.TOGETHER_S", 60)


def add(name):
    return lambda tx: Users(tx).add(None, Tier.FREE, name)


def fail(tx):
    Users(tx).add(None, Tier.FREE, "of-the-failed")
    raise ZeroDivisionError


def names(uow):
    with uow.read() as tx:
        return sorted(tx.session.scalars(text("SELECT id FROM users")))


class TestJoint:
    def test_those_who_wait_share_a_commit(self, uow, together, commits):
        """What four write one after another is one transaction."""
        assert together(*map(add, "abcd")) == [None] * 4
        assert len(commits) == 1
        assert names(uow) == ["a", "b", "c", "d"]

    def test_nobody_goes_on_before_the_commit(self, uow, together):
        """What the second does to the common transaction, the first is told; before, nobody sees its part."""
        seen = []

        def look_and_give_up(tx):
            with uow.read() as other:
                seen.append(other.session.get(User, "a"))
            tx.session.connection().connection.driver_connection.execute("ROLLBACK")

        assert all(isinstance(error, DatabaseAway) for error in together(add("a"), look_and_give_up))
        assert seen == [None]

    @pytest.mark.parametrize("failing", [0, 1, 2])
    def test_who_fails_undoes_its_own_part(self, uow, together, failing):
        """An exception in one part, the first included, leaves the others' as they are."""
        bodies = [add("a"), add("b"), add("c")]
        bodies[failing] = fail
        ended = together(*bodies)
        assert [type(error) for error in ended if error] == [ZeroDivisionError]
        assert isinstance(ended[failing], ZeroDivisionError)
        assert names(uow) == sorted({"a", "b", "c"} - {"abc"[failing]})

    def test_a_commit_that_fails(self, uow, together):
        """If the commit fails, all who wrote are told that nothing was changed, and nothing was."""

        def refuse(_connection):
            raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

        event.listen(uow.engine, "commit", refuse)
        ended = together(*map(add, "abc"))
        event.remove(uow.engine, "commit", refuse)
        assert [type(error) for error in ended] == [DatabaseAway] * 3
        assert names(uow) == []
        assert together(add("d")) == [None]

    def test_a_transaction_that_sqlite_gives_up(self, uow, together):
        """If a part ends the whole transaction, as a full disk can, those before it are told."""

        def give_up(tx):
            tx.session.connection().connection.driver_connection.execute("ROLLBACK")
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))

        assert [type(error) for error in together(add("a"), give_up, add("c"))] == [
            DatabaseAway,
            DatabaseAway,
            type(None),
        ]
        assert names(uow) == ["c"]

    def test_others_have_their_own(self, uow, together, commits):
        """Who is not joint neither shares a transaction nor lets others in."""
        together(*map(add, "abcd"), joint=[True, False, False, True])
        assert len(commits) == 4
        assert names(uow) == ["a", "b", "c", "d"]

    def test_the_line_is_bounded(self, uow, together, commits, monkeypatch):
        """Not more than so many share one: the first waits for the last."""
        monkeypatch.setattr("server.db.writers.MOST_TOGETHER", 2)
        together(*map(add, "abcde"))
        assert len(commits) == 3

    def test_many_at_once(self, uow, at_once):
        """Of thirty-two joint writers at the same moment none is lost."""

        def write():
            with uow.begin(joint=True) as tx:
                Users(tx).add(None, Tier.FREE)

        assert at_once(32, write) == [None] * 32
        assert len(names(uow)) == 32
