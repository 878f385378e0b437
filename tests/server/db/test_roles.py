"""What the role that serves may do on a real PostgreSQL, and what it may not."""

from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from server.db.engine import open_engine
from server.db.migrate import migrate
from server.db.roles import NotPostgresql, Role, RoleUnknown, make_roles
from tests.databases import OWNER, SERVER, as_role, as_superuser

ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def superuser(database_url):
    """The engine of PostgreSQL's superuser."""
    engine = open_engine(as_superuser(database_url))
    yield engine
    engine.dispose()


def refused(uow, statement, **values):
    """Return PostgreSQL's code and words for a statement that it refuses."""
    with uow.begin() as tx, pytest.raises(DBAPIError) as caught:
        tx.session.execute(text(statement), values)
    return caught.value.orig.sqlstate, str(caught.value.orig)


FORBIDDEN = "42501"  # Source: PostgreSQL's error codes: insufficient_privilege


@ON_POSTGRESQL
class TestServing:
    def test_the_tests_run_as_it(self, uow):
        """The tests of the server on PostgreSQL run as this role, which is no superuser and owns nothing."""
        with uow.begin() as tx:
            row = tx.session.execute(
                text(
                    "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, "
                    "(SELECT count(*) FROM pg_class WHERE relowner = pg_roles.oid) FROM pg_roles "
                    "WHERE rolname = current_user"
                )
            ).one()
        assert tuple(row) == (False, False, False, False, False, 0)

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TABLE mine (id integer)",
            "CREATE TEMPORARY TABLE mine (id integer)",
            "ALTER TABLE accounts DROP CONSTRAINT ck_accounts_available",
            "DROP TABLE ledger_postings",
            "DROP TRIGGER ledger_postings_check ON ledger_postings",
            "ALTER TABLE ledger_postings DISABLE TRIGGER ALL",
            "SET LOCAL session_replication_role = replica",
            "CREATE OR REPLACE FUNCTION post_transfer() RETURNS trigger LANGUAGE sql AS ''",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine SUPERUSER",
            "SET ROLE avatar_owner",
            "ALTER ROLE avatar_server SUPERUSER",
            "COPY accounts TO PROGRAM 'true'",
            "SELECT pg_read_file('PG_VERSION')",
            "TRUNCATE events",
            "TRUNCATE ledger_postings",
            "TRUNCATE ledger_transfers CASCADE",
            "TRUNCATE uncounted",
            "UPDATE ledger_postings SET amount = 0",
            "UPDATE ledger_transfers SET credits = 0",
            "UPDATE events SET kind = 'failed'",
            "UPDATE database_identity SET identity = 'other'",
            "UPDATE alembic_version SET version_num = '0001'",
            "DELETE FROM events",
            "DELETE FROM ledger_postings",
            "DELETE FROM ledger_transfers",
            "DELETE FROM users",
            "DELETE FROM accounts",
        ],
    )
    def test_refuses(self, uow, statement):
        """No statement changes what tables are, what triggers do, or what was written down."""
        code, words = refused(uow, statement)
        assert code == FORBIDDEN, words

    def test_cannot_make_credits(self, uow, make_account):
        """A posting that its transfer does not ask for is refused, whoever inserts it."""
        account = make_account()
        code, words = refused(
            uow,
            "INSERT INTO ledger_postings (transfer_id, user_id, account, amount) "
            "SELECT max(id), :user, 'available', 1000 FROM ledger_transfers",
            user=account.user_id,
        )
        assert (code, words.splitlines()[0]) == ("23000", "a posting follows from its transfer")


class TestMakeRoles:
    def test_an_older_database_is_moved(self, postgres):
        """What a superuser has migrated becomes the owner's, who migrates it then, and the server serves."""
        name = f"old_{uuid4().hex}"
        admin = create_engine(postgres("postgres").replace("postgresql:", "postgresql+psycopg:"))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        old = open_engine(postgres(name))
        try:
            migrate(old, "0011")
            for _ in range(2):  # the second time nothing is left to do
                make_roles(old, OWNER, SERVER)
            owner = open_engine(as_role(postgres(name), OWNER))
            migrate(owner, server_role=SERVER.name)
            owner.dispose()
            with old.connect() as connection:
                owners = connection.execute(
                    text(
                        "SELECT DISTINCT relowner::regrole::text FROM pg_class "
                        "WHERE relnamespace = 'public'::regnamespace UNION "
                        "SELECT proowner::regrole::text FROM pg_proc "
                        "WHERE pronamespace = 'public'::regnamespace"
                    )
                ).scalars()
                assert list(owners) == [OWNER.name]
            server = open_engine(as_role(postgres(name), SERVER))
            with server.begin() as connection:
                connection.execute(
                    text(
                        "INSERT INTO users (id, tier, created_at) VALUES ('ada', 'free', now()); "
                        "INSERT INTO accounts (user_id, available, held) VALUES ('ada', 0, 0)"
                    )
                )
            server.dispose()
        finally:
            old.dispose()
            with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            admin.dispose()

    @ON_POSTGRESQL
    def test_a_password_is_changed(self, superuser, database_url):
        """A role that is there gets the password that is named, of any characters, which no statement has."""
        changed = Role("avatar_other", 'It\'s \\ "quoted" \u00fc')
        try:
            make_roles(superuser, OWNER, Role(changed.name, "first"))
            make_roles(superuser, OWNER, changed)
            engine = open_engine(as_role(database_url, changed))
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT current_user")) == changed.name
            engine.dispose()
            with superuser.connect() as connection:
                stored = connection.scalar(
                    text("SELECT rolpassword FROM pg_authid WHERE rolname = 'avatar_other'")
                )
            assert stored.startswith("SCRAM-SHA-256$")
        finally:
            with superuser.begin() as connection:
                connection.execute(text("DROP OWNED BY avatar_other; DROP ROLE avatar_other"))

    @ON_POSTGRESQL
    def test_an_unknown_role_is_granted_nothing(self, database_url):
        """Granting to a role that is missing says so, and names the command that makes it."""
        owner = open_engine(as_role(database_url, OWNER))
        with pytest.raises(RoleUnknown, match="avatar-creator roles"):
            migrate(owner, server_role="nobody")
        owner.dispose()

    def test_sqlite_has_none(self, tmp_path):
        """SQLite has no roles."""
        engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
        with pytest.raises(NotPostgresql):
            make_roles(engine, OWNER, SERVER)
        with pytest.raises(NotPostgresql):
            migrate(engine, server_role=SERVER.name)
        engine.dispose()
