"""What happened stays as it was recorded, whatever else writes to the database."""

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from server.events.repository import Events
from server.events.tables import Event
from server.generations.deletion import delete_project
from tests.databases import OWNER, as_role


@pytest.fixture
def operator(database_url):
    """Somebody at a shell of SQL, as the owner of the schema and without this program's settings."""
    url = make_url(as_role(database_url, OWNER))
    driver = "postgresql+psycopg" if url.get_backend_name() == "postgresql" else url.drivername
    engine = create_engine(url.set(drivername=driver))
    yield engine
    engine.dispose()


def recorded(uow, generation):
    with uow.read() as tx:
        return [(event.id, event.kind, event.data) for event in Events(tx).of(generation.id)]


class TestAppendOnly:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE events SET kind = 'completed'",
            "DELETE FROM events",
            "TRUNCATE events",
            "REPLACE INTO events SELECT id, generation_id, 'failed', data, at FROM events",
        ],
    )
    def test_by_hand(self, uow, operator, make_account, submit_one, statement):
        """No statement of an operator changes, deletes or replaces an event."""
        generation = submit_one(make_account())
        before = recorded(uow, generation)
        with pytest.raises(DBAPIError) as refused, operator.begin() as connection:
            connection.execute(text(statement))
        only_here = {"TRUNCATE": "sqlite", "REPLACE": "postgresql"}
        if only_here.get(statement.split()[0]) != operator.dialect.name:  # where it is no SQL at all
            assert "append-only" in str(refused.value)
        assert recorded(uow, generation) == before

    def test_they_outlive_their_project(self, uow, make_account, submit_one):
        """The events of a generation stay when its project is deleted."""
        account = make_account()
        generation = submit_one(account)
        delete_project(uow, lambda _keys: None, account.caller, account.project_id)
        with uow.read() as tx:
            kinds = [event.kind for event in tx.session.query(Event).order_by(Event.id)]
        assert kinds == ["queued", "failed"]
        assert len(recorded(uow, generation)) == 2
