"""The deadlines of the database and of Redis are settings, which reach every connection."""

import pytest
from sqlalchemy import text

from server.db.engine import DEADLINES, Deadlines, open_database
from server.http.limiter import Limiter
from server.scheduling.wakeups import WakeUps
from server.settings import SettingInvalid, Settings

OTHERS = {
    "DATABASE_CONNECT_TIMEOUT_S": "7",
    "DATABASE_POOL_TIMEOUT_S": "1.5",
    "DATABASE_LOCK_TIMEOUT_S": "2.5",
    "DATABASE_STATEMENT_TIMEOUT_S": "3.5",
    "DATABASE_IDLE_TIMEOUT_S": "4.5",
}


def read(data_dir, **environ):
    """Read settings from the given variables alone."""
    return Settings.from_environment(data_dir, environ)


class TestBounds:
    @pytest.mark.parametrize(
        ("variables", "refused", "words"),
        [
            ({"DATABASE_LOCK_TIMEOUT_S": "10"}, "DATABASE_STATEMENT_TIMEOUT_S", "which is 10"),
            ({"DATABASE_STATEMENT_TIMEOUT_S": "5"}, "DATABASE_STATEMENT_TIMEOUT_S", "more than DAT"),
            ({"DATABASE_IDLE_TIMEOUT_S": "9"}, "DATABASE_IDLE_TIMEOUT_S", "at least DATABASE_STATEMENT"),
            ({"DATABASE_CONNECT_TIMEOUT_S": "1"}, "DATABASE_CONNECT_TIMEOUT_S", "a number from 2 to 3600"),
            ({"DATABASE_POOL_TIMEOUT_S": "0"}, "DATABASE_POOL_TIMEOUT_S", "a number from 0.05 to 3600"),
            ({"REDIS_TIMEOUT_S": "inf"}, "REDIS_TIMEOUT_S", "a number from 0.05 to 3600"),
            ({"REDIS_LIMIT_TIMEOUT_S": "0"}, "REDIS_LIMIT_TIMEOUT_S", "a number from 0.05 to 3600"),
        ],
    )
    def test_a_deadline_that_makes_no_sense_is_refused(self, tmp_path, variables, refused, words):
        """Zero, no end, and a deadline that another one cuts short stop the start, by name and rule."""
        with pytest.raises(SettingInvalid, match=words) as caught:
            read(tmp_path, **variables)
        assert caught.value.name == refused

    def test_they_stand_beside_a_password(self, tmp_path):
        """A password that is put into the address leaves the deadlines as they were set."""
        settings = read(
            tmp_path,
            DATABASE_URL="postgresql://me@host/db",
            DATABASE_PASSWORD="x",  # noqa: S106  # a word
            **OTHERS,
        )
        assert settings.database.url == "postgresql://me:x@host/db"
        assert settings.database.pool_timeout_s == 1.5


class TestDatabase:
    def test_the_defaults_are_one(self, tmp_path):
        """A measurement that names no deadlines has those of an operator who sets none."""
        assert Deadlines(**read(tmp_path).database.deadlines) == DEADLINES

    @pytest.fixture
    def engine(self, tmp_path, database_url):
        """The engine of a process whose operator has set every deadline."""
        settings = read(tmp_path, DATABASE_URL=database_url, **OTHERS).database
        engine = open_database(settings)
        yield engine
        engine.dispose()

    def test_each_reaches_the_connections(self, engine):
        """The server, or SQLite, waits as long as the settings say; so does the pool."""
        assert engine.pool.timeout() == 1.5
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                assert connection.scalar(text("PRAGMA busy_timeout")) == 2500
                return
            shown = [
                connection.scalar(text(f"SHOW {name}_timeout"))
                for name in ("lock", "statement", "idle_in_transaction_session")
            ]
            driver = connection.connection.driver_connection
        assert shown == ["2500ms", "3500ms", "4500ms"]
        assert driver.answer_s == 5.5
        assert driver.info.get_parameters()["connect_timeout"] == "7"


class TestRedis:
    def test_each_client_has_its_own(self, tmp_path):
        """What wakes workers and what counts requests give up at their own deadlines."""
        settings = read(
            tmp_path, REDIS_URL="redis://host", REDIS_TIMEOUT_S="0.5", REDIS_LIMIT_TIMEOUT_S="0.1"
        )
        waking = WakeUps(settings)._link._connected().connection
        counting = Limiter(settings)._opened().storage.storage
        for client, timeout_s in ((waking, 0.5), (counting, 0.1)):
            arguments = client.connection_pool.connection_kwargs
            assert arguments["socket_timeout"] == arguments["socket_connect_timeout"] == timeout_s
