"""Measures the server by itself: its start, its memory and its rate of submits."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from benchmark.overhead import PROMPT
from benchmark.plan import Advance, Plan, Weights
from benchmark.record import Figure, percentile
from benchmark.running import (
    child,
    database,
    prepared_folder,
    read_line,
    running_api,
    running_up,
    send,
)
from catalog.tiers import Tier
from server.accounts.repository import Users
from server.credits.repository import Ledger
from server.db.unit_of_work import UnitOfWork
from server.projects.repository import Projects
from server.projects.tables import Project
from server.supervisor.embedded_redis import EmbeddedRedis

CREDITS: Final = 10_000_000
PRICE: Final = 8  # Source: the catalogue; all submits of a free user choose the base entry
MIB: Final = 2**20


def measure_api(plan: Plan, advance: Advance) -> list[Figure]:
    """Start the API process alone: its time to ready, its memory, and that it loads no torch."""
    seconds, resident, torch = [], [], 0
    with prepared_folder() as data_dir:
        for _ in range(plan.effort.starts):
            advance("starting the API")
            began = time.perf_counter()
            with running_api(data_dir, plan.weights) as (process, _port):
                seconds.append(time.perf_counter() - began)
                resident.append(process.memory_info().rss / MIB)
                torch += sum("libtorch" in mapped.path for mapped in process.memory_maps())
    return [
        Figure("API: start to ready, median", statistics.median(seconds), "s", at_most=2),
        Figure("API: resident memory when ready, most", max(resident), "MiB", at_most=150),
        Figure("API: torch libraries loaded", torch, "", at_most=0),
    ]


def measure_up(plan: Plan, advance: Advance) -> list[Figure]:
    """Start the whole server: its time until it accepts a generation."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(plan.effort.starts):
            advance("starting everything")
            began = time.perf_counter()
            with running_up(Path(folder), plan.weights):
                seconds.append(time.perf_counter() - began)
    return [
        Figure("up: start to ready on a new data folder", seconds[0], "s"),
        Figure("up: start to ready, median", statistics.median(seconds), "s", at_most=10),
    ]


def measure_submits(plan: Plan, advance: Advance) -> list[Figure]:
    """Submit from many clients at once, with Redis and without a worker; then check every balance."""
    with prepared_folder() as data_dir, database(data_dir) as uow:
        redis = EmbeddedRedis(data_dir / "redis.url")
        redis.start()
        try:
            clients = [new_client(uow) for _ in range(plan.effort.clients)]
            for number, client in enumerate(clients):
                client["requests"] = plan.effort.submits // len(clients) + (
                    number < plan.effort.submits % len(clients)
                )
            with running_api(data_dir, plan.weights) as (process, port):
                load(data_dir, plan.weights, port, [client | {"requests": 5} for client in clients])
                advance("submitting")
                before = process.cpu_times()
                answer = load(data_dir, plan.weights, port, clients)
                after = process.cpu_times()
                resident = process.memory_info().rss / MIB
        finally:
            redis.stop()
        wrong = 0
        with uow.read() as tx:
            for client in clients:
                balance = CREDITS - PRICE * (client["requests"] + 5)
                wrong += Ledger(tx).available(client["user_id"]) != balance
            wrong += len(Ledger(tx).drifts()) + (Ledger(tx).sum_of_postings() != 0)
    latencies_ms = [seconds * 1000 for seconds in answer["latencies_s"]]
    busy_ms = (after.user + after.system - before.user - before.system) * 1000
    refused = sum(status != 200 for status in answer["statuses"])  # noqa: PLR2004  # the contract's success
    return [
        Figure("submit: rate", len(latencies_ms) / answer["seconds"], "/s", at_least=100),
        Figure("submit: latency p50", statistics.median(latencies_ms), "ms"),
        Figure("submit: latency p99", percentile(latencies_ms, 99), "ms", at_most=150),
        Figure("submit: longest", max(latencies_ms), "ms"),
        Figure("submit: processor time a request, in the API", busy_ms / len(latencies_ms), "ms"),
        Figure("submit: not accepted", refused, "", at_most=0),
        Figure("submit: accounts that do not agree", wrong, "", at_most=0),
        Figure("submit: resident memory afterwards", resident, "MiB", at_most=150),
    ]


def load(data_dir: Path, weights: Weights, port: int, clients: list[dict[str, Any]]) -> dict[str, Any]:
    """Let a child process submit for all clients; return its answer."""
    with child("load", weights, data_dir) as process:
        send(process, {"host": "127.0.0.1", "port": port, "prompt": PROMPT, "clients": clients})
        return read_line(process)


def new_client(uow: UnitOfWork) -> dict[str, Any]:
    """Make a free user with a key, a project and more credits than the benchmark can spend."""
    with uow.begin() as tx:
        user = Users(tx).add(None, Tier.FREE)
        Ledger(tx).open_account(user.id)
        Ledger(tx).grant(user.id, CREDITS, "Benchmark", user.id)
        key = Users(tx).mint_key(user.id, "benchmark")
        project = Project(id=str(uuid4()), user_id=user.id, name="Benchmark")
        Projects(tx).add(project)
    return {"user_id": user.id, "token": key.token, "project_id": project.id}
