"""Measures what open streams of events cost those who submit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmark.plan import Advance, Plan
from benchmark.record import Figure, percentile
from benchmark.running import (
    assert_that,
    child,
    database,
    prepared_folder,
    read_line,
    running_api,
    running_redis,
    send,
)
from benchmark.serving import new_client
from benchmark.submits import load
from server.db.unit_of_work import UnitOfWork
from server.generations.repository import Generations
from server.generations.states import Status

READERS: Final = 500
SLOW: Final = 50  # of these, so many read nothing
OF_ONE_USER: Final = 20  # Source: the server's limit
ROUNDS: Final = 4  # with and without readers in turn: what else the machine does falls on both


def measure_streams(plan: Plan, advance: Advance) -> list[Figure]:
    """Submit without a reader and beside 500, in turn, on one server.

    Every submitting user has a stream of all generations; the other streams follow generations that wait.
    """
    latencies: dict[bool, list[float]] = {False: [], True: []}
    seconds = {False: 0.0, True: 0.0}
    with prepared_folder() as data_dir, database(data_dir) as uow, running_redis(data_dir):
        clients = [new_client(uow) for _ in range(plan.effort.clients)]
        each = max(1, plan.effort.submits // ROUNDS // len(clients))
        followed = [new_client(uow) for _ in range(READERS // OF_ONE_USER)]
        with running_api(data_dir, plan.weights) as (process, port):
            requests = [client | {"port": port, "requests": each} for client in clients]
            warm_up = [one | {"requests": 5} for one in requests]
            waiting = [one | {"port": port, "requests": 1} for one in followed]
            load(data_dir, plan.weights, warm_up + waiting)
            streams = _streams(uow, clients, followed)
            for round_ in range(ROUNDS):
                for beside in (False, True) if round_ % 2 else (True, False):
                    advance("submitting beside readers" if beside else "submitting alone")
                    with _readers(plan, data_dir, port, streams if beside else []):
                        answer = load(data_dir, plan.weights, requests)
                    assert_that(set(answer["statuses"]) == {200}, "every submission is accepted")
                    latencies[beside] += answer["latencies_s"]
                    seconds[beside] += answer["seconds"]
            resident = process.memory_info().rss / 2**20
    rate = {beside: len(latencies[beside]) / seconds[beside] for beside in latencies}
    p99_ms = {beside: percentile(latencies[beside], 99) * 1000 for beside in latencies}
    return [
        Figure("streams: submit rate without readers", rate[False], "/s"),
        Figure(f"streams: submit rate beside {READERS} readers", rate[True], "/s", at_least=100),
        Figure("streams: submit p99 without readers", p99_ms[False], "ms"),
        Figure(f"streams: submit p99 beside {READERS} readers", p99_ms[True], "ms"),
        Figure("streams: p99 beside readers to p99 without", p99_ms[True] / p99_ms[False], "", at_most=1.1),
        Figure("streams: rate beside readers to rate without", rate[True] / rate[False], "", at_least=0.9),
        Figure("streams: resident memory afterwards", resident, "MiB", at_most=250),
    ]


def _streams(
    uow: UnitOfWork, clients: list[dict[str, Any]], followed: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Plan the streams: one for each submitting user, and the rest on what the other users wait for."""
    streams = [{"path": "events", "token": client["token"], "slow": False} for client in clients]
    with uow.read() as tx:
        generations = Generations(tx)
        waiting = {
            user_id: generations.newest_of(user_id, 1, status=Status.PENDING)[0].id
            for user_id in {client["user_id"] for client in followed}
        }
    while len(streams) < READERS:
        client = followed[len(streams) % len(followed)]
        path = f"generations/{waiting[client['user_id']]}/events"
        streams.append({"path": path, "token": client["token"], "slow": len(streams) >= READERS - SLOW})
    return streams


@contextmanager
def _readers(plan: Plan, data_dir: Path, port: int, streams: list[dict[str, Any]]) -> Iterator[None]:
    """Keep the streams open while the body runs, and check that the server ended none of them."""
    if not streams:
        yield
        return
    with child("readers", plan.weights, data_dir) as process:
        send(process, {"host": "127.0.0.1", "port": port, "streams": streams})
        assert_that(read_line(process)["open"] == len(streams), "every stream is open")
        yield
        if process.stdin is not None:
            process.stdin.close()
        read = read_line(process)
        assert_that(read["ended"] == 0 and read["events"] >= len(streams) - SLOW, "every reader was served")
