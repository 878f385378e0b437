import json
import shutil
import sqlite3
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import bindparam, inspect, text
from sqlalchemy.exc import IntegrityError

from catalog.orders import Order, Provenance
from catalog.tiers import Tier
from catalog.traits import Traits
from server.accounts.repository import Users
from server.db.base import UtcDateTime, load_tables
from server.db.engine import open_engine
from server.db.migrate import MIGRATION_LOCK, migrate, missing_revision, newest_revision, unmigrate
from server.db.unit_of_work import UnitOfWork
from server.generations.tables import Generation
from server.generations.turns import STEP_S
from server.images.repository import Identities


def lacking(engine):
    """Return the revision that a database lacks."""
    with engine.connect() as connection:
        return missing_revision(connection)


class TestMigrations:
    def test_the_revisions_make_the_tables_that_the_program_maps(self, engine):
        """Alembic finds no difference between the migrated database and the mapped tables."""
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), load_tables()) == []

    def test_down_and_up_again(self, engine):
        """All revisions can be undone, down to an empty database, and applied again."""
        unmigrate(engine)
        assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
        assert lacking(engine) == newest_revision()
        migrate(engine)
        assert lacking(engine) is None

    def test_many_processes_migrate_at_once(self, engine, at_once):
        """Four processes that start on an empty database migrate it once, and none of them fails."""
        unmigrate(engine)

        def start():
            own = open_engine(engine.url.render_as_string(hide_password=False))
            try:
                migrate(own)
            finally:
                own.dispose()

        assert at_once(4, start) == [None] * 4
        assert lacking(engine) is None

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_a_lost_deadlock_is_tried_again(self, engine, beside):
        """A migration that PostgreSQL ends because of a deadlock begins again, and is made."""
        unmigrate(engine, "0018")
        with engine.begin() as connection:
            connection.execute(text("LOCK TABLE alembic_version"))
            migrating = beside(lambda: migrate(engine))  # has its own lock, and waits for ours
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        migrating.result()
        assert lacking(engine) is None

    def test_operators_look_with_sql(self, sqlite_template, tmp_path):
        """The query that operators use returns the four entries."""
        shutil.copy(sqlite_template, tmp_path / "copy.db")
        with sqlite3.connect(tmp_path / "copy.db") as connection:
            rows = connection.execute(
                "SELECT name, tier, enabled FROM ai_models WHERE app_id = 'avatar-creator'"
            ).fetchall()
        connection.close()
        assert sorted(rows) == [
            ("FLUX.1-dev + Realism LoRA", "basic", 1),
            ("FLUX.1-dev Base", "free", 1),
            ("FLUX.1-dev HD + Realism LoRA", "pro", 1),
            ("FLUX.1-schnell Fast", "basic", 1),
        ]


MOMENT = "'2026-01-02 03:04:05.000000+00:00'"
BORN = {"created_at": MOMENT, "updated_at": MOMENT}
ORDER = {
    "model_id": "black-forest-labs/FLUX.1-dev",
    "revision": None,
    "adapter": {"model_id": "me/lora", "scale": 0.9, "weight_name": "lora.safetensors", "revision": None},
    "prompt": "a fox, sharp focus",
    "width_px": 512,
    "height_px": 512,
    "steps": 28,
    "guidance_scale": 3.5,
    "max_text_tokens": 512,
    "seed": 7,
}
MAKING = {
    "backend": "local",
    "model_id": "black-forest-labs/FLUX.1-dev",
    "revision": None,
    "adapter": None,
    "seed": 7,
    "provider": None,
    "cost_microusd": 0,
    "attempts": [],
}
DRAFT = {"name": "Ada", "persona_name": "Ada L", "persona_personality": ["calm"], "gender": "female"}


