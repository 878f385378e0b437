import threading

import pytest
from sqlalchemy import text

from server.events.repository import Events
from server.events.tables import Kind
from server.events.tail import EventTail

FIRST = "first"


@pytest.fixture
def append(uow):
    """Append an event in a transaction of its own; return its id."""

    def one(generation_id=FIRST):
        with uow.begin() as tx:
            Events(tx).append(generation_id, Kind.QUEUED)
            return Events(tx).newest_id()

    return one


@pytest.fixture
def read(uow):
    """Read a tail once; return the ids."""

    def ids(tail):
        with uow.read() as tx:
            return [event.id for event in tail.read(tx)]

    return ids


@pytest.fixture
def begun(read):
    """A tail that knows its position."""
    tail = EventTail()
    assert read(tail) == []
    return tail


@pytest.fixture
def on_postgresql(uow):
    """Skip on SQLite, where only one transaction can append at a time."""
    if uow.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")


class TestOrder:
    def test_what_happened_before_is_not_read(self, append, read):
        """A new tail begins after what there is."""
        append()
        tail = EventTail()
        assert read(tail) == []
        later = append()
        assert read(tail) == [later]

    def test_each_event_is_read_once(self, append, read, begun):
        """Every event comes once, in the order of the ids, however it is read."""
        ids = [append() for _ in range(3)]
        assert read(begun) == ids
        assert read(begun) == []
        ids = [append(), append()]
        assert read(begun) == ids


@pytest.mark.usefixtures("on_postgresql")
class TestOpenTransactions:
    def test_an_id_that_commits_late_is_not_missed(self, uow, append, read, begun):
        """While a transaction with a smaller id is open, greater ones wait; then both come in order."""
        with uow.begin() as early:
            Events(early).append("early", Kind.QUEUED)
            late = append("late")
            assert read(begun) == []
            assert read(begun) == []
        assert read(begun) == [late - 1, late]
        assert read(begun) == []

    def test_an_id_that_is_rolled_back_holds_nothing_up(self, uow, append, read, begun):
        """When the transaction with the smaller id has rolled back, the greater one comes."""
        with uow.begin() as early:
            Events(early).append("early", Kind.QUEUED)
            late = append("late")
            assert read(begun) == []
            early.session.rollback()
        assert read(begun) == [late]

    def test_what_came_before_the_gap_is_read_at_once(self, uow, append, read, begun):
        """Only what is behind the missing id waits."""
        before = append()
        with uow.begin() as early:
            Events(early).append("early", Kind.QUEUED)
            append("late")
            assert read(begun) == [before]
        assert read(begun) == [before + 1, before + 2]

    def test_two_gaps_end_in_any_order(self, uow, read, begun):
        """Whichever of three transactions ends first, the ids come in order and each once."""
        first, second, third = uow.begin(), uow.begin(), uow.begin()
        for transaction in (first, second, third):
            Events(transaction.__enter__()).append("one", Kind.QUEUED)
        third.__exit__(None, None, None)
        seen = read(begun)
        first.__exit__(None, None, None)
        seen += read(begun)
        second.__exit__(None, None, None)
        seen += read(begun) + read(begun)
        assert len(seen) == 3
        assert seen == sorted(seen)

    def test_a_stranger_holds_nothing_up(self, uow, append, read, begun):
        """An open transaction that appends no event delays none, even when an id was rolled back."""
        with uow.begin() as stranger:
            stranger.session.execute(text("UPDATE leader_locks SET holder = 'stranger'"))
            with uow.begin() as tx:
                Events(tx).append("never", Kind.QUEUED)
                tx.session.rollback()
            late = append("late")
            assert read(begun) == [late]

    def test_the_position_waits_for_open_transactions(self, uow, append, read):
        """A tail does not begin after an id below which one can still appear."""
        tail = EventTail()
        with uow.begin() as early:
            Events(early).append("early", Kind.QUEUED)
            late = append("late")
            read(tail)
            assert tail.position is None
        read(tail)
        assert tail.position == late

    def test_every_event_of_many_writers_is_read_once_in_order(self, uow, read, begun):
        """While eight writers commit and roll back, a tail reads all that was committed, in order."""
        committed = []

        def write(number):
            for turn in range(20):
                with uow.begin() as tx:
                    Events(tx).append(f"{number}-{turn}", Kind.QUEUED)
                    if (number + turn) % 5 == 0:
                        tx.session.rollback()
                    else:
                        committed.append(f"{number}-{turn}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        seen = []
        while any(thread.is_alive() for thread in threads):
            seen += read(begun)
        for thread in threads:
            thread.join()
        seen += read(begun) + read(begun)
        assert seen == sorted(set(seen))
        with uow.read() as tx:
            there = {event.id: event.generation_id for event in Events(tx).after(0, 1000)}
        assert [there[one] for one in seen] == list(there.values())
        assert sorted(there.values()) == sorted(committed)
