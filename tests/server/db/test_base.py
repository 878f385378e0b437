import subprocess
import sys
from pathlib import Path

from server.db.base import load_tables

ROOT = Path(__file__).parents[3]


class TestLoadTables:
    def test_every_noun_is_found(self):
        """The tables of every folder are known, without a list of folders anywhere."""
        tables = {path.parent.name for path in (ROOT / "server").glob("*/tables.py")}
        assert tables
        assert {"users", "accounts", "generations", "avatars", "leader_locks"} <= set(load_tables().tables)

    def test_a_process_that_imports_one_noun(self):
        """Foreign keys find their targets in a process that imports a single noun and opens the database."""
        program = (
            "from sqlalchemy import create_engine\n"
            "from server.avatars.tables import Avatar\n"
            "from server.db.unit_of_work import UnitOfWork\n"
            "UnitOfWork(create_engine('sqlite://'))\n"
            "print(sorted(key.column.table.name for key in Avatar.core().foreign_keys))\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
        )
        assert ran.stdout.strip() == "['projects', 'users']"