class TestOldRows:
    @pytest.fixture
    def old(self, engine):
        """A database of revision 0005 with a generation as the program of that revision wrote it."""
        unmigrate(engine, "0005")
        as_json = "CAST(:{0} AS JSON)" if engine.dialect.name == "postgresql" else ":{0}"
        values = {"recipe": json.dumps(ORDER), "draft": json.dumps(DRAFT), "making": json.dumps(MAKING)}
        columns = {
            "users": {"id": "'u'", "tier": "'free'", "created_at": MOMENT},
            "projects": {"id": "'p'", "user_id": "'u'", "name": "'Mine'"} | BORN,
            "generations": {
                "id": "'g'",
                "user_id": "'u'",
                "project_id": "'p'",
                "status": "'pending'",
                "prompt": "'a fox'",
                "entry_key": "'k'",
                "entry_name": "'n'",
                "model_id": "'m'",
                "credits": "8",
                "attempt": "0",
                "losses": "0",
                "passed_on": "true",
                **BORN,
                **{name: as_json.format(name) for name in values},
            },
        }
        with engine.begin() as connection:
            for table, row in columns.items():
                names, kept = ", ".join(row), ", ".join(row.values())
                statement = text(f"INSERT INTO {table} ({names}) VALUES ({kept})")  # noqa: S608
                connection.execute(statement, values if table == "generations" else {})
        return engine

    def test_an_old_generation_is_read(self, old):
        """Order, provenance, traits and name of an old row are in their new columns, its source is text."""
        migrate(old)
        with UnitOfWork(old).read() as tx:
            generation = tx.session.get(Generation, "g")
        assert generation.order == Order.from_json(ORDER)
        assert generation.provenance == Provenance.from_json(MAKING)
        assert (generation.avatar_name, generation.failed_over) == ("Ada", True)
        assert generation.source_type == "text_to_image"
        assert generation.traits == Traits(
            persona_name="Ada L", persona_personality=("calm",), gender="female"
        )

    def test_a_downgrade_restores_the_old_row(self, old):
        """After a downgrade the row is as the program of revision 0005 wrote it."""
        migrate(old)
        unmigrate(old, "0005")
        with old.connect() as connection:
            row = connection.execute(text("SELECT recipe, draft, making, passed_on FROM generations")).one()
        kept = [value if isinstance(value, dict) else json.loads(value) for value in row[:3]]
        assert kept == [ORDER, DRAFT, MAKING]
        assert row.passed_on

    def test_the_leader_locks_are_there(self, old):
        """Each periodic task keeps its row, without which no process could run it."""
        migrate(old)
        with old.connect() as connection:
            tasks = connection.execute(text("SELECT name FROM leader_locks ORDER BY name")).scalars().all()
        assert tasks == ["audit", "images", "queue"]


class TestTurns:
    def test_what_waits_has_its_turn(self, engine, uow, make_account, submit_one, claim, generation_of):
        """After an update users take turns with what waited before it, and each keeps his own order."""
        many, other = make_account(credits=1000), make_account(Tier.PRO)
        waiting = [submit_one(many) for _ in range(3)]
        alone = submit_one(other)
        unmigrate(engine, "0016")
        migrate(engine)
        assert [generation_of(one.id).tier for one in (*waiting, alone)] == ["free"] * 3 + ["pro"]
        turns = [generation_of(one.id).turn - one.created_at.timestamp() for one in (*waiting, alone)]
        assert turns == pytest.approx([0, STEP_S, 2 * STEP_S, 0], abs=0.01)
        claimed = [claim().generation_id for _ in range(4)]
        assert sorted(claimed[:2]) == sorted([waiting[0].id, alone.id])
        assert claimed[2:] == [waiting[1].id, waiting[2].id]


class TestIdentity:
    def test_each_migrated_database_has_its_own(self, engine):
        """A migration gives the database one random identity of 128 bits, and no second row."""
        identities = set()
        for _ in range(2):
            unmigrate(engine, "0013")
            migrate(engine)
            with UnitOfWork(engine).read() as tx:
                identities.add(Identities(tx).own())
        assert len(identities) == 2
        assert all(len(bytes.fromhex(identity)) == 16 for identity in identities)
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(text("INSERT INTO database_identity (id, identity) VALUES (2, 'x')"))


class TestSharedEmails:
    def test_the_oldest_user_keeps_a_shared_email(self, engine):
        """Where users of an older program share an email, in whatever case, the oldest keeps it."""
        unmigrate(engine, "0010")
        unmigrate(engine, "-1")
        rows = [
            ("younger", "Ada@example.com", 2),
            ("oldest", "ada@Example.com ", 1),
            ("youngest", "ada@example.com", 3),
            ("twin-b", "twin@example.com", 1),
            ("twin-a", "twin@example.com", 1),
            ("blank", " ", 1),
            ("without", None, 1),
            ("alone", "bob@example.com", 1),
        ]
        insert = text(
            "INSERT INTO users (id, email, tier, created_at) VALUES (:id, :email, 'free', :born)"
        ).bindparams(bindparam("born", type_=UtcDateTime()))
        with engine.begin() as connection:
            for user_id, email, day in rows:
                born = datetime(2026, 1, day, tzinfo=UTC)
                connection.execute(insert, {"id": user_id, "email": email, "born": born})
        migrate(engine)
        with engine.connect() as connection:
            kept = dict(connection.execute(text("SELECT id, email FROM users")).all())
        assert {user_id: email for user_id, email in kept.items() if email is not None} == {
            "oldest": "ada@example.com",
            "twin-a": "twin@example.com",
            "alone": "bob@example.com",
        }
        assert len(kept) == len(rows)

    def test_a_downgrade_ends_the_keys_that_would_expire(self, engine, make_account, uow):
        """The older program knows no expiry, so a key that has one is revoked before it runs."""
        user = make_account().user_id
        with uow.begin() as tx:
            Users(tx).mint_key(user, "expires", datetime(2100, 1, 1, tzinfo=UTC))
        unmigrate(engine, "0010")
        unmigrate(engine, "-1")
        with engine.connect() as connection:
            revoked = dict(connection.execute(text("SELECT label, revoked_at FROM api_keys")).all())
        assert {label: at is not None for label, at in revoked.items()} == {"test": False, "expires": True}
