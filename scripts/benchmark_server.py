"""What the server costs beside the drawing: its start, its memory, its overhead and its rate of submits."""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from catalog.entries import APP_ID
from catalog.tiers import Tier
from server.db.engine import open_engine
from server.db.tables import Generation, Project
from server.db.unit_of_work import UnitOfWork
from server.stack.preparation import DEMO_ID
from server.stack.redis import EmbeddedRedis

PROMPT: Final = "portrait of a woman with long red hair and glasses, blue background"
CHILDREN: Final = Path(__file__).with_name("benchmark_children.py")
TIMEOUT_S: Final = 120
CREDITS: Final = 10_000_000
PRICE: Final = 8  # Source: the catalogue; a free user's submits all choose the base entry
MIB: Final = 2**20

Advance = Callable[[str], None]
"""Called before each part of a measurement, with a word on what comes."""


@dataclass(frozen=True)
class Figure:
    """One number that was measured, and what it should be."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words, empty where there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:g} {self.unit}".strip()
        return f"at least {self.at_least:g} {self.unit}".strip() if self.at_least is not None else ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None


@dataclass(frozen=True)
class Effort:
    """How often things are repeated."""

    starts: int = 3
    images: int = 20
    submits: int = 2000
    clients: int = 16


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent of the values lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def measure_api(effort: Effort, models_dir: Path, advance: Advance) -> list[Figure]:
    """Start the API process alone: how long until it is ready, what it holds, and no torch."""
    seconds, resident, torch = [], [], 0
    with prepared_folder() as data_dir:
        for _ in range(effort.starts):
            advance("starting the API")
            began = time.perf_counter()
            with running_api(data_dir, models_dir) as (process, _port):
                seconds.append(time.perf_counter() - began)
                resident.append(process.memory_info().rss / MIB)
                torch += sum("libtorch" in mapped.path for mapped in process.memory_maps())
    return [
        Figure("API: start to ready, median", statistics.median(seconds), "s", at_most=2),
        Figure("API: resident memory when ready, most", max(resident), "MiB", at_most=150),
        Figure("API: torch libraries loaded", torch, "", at_most=0),
    ]


def measure_up(effort: Effort, models_dir: Path, advance: Advance) -> list[Figure]:
    """Start everything: how long until an image can be asked for."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(effort.starts):
            advance("starting everything")
            began = time.perf_counter()
            with running_up(Path(folder), models_dir):
                seconds.append(time.perf_counter() - began)
    return [
        Figure("up: start to ready on a new data folder", seconds[0], "s"),
        Figure("up: start to ready, median", statistics.median(seconds), "s", at_most=10),
    ]


def measure_overhead(effort: Effort, models_dir: Path, advance: Advance) -> list[Figure]:
    """Draw the same images with and without the server, by turns: the free entry, and the fast one.

    The fast entry's drawing is short, so that what drawing itself varies by hides less of what is added.
    """
    figures = []
    with tempfile.TemporaryDirectory() as folder, child("bare", models_dir, Path(folder)) as bare:
        assert_that(read_line(bare)["ready"], "the bare pipeline is ready")
        with running_up(Path(folder), models_dir) as demo, database(Path(folder)) as uow:
            with uow.begin() as tx:
                tx.users.find(DEMO_ID).tier = Tier.BASIC.value  # the fast entry is in this tier
            for entry in ("flux-dev-base", "flux-schnell-fast"):
                advance(f"drawing {entry} with and without the server")
                pairs = [one_pair(demo, uow, bare, f"{APP_ID}:{entry}") for _ in range(effort.images + 2)]
                figures += overhead_figures(entry, pairs[2:])  # two to warm up
    return figures


@dataclass(frozen=True)
class Pair:
    """One image, drawn by the server and then bare. Seconds."""

    posted_s: float
    served_s: float
    phases_s: float
    bare_s: float
    encode_s: float


def one_pair(demo: dict[str, str], uow: UnitOfWork, bare: subprocess.Popen[str], model_key: str) -> Pair:
    """Draw one image through the server, and the same one without it."""
    posted_s, accepted_at, generation = one_generation(demo, uow, model_key)
    tell(bare, generation.recipe)
    alone = read_line(bare)
    with uow.read() as tx:
        phases = tx.events.of(generation.id)[-1].data["seconds"]
    completed_at = generation.completed_at or datetime.max.replace(tzinfo=UTC)
    served_s = (completed_at - accepted_at).total_seconds()
    return Pair(posted_s, served_s, sum(phases.values()), alone["draw_s"], alone["encode_s"])


