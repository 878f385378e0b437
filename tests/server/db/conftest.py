"""An engine without a unit of work."""

import pytest


@pytest.fixture
def engine(owner):
    """An engine on a migrated database, as the owner of its schema."""
    return owner.engine
