"""An engine without a unit of work."""

import pytest

from server.db.engine import open_engine


@pytest.fixture
def engine(database_url):
    """An engine on a migrated database."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()
