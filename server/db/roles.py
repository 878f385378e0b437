"""The roles of PostgreSQL: the owner of the schema, which migrates it, and the role that serves. See ADR 25.

The superuser makes both and does nothing else. SQLite has no roles.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import sql
from sqlalchemy import Connection, Engine

from server.db.base import KEPT, PRIVILEGES, load_tables

_ATTRIBUTES: Final = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
# What is not the new owner's. A sequence of a column has the owner of its table.
_OWNED_BY_OTHERS: Final = """
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text
    FROM pg_class AS relation
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
    AND relowner <> %(owner)s::regrole
    AND NOT EXISTS (
        SELECT 1 FROM pg_depend
        WHERE objid = relation.oid AND (deptype = 'e' OR relkind = 'S' AND deptype IN ('a', 'i'))
    )
    UNION ALL
    SELECT 'ROUTINE', oid::regprocedure::text FROM pg_proc AS routine
    WHERE pronamespace = 'public'::regnamespace AND proowner <> %(owner)s::regrole
    AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = routine.oid AND deptype = 'e')
"""


@dataclass(frozen=True)
class Role:
    """A role that can connect with a password."""

    name: str
    password: str = field(repr=False)


class NotPostgresql(ValueError):
    """The database has no roles."""

    def __str__(self) -> str:
        """Say which database has roles."""
        return "Only PostgreSQL has roles: DATABASE_URL must begin with postgresql://"


class RoleUnknown(ValueError):
    """The database has no role of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"PostgreSQL has no role {name}. Run 'avatar-creator roles' first")
        self.name = name


def make_roles(engine: Engine, owner: Role, server: Role) -> None:
    """Make both roles, or set the passwords of those there; give the database and its schema to the owner.

    Each statement is a transaction of its own, so none holds two locks: this may be done while others work.
    Tables that another role owned become the owner's, so that an older database is moved by it.

    Raises:
        NotPostgresql: the engine is SQLite's.

    """
    _check(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver: Any = connection.connection.driver_connection
        for role in (owner, server):
            _set_role(driver, role)
        database = sql.Identifier(driver.info.dbname)
        names = {
            "database": database,
            "owner": sql.Identifier(owner.name),
            "server": sql.Identifier(server.name),
        }
        for statement in (
            "ALTER DATABASE {database} OWNER TO {owner}",
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {database} TO {server}",
            "ALTER SCHEMA public OWNER TO {owner}",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "GRANT USAGE ON SCHEMA public TO {server}",
        ):
            driver.execute(sql.SQL(statement).format(**names))
        for kind, name in driver.execute(_OWNED_BY_OTHERS, {"owner": owner.name}).fetchall():
            # The name comes quoted from PostgreSQL, and routines with the types of their arguments.
            driver.execute(
                sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(kind), sql.SQL(name), names["owner"])
            )


def grant(connection: Connection, server: str) -> None:
    """Grant the serving role exactly what it needs of each table, and nothing else; as the schema's owner.

    Raises:
        NotPostgresql: the connection is to SQLite.
        RoleUnknown: there is no such role.

    """
    _check(connection.engine)
    driver: Any = connection.connection.driver_connection
    if driver.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [server]).fetchone() is None:
        raise RoleUnknown(server)
    role = sql.Identifier(server)
    for kind in ("TABLES", "SEQUENCES"):
        revoke = sql.SQL("REVOKE ALL ON ALL {} IN SCHEMA public FROM {}")
        driver.execute(revoke.format(sql.SQL(kind), role))
    for table, privileges in _needed():
        granted = sql.SQL("GRANT {} ON {} TO {}")
        driver.execute(granted.format(sql.SQL(", ".join(privileges)), sql.Identifier(table), role))
    driver.execute(sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(role))


def _check(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        raise NotPostgresql


def _set_role(driver: Any, role: Role) -> None:
    """Make a role, or set its password. The server gets the password's SCRAM verifier only."""
    name = sql.Identifier(role.name)
    exists = driver.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role.name]).fetchone()
    verifier = driver.pgconn.encrypt_password(role.password.encode(), role.name.encode(), b"scram-sha-256")
    statement = sql.SQL("{} ROLE {} WITH {} PASSWORD {}").format(
        sql.SQL("ALTER" if exists else "CREATE"), name, sql.SQL(_ATTRIBUTES), sql.Literal(verifier.decode())
    )
    driver.execute(statement)


def _needed() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each table and view with the privileges that serving needs."""
    for table in load_tables().sorted_tables:
        yield table.name, table.info.get(PRIVILEGES, KEPT)
    for name in ("ledger_sides", "alembic_version"):  # a view that a trigger reads; what readiness compares
        yield name, ("SELECT",)
