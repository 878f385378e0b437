import threading
from datetime import timedelta

import pytest
from sqlalchemy import update

from server.accounts.key_uses import KeyUses
from server.accounts.repository import Users
from server.accounts.tables import ApiKey
from server.clock import now
from server.db.migrate import unmigrate


@pytest.fixture
def uses(uow):
    """The uses that one process has noted."""
    return KeyUses(uow)


@pytest.fixture
def key(uow, make_account):
    """The id of a key that was never used."""
    user_id = make_account().user_id
    with uow.begin() as tx:
        return Users(tx).mint_key(user_id, "test").stored.id


@pytest.fixture
def last_used(uow):
    """Read when a key was last used."""

    def read(key_id):
        with uow.read() as tx:
            return tx.session.get(ApiKey, key_id).last_used_at

    return read


class TestKeyUses:
    def test_a_use_is_written_later(self, uses, key, last_used):
        """Noting a use writes nothing; writing records its time."""
        before = now()
        uses.note(key)
        noted = now()
        assert last_used(key) is None
        uses.write()
        assert before <= last_used(key) <= noted

    def test_at_most_once_a_minute(self, uow, uses, key, last_used):
        """A use within a minute of the last one that was written changes nothing; a later one does."""
        uses.note(key)
        uses.write()
        first = last_used(key)
        for process in (uses, KeyUses(uow)):
            process.note(key)
            process.write()
        assert last_used(key) == first
        with uow.begin() as tx:
            tx.session.execute(update(ApiKey).values(last_used_at=first - timedelta(minutes=1)))
        uses.note(key)
        uses.write()
        assert last_used(key) > first - timedelta(seconds=1)

    def test_many_keys_at_once(self, uow, uses, last_used, make_account, at_once):
        """The uses of many keys, noted by many threads, are all written, by two processes at once too."""
        users = [make_account().user_id for _ in range(8)]
        with uow.begin() as tx:
            ids = [Users(tx).mint_key(user, "test").stored.id for user in users]
        other = KeyUses(uow)
        at_once(8, lambda: [process.note(key_id) for process in (uses, other) for key_id in ids])
        processes = [uses, other]
        assert at_once(2, lambda: processes.pop().write()) == [None, None]
        assert None not in [last_used(key_id) for key_id in ids]

    def test_what_is_noted_is_written_at_the_end(self, uses, key, last_used):
        """A process that stops writes what it has noted."""
        stopped = threading.Event()
        thread = threading.Thread(target=uses.run, args=(stopped,))
        thread.start()
        uses.note(key)
        stopped.set()
        thread.join()
        assert last_used(key) is not None

    def test_a_revoked_or_unknown_key_is_no_error(self, uses, key):
        """A use of a key that is gone is written to no row."""
        uses.note("no-such-key")
        uses.note(key)
        uses.write()

    def test_a_database_that_is_away_is_no_error(self, owner, uses, key, log_lines):
        """Uses that cannot be written are dropped, and the log says how many."""
        uses.note(key)
        unmigrate(owner.engine)
        uses.write()
        assert [(line["event"], line["keys"]) for line in log_lines()] == [("key_uses.database_away", 1)]
