import shutil
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from server.db.engine import open_engine
from server.db.migrate import is_current, migrate, unmigrate
from server.db.tables import Table


@pytest.fixture
def engine(database_url):
    """An engine on a migrated database."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


class TestMigrations:
    def test_the_revisions_make_the_tables_that_the_program_maps(self, engine):
        """Alembic finds no difference between the migrated database and the mapped tables."""
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []

    def test_down_and_up_again(self, engine):
        """All revisions can be undone, down to an empty database, and applied again."""
        unmigrate(engine)
        assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
        assert not is_current(engine)
        migrate(engine)
        assert is_current(engine)

    def test_many_processes_migrate_at_once(self, engine, database_url, at_once):
        """Four processes that start on an empty database migrate it once, and none of them fails."""
        unmigrate(engine)

        def start():
            own = open_engine(database_url)
            try:
                migrate(own)
            finally:
                own.dispose()

        assert at_once(4, start) == [None] * 4
        assert is_current(engine)

    def test_operators_look_with_sql(self, sqlite_template, tmp_path):
        """The query that operators know answers the four entries."""
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
