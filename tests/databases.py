"""The databases of tests: of which kinds they are, the roles on PostgreSQL, and how to connect as each."""

from typing import Final

import pytest
from sqlalchemy import make_url

from server.db.engine import open_engine
from server.db.migrate import migrate
from server.db.roles import Role, make_roles

ONE_DATABASE: Final = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests of what comes before the database or beside it: they run on SQLite, and not on PostgreSQL too."""

OWNER: Final = Role("avatar_owner", "of the owner")
SERVER: Final = Role("avatar_server", "of the server")


def with_roles(superuser_url: str) -> None:
    """Make the roles of a database as an operator's deployment does, and migrate it as its owner."""
    engine = open_engine(superuser_url)
    make_roles(engine, OWNER, SERVER)
    engine.dispose()
    engine = open_engine(as_role(superuser_url, OWNER))
    migrate(engine, server_role=SERVER.name)
    engine.dispose()


def as_role(url: str, role: Role) -> str:
    """Return the URL by which a role connects to the same database; SQLite's has none, and stays as it is."""
    if not url.startswith("postgresql"):
        return url
    changed = make_url(url).set(username=role.name, password=role.password)
    return changed.render_as_string(hide_password=False)


def as_superuser(url: str) -> str:
    """Return the URL by which the superuser connects, who needs no password on the machine itself."""
    return as_role(url, Role("postgres", ""))
