import subprocess
import sys
from pathlib import Path

from sqlalchemy import select

from server.db.base import load_tables, one_of
from server.generations import settlement
from server.generations.states import Reason
from server.projects.tables import Project

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


MANY = [f"none-{number}" for number in range(70_000)]  # more than a statement has parameters


class TestOneOf:
    def test_however_many(self, uow, make_account):
        """Of 70,000 texts the rows are found whose column is one of them, and none by an empty list."""
        wanted, _ = make_account().project_id, make_account()
        with uow.read() as tx:
            for texts, found in ((iter([*MANY, wanted, wanted]), [wanted]), ([], [])):
                query = select(Project.id).where(one_of(tx.session, Project.core().c.id, texts))
                assert list(tx.session.scalars(query)) == found

    def test_generations_end_together_however_many(self, uow, make_account, submit_one, claim):
        """What is cancelled or has waited too long is named in one statement, whatever their number."""
        account = make_account(credits=1000)
        running, waiting, late = (submit_one(account).id for _ in range(3))
        claim()
        assert settlement.cancel(uow, [*MANY, running, waiting]) == 2
        assert settlement.fail_waiting(uow, [late], Reason.GENERATION_TIMEOUT, "Late.") == 1