def overhead_figures(entry: str, pairs: Sequence[Pair]) -> list[Figure]:
    """Compare what was served with what was drawn bare."""
    bare_s = [pair.bare_s + pair.encode_s for pair in pairs]
    added_ms = [(pair.served_s - bare) * 1000 for pair, bare in zip(pairs, bare_s, strict=True)]
    outside_ms = [(pair.served_s - pair.phases_s - pair.encode_s) * 1000 for pair in pairs]
    name = f"overhead of {entry}"
    return [
        Figure(f"{name}: bare pipeline and PNG, p50", statistics.median(bare_s), "s"),
        Figure(f"{name}: accepted to stored, p50", statistics.median(pair.served_s for pair in pairs), "s"),
        Figure(f"{name}: added by the server, p50", statistics.median(added_ms), "ms", at_most=50),
        Figure(f"{name}: added by the server, p95", percentile(added_ms, 95), "ms"),
        Figure(
            f"{name}: outside the pipeline's phases, p50", statistics.median(outside_ms), "ms", at_most=50
        ),
        Figure(f"{name}: outside the pipeline's phases, p95", percentile(outside_ms, 95), "ms"),
        Figure(
            f"{name}: POST until accepted, p50", statistics.median(p.posted_s for p in pairs) * 1000, "ms"
        ),
    ]


def measure_submits(effort: Effort, models_dir: Path, advance: Advance) -> list[Figure]:
    """Submit from many clients at once, with Redis and without a worker; then check every balance."""
    with prepared_folder() as data_dir, database(data_dir) as uow:
        redis = EmbeddedRedis(data_dir / "redis.url")
        redis.start()
        try:
            clients = [new_client(uow) for _ in range(effort.clients)]
            for number, client in enumerate(clients):
                client["requests"] = effort.submits // len(clients) + (number < effort.submits % len(clients))
            with running_api(data_dir, models_dir) as (process, port):
                load(data_dir, models_dir, port, [client | {"requests": 5} for client in clients])
                advance("submitting")
                before = process.cpu_times()
                told = load(data_dir, models_dir, port, clients)
                after = process.cpu_times()
                resident = process.memory_info().rss / MIB
        finally:
            redis.stop()
        wrong = 0
        with uow.read() as tx:
            for client in clients:
                balance = CREDITS - PRICE * (client["requests"] + 5)
                wrong += tx.ledger.available(client["user_id"]) != balance
            wrong += len(tx.ledger.drifts()) + (tx.ledger.sum_of_postings() != 0)
    latencies_ms = [seconds * 1000 for seconds in told["latencies_s"]]
    busy_ms = (after.user + after.system - before.user - before.system) * 1000
    refused = sum(status != 200 for status in told["statuses"])  # noqa: PLR2004  # the contract's success
    return [
        Figure("submit: rate", len(latencies_ms) / told["seconds"], "/s", at_least=100),
        Figure("submit: latency p50", statistics.median(latencies_ms), "ms"),
        Figure("submit: latency p99", percentile(latencies_ms, 99), "ms", at_most=150),
        Figure("submit: longest", max(latencies_ms), "ms"),
        Figure("submit: processor time a request, in the API", busy_ms / len(latencies_ms), "ms"),
        Figure("submit: not accepted", refused, "", at_most=0),
        Figure("submit: accounts that do not agree", wrong, "", at_most=0),
        Figure("submit: resident memory afterwards", resident, "MiB", at_most=150),
    ]


def one_generation(
    demo: dict[str, str], uow: UnitOfWork, model_key: str
) -> tuple[float, datetime, Generation]:
    """Submit one generation and wait for its end.

    Returns the seconds that the POST took, when its answer was there, and the generation that was completed.
    """
    address = urlsplit(demo["url"])
    connection = HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
    path = f"/api/avatar-creator/projects/{demo['projectId']}/avatars/generate"
    headers = {"Authorization": f"Bearer {demo['apiKey']}", "Content-Type": "application/json"}
    wish = {"name": "Ada", "prompt": PROMPT, "seed": 7, "modelKey": model_key}
    began = time.perf_counter()
    connection.request("POST", path, json.dumps(wish), headers)
    answered = json.load(connection.getresponse())
    posted_s, accepted_at = time.perf_counter() - began, datetime.now(UTC)
    connection.close()
    until = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until:
        time.sleep(0.1)  # the end's own time stands in the row: looking seldom leaves the cores to the worker
        with uow.read() as tx:
            generation = tx.generations.get(answered["generation"]["id"])
        if generation is not None and generation.completed_at is not None:
            assert_that(generation.status == "completed", f"completed: {generation.error_message}")
            return posted_s, accepted_at, generation
    raise TimeoutError("the generation did not end")


