"""Fills a database with a history: one generation that was really delivered, as many times as wanted.

Every row is copied from one that the program itself wrote, by statements that the database runs alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, create_engine, text

from benchmark.overhead import PROMPT
from catalog.orders import Provenance
from catalog.tiers import Tier
from catalog.traits import Traits
from server.accounts.repository import Users
from server.caller import Caller
from server.credits.repository import Ledger
from server.db.base import load_tables
from server.db.unit_of_work import UnitOfWork
from server.events.repository import Events
from server.events.tables import Kind
from server.generations import settlement
from server.generations.submission import GenerationRequest, Limits, submit
from server.generations.tables import Generation
from server.images.store import ImageStore, StoredImage
from server.projects import service as projects
from server.scheduling.fair_queue import FairQueue
from server.scheduling.reaper import Reaper
from server.settings import Settings

LIMITS: Final = Limits(max_depth=10_000, max_per_user=20)
SECONDS: Final = {"encode": 0.1, "step": 2.8, "decode": 0.1}
LEASE_S: Final = 60.0
CREDITS: Final = 1_000_000_000
USERS: Final = 1000
"""The other users, among whom the rest of the history is spread."""

NUMBERS: Final = (
    "(WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :count) "
    "SELECT n FROM counted) AS number"
)
NAMES: Final = {
    "sqlite": "printf('%s%012d', '{kind}', {number})",
    "postgresql": "'{kind}' || lpad(CAST({number} AS text), 12, '0')",
}
# The last copy is the newest, as rows come in time: recent events are those with the greatest ids.
AGO: Final = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', {column}, '-' || (:count - n) || ' seconds')",
    "postgresql": "{column} - (:count - n) * interval '1 second'",
}


def new_user(uow: UnitOfWork, user_id: str) -> tuple[Caller, str]:
    """Make a user with more credits than the benchmark can spend, and a project; return both."""
    with uow.begin() as tx:
        Users(tx).add(None, Tier.FREE, user_id=user_id)
        Ledger(tx).open_account(user_id)
        Ledger(tx).grant(user_id, CREDITS, "Benchmark", user_id)
    caller = Caller(user_id, Tier.FREE)
    return caller, projects.create(uow, caller, "Benchmark").id


def request_in(project_id: str) -> GenerationRequest:
    """Return what the user of a project asks for."""
    return GenerationRequest(project_id, "Ada", PROMPT, Traits(persona_name="Ada Lovelace"), seed=7)


def claim_next(uow: UnitOfWork) -> Any:
    """Claim the next generation as a worker does."""
    with uow.begin() as tx:
        claimed = FairQueue(tx).claim("benchmark", LEASE_S, ())
        if claimed is None:
            raise LookupError("nothing waits")
        Events(tx).append(claimed[1].id, Kind.CLAIMED, attempt=claimed[0].attempt, worker="benchmark")
    return claimed


def deliver(uow: UnitOfWork, claimed: Any, number: int) -> Generation:
    """Settle a claimed generation as a worker does that has stored its image."""
    claim, generation = claimed
    image = StoredImage(f"image-{number}", "0" * 64)
    provenance = Provenance.of_order("scripted", generation.order)
    return settlement.complete(uow, claim, image, provenance, SECONDS)


def fill(uow: UnitOfWork, settings: Settings, caller: Caller, project_id: str, own: int, others: int) -> None:
    """Give a user so many delivered generations, and the other users theirs.

    Of each there are the generation, its hold and capture with their postings, three events and the avatar.
    """
    submit(uow, lambda _: None, caller, request_in(project_id), LIMITS)
    delivered = deliver(uow, claim_next(uow), 0)
    Reaper(uow, ImageStore(settings.server.images_dir), settings).add_up()
    # An engine without deadlines: a copy takes a minute.
    engine = create_engine(uow.engine.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        filling = _Filling(connection, delivered)
        filling.multiply(caller.user_id, project_id, own)
        if others:
            filling.add_users()
            filling.multiply(None, None, others)
        filling.finish(own + others)
    engine.dispose()


def copies(table: str, changes: Mapping[str, str | None], where: str) -> str:
    """Return the statement that inserts :count copies of the one row that a condition finds.

    changes: expressions by column, of the copy's number n. None: the database numbers the copies itself.
    """
    columns = {column.name: column.name for column in load_tables().tables[table].columns}
    values = {name: value for name, value in (columns | dict(changes)).items() if value is not None}
    return (
        f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "  # noqa: S608  # our own
        f"FROM (SELECT * FROM {table} WHERE {where}) AS original CROSS JOIN {NUMBERS}"
    )


class _Filling:
    """Copies the rows of one delivered generation."""

    def __init__(self, connection: Connection, delivered: Generation) -> None:
        self._connection = connection
        self._delivered = delivered
        self._dialect = connection.dialect.name
        self._offset = 0
        self._of = {"of_generation": delivered.id, "of_user": delivered.user_id}
        if self._dialect == "sqlite":
            self._run("PRAGMA cache_size = -400000")
            self._run("PRAGMA synchronous = OFF")
        else:
            self._run("SET synchronous_commit = off")

    def add_users(self) -> None:
        """Add the other users, each with an account and a project."""
        user = {"id": self._name("u"), "email": "NULL"}
        self._copy("users", user, "id = :of_user", USERS)
        self._copy("accounts", {"user_id": self._name("u"), "held": "0"}, "user_id = :of_user", USERS)
        project = {"id": self._name("u"), "user_id": self._name("u")}
        self._copy("projects", project, "user_id = :of_user", USERS)
        grant = {
            "id": f"n + {self._next_transfer()}",
            "user_id": self._name("u"),
            "reference_id": self._name("u"),
            "grant_reference": "NULL",
        }
        self._copy("ledger_transfers", grant, "user_id = :of_user AND kind = 'grant'", USERS)

    def multiply(self, user_id: str | None, project_id: str | None, count: int) -> None:
        """Copy the generation with all that belongs to it. None: for the other users by turns."""
        self._of["user"] = user_id or ""
        self._of["project"] = project_id or ""
        turn = self._name("u", f"(n % {USERS}) + 1")
        owner = ":user" if user_id else turn
        project = ":project" if project_id else turn
        generation, first = self._name("g", f"n + {self._offset}"), self._next_transfer()
        aged = {"user_id": owner, "created_at": self._ago("created_at")}
        kept = {**aged, "updated_at": self._ago("updated_at"), "project_id": project}
        ends = {name: self._ago(name) for name in ("started_at", "completed_at")}
        avatar = self._name("a", f"n + {self._offset}")
        drawn = {"id": generation, "avatar_id": avatar, **kept, **ends}
        self._copy("generations", drawn, "id = :of_generation", count)
        image = self._name("i", f"n + {self._offset}")
        self._copy(
            "avatars",
            {"id": avatar, "generation_id": generation, "image_key": image, **kept},
            "generation_id = :of_generation",
            count,
        )
        with self._without_triggers():
            hold, capture = f"2 * n + {first}", f"2 * n + 1 + {first}"
            transfer = {**aged, "reference_id": generation}
            for kind, own in (("hold", {"id": hold}), ("capture", {"id": capture, "settles_id": hold})):
                where = f"kind = '{kind}' AND reference_id = :of_generation"
                self._copy("ledger_transfers", transfer | own, where, count)
            self._run(
                "INSERT INTO ledger_postings (transfer_id, user_id, account, amount) "
                "SELECT transfer_id, user_id, account, amount FROM ledger_sides WHERE transfer_id > :first",
                first=first + 1,
            )
        event = {"id": None, "generation_id": generation, "at": self._ago("at")}
        for kind in ("queued", "claimed", "completed"):
            self._copy("events", event, f"generation_id = :of_generation AND kind = '{kind}'", count)
        self._offset += count

    def finish(self, count: int) -> None:
        """Let the accounts and the counters agree with the history, and the planner know it."""
        self._run(
            "UPDATE accounts SET available = (SELECT sum(amount) FROM ledger_postings AS posting "
            "WHERE posting.user_id = accounts.user_id AND posting.account = 'available')"
        )
        self._run("DELETE FROM uncounted")
        self._run("UPDATE tallies SET value = value * :count", count=count)
        if self._dialect == "postgresql":
            self._run("SELECT setval('ledger_transfers_id_seq', (SELECT max(id) FROM ledger_transfers))")
            self._run("VACUUM ANALYZE")
        else:
            self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    def _copy(self, table: str, changes: Mapping[str, str | None], where: str, count: int) -> None:
        self._run(copies(table, changes, where), count=count)

    def _name(self, kind: str, number: str = "n") -> str:
        return NAMES[self._dialect].format(kind=kind, number=number)

    def _ago(self, column: str) -> str:
        return AGO[self._dialect].format(column=column)

    def _next_transfer(self) -> int:
        return int(self._connection.scalar(text("SELECT max(id) FROM ledger_transfers")) or 0)

    def _run(self, statement: str, **parameters: Any) -> None:
        bound = {name: value for name, value in (self._of | parameters).items() if f":{name}" in statement}
        self._connection.execute(text(statement), bound)

    @contextmanager
    def _without_triggers(self) -> Iterator[None]:
        """Post by one statement what the triggers would post for each row."""
        if self._dialect == "postgresql":
            for table in ("ledger_transfers", "ledger_postings"):
                self._run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            yield
            for table in ("ledger_transfers", "ledger_postings"):
                self._run(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            return
        triggers = self._connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'ledger_%'")
        ).all()
        for name, _ in triggers:
            self._run(f"DROP TRIGGER {name}")
        yield
        for _, sql in triggers:
            self._connection.exec_driver_sql(sql)
