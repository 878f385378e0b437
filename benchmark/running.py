"""The processes that the benchmark starts, each on a data folder of its own, and how it talks to them."""

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

TIMEOUT_S: Final = 120

Child = subprocess.Popen[str]
"""A process that is told and answers in lines of JSON."""

# What an operator's own server is told by, and a benchmark must not be: its database is not for measuring.
_OPERATORS: Final = ("DATABASE_", "REDIS_", "INFERENCE_BACKEND")


@contextmanager
def prepared_folder() -> Iterator[Path]:
    """A data folder, migrated and seeded."""
    with tempfile.TemporaryDirectory() as folder:
        for command in ("migrate", "seed"):
            with started([*program(command), "--data-dir", folder], _own(), stdout=DEVNULL) as process:
                assert_that(process.wait(TIMEOUT_S) == 0, f"{command} prepares the database")
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
def running_api(data_dir: Path, weights: Weights) -> Iterator[tuple[psutil.Process, int]]:
    """The API process alone, ready, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*program("api"), "--port", str(port), "--data-dir", str(data_dir)]
    with started(command, environment(weights, data_dir), stderr=DEVNULL) as process:
        until = time.monotonic() + TIMEOUT_S
        while not answers(port):
            assert_that(time.monotonic() < until and process.poll() is None, "the API is ready")
            time.sleep(0.01)
        yield psutil.Process(process.pid), port


@contextmanager
def running_up(data_dir: Path, weights: Weights) -> Iterator[dict[str, str]]:
    """Everything, ready; gives what `up --json` tells."""
    command = [*program("up"), "--port", "0", "--json", "--data-dir", str(data_dir)]
    with started(command, environment(weights, data_dir), stdout=PIPE, stderr=DEVNULL) as process:
        yield read_line(process)


@contextmanager
def child(what: str, weights: Weights, data_dir: Path) -> Iterator[Child]:
    """A process of the benchmark's own, which ends with its standard input."""
    command = [sys.executable, "-m", "benchmark.children", what, weights.kind]
    with started(command, environment(weights, data_dir), stdin=PIPE, stdout=PIPE) as process:
        yield process


@contextmanager
def started(
    command: list[str],
    environ: dict[str, str],
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[Child]:
    """A process that has ended afterwards, even where a signal interrupts Popen and nothing holds it."""
    others = psutil.Process().children()
    process: Child | None = None
    try:
        process = subprocess.Popen(  # noqa: S603  # our own module
            command, env=environ, stdin=stdin, stdout=stdout, stderr=stderr, text=True
        )
        yield process
    finally:
        ours = [one for one in psutil.Process().children() if one not in others]
        for one in ours:
            one.terminate()  # a SIGINT while Python starts may be lost
        for deaf in psutil.wait_procs(ours, TIMEOUT_S)[1]:
            deaf.kill()
        if process is not None:
            with process:  # closes its pipes
                pass


def program(*arguments: str) -> list[str]:
    """Return a command of the program's, run by this Python."""
    return [sys.executable, "-m", "server.cli", *arguments]


def environment(weights: Weights, data_dir: Path) -> dict[str, str]:
    """Return this environment with the folders of the benchmark and nothing of an operator's own server."""
    return _own() | weights.environment() | {"DATA_DIR": str(data_dir)}


def _own() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith(_OPERATORS)}


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


def tell(process: Child, told: dict[str, Any]) -> None:
    """Write a line of JSON to a process."""
    if process.stdin is not None:
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()


def assert_that(is_so: object, what: str) -> None:
    """Stop the benchmark where its figures would be wrong."""
    if not is_so:
        raise RuntimeError(f"not so: {what}")


def ask(process: Child, **what: Any) -> dict[str, Any]:
    """Tell a process one line and return its answer.

    Raises:
        NotMeasured: it says that it cannot, and why.

    """
    tell(process, what)
    answer = read_line(process)
    if "problem" in answer:
        raise NotMeasured(answer["problem"])
    return answer


class NotMeasured(Exception):
    """Something cannot be measured on this machine; the text says why."""
