"""Starts the benchmark's processes, each on its own data folder, and exchanges lines of JSON with them."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from benchmark.plan import Weights
from server.db.engine import open_engine
from server.db.unit_of_work import UnitOfWork
from server.supervisor.embedded_redis import EmbeddedRedis

TIMEOUT_S: Final = 120

Child = subprocess.Popen[str]
"""A process that reads commands and writes answers as lines of JSON."""

# A few users submit as fast as they can, and nothing draws.
UNLIMITED: Final = {
    "RATE_LIMITS": "off",
    "QUEUE_MAX_PER_USER": "1000000",
    "HTTP_MAX_CONNECTIONS_PER_ADDRESS": "1000",  # all clients of the benchmark have one
}

# Settings of an operator's server that the benchmark must not inherit: its database is not for measuring.
_OPERATOR_SETTINGS: Final = ("DATABASE_", "REDIS_", "INFERENCE_BACKEND")


@contextmanager
def prepared_folder(database_url: str | None = None) -> Iterator[Path]:
    """Make a data folder; migrate and seed its database, or that of the address."""
    environ = _clean_environment() | database_setting(database_url)
    with tempfile.TemporaryDirectory() as folder:
        for command in ("migrate", "seed"):
            with started([*program(command), "--data-dir", folder], environ, stdout=DEVNULL) as process:
                assert_that(process.wait(TIMEOUT_S) == 0, f"{command} prepares the database")
        yield Path(folder)


@contextmanager
def database(data_dir: Path, database_url: str | None = None) -> Iterator[UnitOfWork]:
    """Open the database of a data folder, or that of the address."""
    uow = UnitOfWork(open_engine(database_url or f"sqlite:///{data_dir / 'avatar-creator.db'}"))
    try:
        yield uow
    finally:
        uow.close()


@contextmanager
def running_redis(data_dir: Path) -> Iterator[None]:
    """Start a Redis that the processes of a data folder find there."""
    redis = EmbeddedRedis(data_dir / "redis.url")
    redis.start()
    try:
        yield
    finally:
        redis.stop()


@contextmanager
def running_api(data_dir: Path, weights: Weights, **changes: str) -> Iterator[tuple[psutil.Process, int]]:
    """Start the API process alone, and yield it and its port as soon as it is ready. changes: settings."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*program("api"), "--port", str(port), "--data-dir", str(data_dir)]
    with started(command, environment(weights, data_dir) | changes, stderr=DEVNULL) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while not is_ready(port):
            assert_that(time.monotonic() < deadline and process.poll() is None, "the API is ready")
            time.sleep(0.01)
        yield psutil.Process(process.pid), port


@contextmanager
def running_up(data_dir: Path, weights: Weights, **changes: str) -> Iterator[dict[str, str]]:
    """Start the whole server, and yield the line of `up --json` as soon as it is ready. changes: settings."""
    command = [*program("up"), "--port", "0", "--json", "--data-dir", str(data_dir)]
    environ = environment(weights, data_dir) | changes
    with started(command, environ, stdout=PIPE, stderr=DEVNULL) as process:
        yield read_line(process)


@contextmanager
def child(job: str, weights: Weights, data_dir: Path, **changes: str) -> Iterator[Child]:
    """Start a job of `benchmark.children`; it ends when its standard input closes. changes: settings."""
    command = [sys.executable, "-P", "-m", "benchmark.children", job, weights.kind]
    with started(command, environment(weights, data_dir) | changes, stdin=PIPE, stdout=PIPE) as process:
        yield process


@contextmanager
def started(
    command: list[str],
    environ: dict[str, str],
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[Child]:
    """Start a process and end it afterwards, even where a signal interrupts Popen before it returns."""
    others = psutil.Process().children()
    process: Child | None = None
    try:
        process = subprocess.Popen(  # noqa: S603  # our own module
            command, env=environ, stdin=stdin, stdout=stdout, stderr=stderr, text=True
        )
        yield process
    finally:
        ours = [new for new in psutil.Process().children() if new not in others]
        for new in ours:
            new.terminate()  # a SIGINT while Python starts may be lost
        for survivor in psutil.wait_procs(ours, TIMEOUT_S)[1]:
            survivor.kill()
        if process is not None:
            with process:  # closes its pipes
                pass


def program(*arguments: str) -> list[str]:
    """Return a command line of the program for this Python."""
    return [sys.executable, "-P", "-m", "server.cli", *arguments]


def environment(weights: Weights, data_dir: Path) -> dict[str, str]:
    """Return this environment with the benchmark's folders and without the operator's settings."""
    return _clean_environment() | weights.environment() | UNLIMITED | {"DATA_DIR": str(data_dir)}


def database_setting(url: str | None) -> dict[str, str]:
    """Return the setting of the database at an address; without one, it is in the data folder."""
    return {} if url is None else {"DATABASE_URL": url}


def _clean_environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith(_OPERATOR_SETTINGS)}


def is_ready(port: int) -> bool:
    """Whether the API answers and has its database. Without a worker it calls itself not ready."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return bool(json.load(connection.getresponse())["checks"]["database"] == "ok")
    except (OSError, ValueError, KeyError):
        return False
    finally:
        connection.close()


def read_line(process: "subprocess.Popen[Any]") -> dict[str, Any]:
    """Return the next line of JSON that a process prints."""
    line = process.stdout.readline() if process.stdout is not None else ""
    assert_that(line, f"{process.args!r} printed a line")
    message: dict[str, Any] = json.loads(line)
    return message


def send(process: Child, message: dict[str, Any]) -> None:
    """Write a line of JSON to a process."""
    if process.stdin is not None:
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()


def assert_that(condition: object, claim: str) -> None:
    """Stop the benchmark where its figures would be wrong.

    Raises:
        RuntimeError: the claim does not hold.

    """
    if not condition:
        raise RuntimeError(f"does not hold: {claim}")


def ask(process: Child, **command: Any) -> dict[str, Any]:
    """Send one command to a process and return its answer.

    Raises:
        NotMeasured: the process answers with a problem.

    """
    send(process, command)
    answer = read_line(process)
    if "problem" in answer:
        raise NotMeasured(answer["problem"])
    return answer


class NotMeasured(Exception):
    """Something cannot be measured on this machine; the text gives the reason."""