def load(data_dir: Path, models_dir: Path, port: int, clients: list[dict[str, Any]]) -> dict[str, Any]:
    """Let the clients submit from a process of their own; return what it tells."""
    with child("load", models_dir, data_dir) as process:
        tell(process, {"host": "127.0.0.1", "port": port, "prompt": PROMPT, "clients": clients})
        return read_line(process)


def new_client(uow: UnitOfWork) -> dict[str, Any]:
    """Make a free user with a key, a project and more credits than can be spent."""
    with uow.begin() as tx:
        user = tx.users.add(None, Tier.FREE)
        tx.ledger.open_account(user.id)
        tx.ledger.grant(user.id, CREDITS, "Benchmark", user.id)
        key = tx.users.mint_key(user.id, "benchmark")
        project = Project(id=str(uuid4()), user_id=user.id, name="Benchmark")
        tx.projects.add(project)
    return {"user_id": user.id, "token": key.token, "project_id": project.id}


@contextmanager
def prepared_folder() -> Iterator[Path]:
    """A data folder, migrated and seeded."""
    with tempfile.TemporaryDirectory() as folder:
        for command in ("migrate", "seed"):
            subprocess.run(  # noqa: S603  # our own module
                [*program(command), "--data-dir", folder], check=True, capture_output=True, timeout=TIMEOUT_S
            )
        yield Path(folder)


@contextmanager
def database(data_dir: Path) -> Iterator[UnitOfWork]:
    """The database of a data folder."""
    uow = UnitOfWork(open_engine(f"sqlite:///{data_dir / 'avatar-creator.db'}"))
    try:
        yield uow
    finally:
        uow.close()


@contextmanager
def running_api(data_dir: Path, models_dir: Path) -> Iterator[tuple[psutil.Process, int]]:
    """The API process alone, ready, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*program("api"), "--port", str(port), "--data-dir", str(data_dir)]
    process = subprocess.Popen(  # noqa: S603  # our own module
        command, env=environment(models_dir, data_dir), stderr=subprocess.DEVNULL
    )
    with ended(process):
        until = time.monotonic() + TIMEOUT_S
        while not answers(port):
            assert_that(time.monotonic() < until and process.poll() is None, "the API is ready")
            time.sleep(0.01)
        yield psutil.Process(process.pid), port


@contextmanager
def running_up(data_dir: Path, models_dir: Path) -> Iterator[dict[str, str]]:
    """Everything, ready; gives what `up --json` tells."""
    command = [*program("up"), "--port", "0", "--json", "--data-dir", str(data_dir)]
    process = subprocess.Popen(  # noqa: S603  # our own module
        command,
        env=environment(models_dir, data_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with ended(process):
        yield read_line(process)


@contextmanager
def child(what: str, models_dir: Path, data_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process of the benchmark's own, which ends with its standard input."""
    process = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, str(CHILDREN), what],
        env=environment(models_dir, data_dir),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with ended(process):
        yield process


@contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator["subprocess.Popen[Any]"]:
    """Whatever happens, the process has ended afterwards."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT if process.stdin is None else signal.SIGTERM)
        try:
            process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def program(*arguments: str) -> list[str]:
    """Return a command of the program's, run by this Python."""
    return [sys.executable, "-m", "server.cli", *arguments]


def environment(models_dir: Path, data_dir: Path) -> dict[str, str]:
    """Return this environment with the folders of the benchmark and nothing of an operator's own server."""
    own = {name: text for name, text in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return own | {"MODELS_DIR": str(models_dir), "DATA_DIR": str(data_dir)}


def answers(port: int) -> bool:
    """Whether the API says that it is ready."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200  # noqa: PLR2004  # ready
    except OSError:
        return False
    finally:
        connection.close()


def read_line(process: "subprocess.Popen[Any]") -> dict[str, Any]:
    """Return the next line of JSON that a process prints."""
    line = process.stdout.readline() if process.stdout is not None else ""
    assert_that(line, f"{process.args!r} told something")
    told: dict[str, Any] = json.loads(line)
    return told


def tell(process: "subprocess.Popen[str]", told: dict[str, Any]) -> None:
    """Write a line of JSON to a process."""
    if process.stdin is not None:
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()


def assert_that(is_so: object, what: str) -> None:
    """Stop the benchmark where its figures would be wrong."""
    if not is_so:
        raise RuntimeError(f"not so: {what}")
