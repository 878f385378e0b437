"""A bare handler that commits the rows of a submission and does nothing else: what ours is measured against.

It is Litestar on the same HTTP server, without authentication, limits, checks, logs or wake-ups, and it
writes through plain sqlite3 to a database with the same tables, indexes and triggers.
"""

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import uvicorn
from litestar import Litestar, post
from litestar.params import FromPath

from benchmark.filling import LIMITS, request_in
from benchmark.plan import Plan
from benchmark.running import child, database, prepared_folder, read_line, send
from benchmark.serving import new_client
from catalog.tiers import Tier
from server.caller import Caller
from server.db.engine import set_pragmas
from server.generations.submission import submit

DATABASE: Final = "avatar-creator.db"
HOLD: Final = "UPDATE accounts SET available = available - ?, held = held + ? WHERE user_id = ?"
OWNERS: Final = "SELECT id, user_id FROM projects"
CREDITS: Final = "SELECT credits FROM generations WHERE id = ?"
COPIED: Final = {
    "generations": "id = ?",
    "ledger_transfers": "kind = 'hold' AND reference_id = ?",
    "events": "generation_id = ?",
}
"""Which rows one submission inserts itself, by table; triggers insert the postings and what is counted."""


class Rows:
    """Commits the rows of one submission again and again, each time for another generation."""

    def __init__(self, file: Path, generation_id: str) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        set_pragmas(self._connection, None)
        self._owners = dict(self._connection.execute(OWNERS))
        (self._credits,) = self._connection.execute(CREDITS, [generation_id]).fetchone()
        self._inserts = [self._insert(table, where, generation_id) for table, where in COPIED.items()]

    def commit(self, project_id: str) -> str:
        """Commit one more generation of a project's owner; return its id."""
        generation_id, user_id = str(uuid4()), self._owners[project_id]
        changed = {"id": generation_id, "project_id": project_id, "user_id": user_id}
        self._connection.execute("BEGIN IMMEDIATE")
        for statement, row in self._inserts:
            self._connection.execute(statement, row | changed)
        self._connection.execute(HOLD, [self._credits, self._credits, user_id])
        self._connection.execute("COMMIT")
        return generation_id

    def _insert(self, table: str, where: str, generation_id: str) -> tuple[str, dict[str, Any]]:
        """Build the statement that inserts a row like the submission's, for the generation `:id`."""
        found = self._connection.execute(f"SELECT * FROM {table} WHERE {where}", [generation_id])  # noqa: S608  # our own
        row = dict(zip((column[0] for column in found.description), found.fetchone(), strict=True))
        if table != "generations":
            del row["id"]  # the database numbers them
        values = [":id" if value == generation_id else f":{name}" for name, value in row.items()]
        return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(values)})", row  # noqa: S608


def bare_app(rows: Rows) -> Litestar:
    """Return the application with the one handler."""

    # Without a thread: that is faster here, and nothing is faster than what ours is measured against.
    @post(
        "/api/avatar-creator/projects/{project_id:str}/avatars/generate",
        status_code=200,
        sync_to_thread=False,
    )
    def generate(project_id: FromPath[str], data: dict[str, str]) -> dict[str, str]:
        return {"id": rows.commit(project_id), "name": data["name"]}

    return Litestar([generate], logging_config=None)


def serve(database_file: str, generation_id: str, answer: Callable[..., None]) -> None:
    """Serve the bare handler until a signal; answers with its port."""
    app = bare_app(Rows(Path(database_file), generation_id))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answer(port=listening.getsockname()[1])
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
        uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def running_bare(plan: Plan) -> Iterator[tuple[psutil.Process, list[dict[str, Any]]]]:
    """Start the bare handler on a database of its own; yield its process and clients that know its port."""
    with prepared_folder() as data_dir, database(data_dir) as uow:
        clients = [new_client(uow) for _ in range(plan.effort.clients)]
        caller = Caller(clients[0]["user_id"], Tier.FREE)
        first = submit(uow, lambda _: None, caller, request_in(clients[0]["project_id"]), LIMITS)
        with child("bare-submits", plan.weights, data_dir) as process:
            send(process, {"file": str(data_dir / DATABASE), "generation": first.generation.id})
            port = read_line(process)["port"]
            yield psutil.Process(process.pid), [client | {"port": port} for client in clients]
