"""Starts, watches, kills and stops the real program as an operator does."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx
import psutil

from server.db.engine import open_engine
from server.db.unit_of_work import Transaction, UnitOfWork
from server.settings.groups import variables

READY_TIMEOUT_S: Final = (
    90  # importing torch takes six seconds on an idle machine, several times that on a busy one
)
STOP_TIMEOUT_S: Final = 60
COMMAND_TIMEOUT_S: Final = 60
DRAW_TIMEOUT_S: Final = 90
LOOK_S: Final = 0.05
POLL_S: Final = 0.2  # the period of a good client: eight that poll faster take a core from the worker

PROMPT: Final = "portrait of a woman with long red hair and glasses"

T = TypeVar("T")


def wait_for(
    what: str, look: Callable[[], T], timeout_s: float = DRAW_TIMEOUT_S, period_s: float = LOOK_S
) -> T:
    """Call `look` until it returns something truthy, and return that; fail with `what` after the timeout."""
    until = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout_s:g} seconds: {what}")
        time.sleep(period_s)
    return seen


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a program: that of this process without settings of the product."""
    inherited = {name: text for name, text in os.environ.items() if name not in variables()}
    # Two programs under test share two cores: one thread each, as in the tests of inference.
    threads = {"OMP_NUM_THREADS": "1"} if "PYTEST_XDIST_WORKER" in os.environ else {}
    return inherited | threads | changes


class User:
    """A client of the HTTP API with a user's key."""

    def __init__(self, url: str, token: str, project_id: str | None = None) -> None:
        self.token = token
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )
        self.project_id = project_id or self.post("projects", name="Mine")["project"]["id"]

    def get(self, path: str) -> Any:
        """Read a resource."""
        return self.client.get(f"/api/avatar-creator/{path}").raise_for_status().json()

    def post(self, path: str, **body: Any) -> Any:
        """Post a body."""
        return self.client.post(f"/api/avatar-creator/{path}", json=body).raise_for_status().json()

    def generate(self, **wish: Any) -> Any:
        """Request an avatar and return the immediate answer."""
        return self.post(
            f"projects/{self.project_id}/avatars/generate", **{"name": "Ada", "prompt": PROMPT, **wish}
        )

    def generation(self, generation_id: str) -> Any:
        """Read a generation."""
        return self.get(f"generations/{generation_id}")["generation"]

    def ended(self, generation_id: str, timeout_s: float = DRAW_TIMEOUT_S) -> Any:
        """Wait until a generation has completed or failed, and return it."""

        def look() -> Any:
            generation = self.generation(generation_id)
            return generation if generation["status"] in ("completed", "failed") else None

        return wait_for(f"generation {generation_id} has ended", look, timeout_s, POLL_S)

    def drawn(self, **wish: Any) -> bytes:
        """Request an avatar, wait for it and return its PNG."""
        ended = self.ended(self.generate(**wish)["generation"]["id"])
        assert ended["status"] == "completed", ended["errorMessage"]
        avatar = self.get(f"avatars/{ended['avatarId']}")["avatar"]
        return self.client.get(avatar["baseImageUrl"]).raise_for_status().content

    def balance(self) -> int:
        """Return what the user can spend."""
        answer = self.client.get("/api/credits/balance").raise_for_status().json()
        return int(answer["data"]["balance"])


class Program:
    """`avatar-creator up` on one data folder. When it is started again, it finds its data."""

    def __init__(self, data_dir: Path, models_dir: Path, **changes: str) -> None:
        self.data_dir = data_dir
        # The users of tests ask more often than people do.
        unlimited = {"RATE_LIMITS": "off", "QUEUE_MAX_PER_USER": "1000"}
        self.changes = {"MODELS_DIR": str(models_dir), **unlimited, **changes}
        self.log_file = data_dir.with_suffix(".log")
        self.url = ""
        self.demo: dict[str, str] = {}
        self.users: list[User] = []
        self._port = 0  # 0 means a free port; a restart keeps the port, as a user's does
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> str:
        """Start it and return its first output, which it prints when it is ready."""
        self.begin(*options)
        return self._printed()

    def begin(self, *options: str) -> None:
        """Start it without waiting until it is ready, which it may never be."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command("up", "--port", str(self._port)), *options],
                env=environment(**self.changes),
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def begin_at_free_port(self) -> None:
        """Start it without waiting, at an address that is known before it prints it."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.begin("--json")

    def start_json(self) -> None:
        """Start it and keep the line of JSON that it prints for scripts."""
        self.demo = json.loads(self.start("--json"))
        self.url = self.demo["url"]
        self._port = urlsplit(self.url).port or 0

    def command(self, *arguments: str) -> list[str]:
        """Return the arguments of a process that runs a command on this data folder."""
        return [sys.executable, "-P", "-m", "server.cli", *arguments, "--data-dir", str(self.data_dir)]

    def run(self, *arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, with changes of its environment."""
        return subprocess.run(
            self.command(*arguments),
            env=environment(**{**self.changes, **changes}),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    def new_user(self, tier: str, credits_: int = 100) -> User:
        """Create a user on the command line."""
        created = self.run("users", "create", "--tier", tier, "--credits", str(credits_), "--json")
        assert created.returncode == 0, created.stderr
        return self.user(json.loads(created.stdout)["apiKey"])

    def user(self, token: str, project_id: str | None = None) -> User:
        """Return a client with a user's key, in a new project unless one is named."""
        self.users.append(User(self.url, token, project_id))
        return self.users[-1]

    @property
    def pid(self) -> int:
        """The process id of `up`."""
        assert self._process is not None
        return self._process.pid

    def child(self, part: str) -> psutil.Process:
        """Return the running child of `up` whose command line names a part; wait if it is being restarted."""

        def look() -> psutil.Process | None:
            return next((child for child in self.children() if part in " ".join(_command_line(child))), None)

        running = wait_for(f"{part} runs", look)
        assert running is not None
        return running

    def children(self) -> list[psutil.Process]:
        """Return all processes that `up` has started and that run."""
        return psutil.Process(self.pid).children(recursive=True)

    def kill(self) -> list[psutil.Process]:
        """Kill `up` itself with -9 and return its children, which are orphans now."""
        orphans = self.children()
        self._end(signal.SIGKILL)
        return orphans

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        """Stop it as Ctrl-C does; check that it succeeds, no child is left and nothing listens."""
        children = self.children()
        ports = sorted({connection.laddr.port for child in children for connection in _listening(child)})
        assert urlsplit(self.url).port in ports
        assert self._end(by) == 0, self.tail()
        assert [child for child in children if child.is_running()] == []
        assert [port for port in ports if _accepts(port)] == []

    def abandon(self) -> None:
        """End all processes that still run after a failed test."""
        left = []
        if self._process is not None and self._process.poll() is None:
            left = self.kill()
        for process in left:
            if process.is_running():
                process.kill()
        psutil.wait_procs(left, timeout=STOP_TIMEOUT_S)
        for user in self.users:
            user.client.close()
        self.uow.close()

    @cached_property
    def uow(self) -> UnitOfWork:
        """The database of the data folder, as any process of the program opens it."""
        return UnitOfWork(open_engine(f"sqlite:///{self.data_dir / 'avatar-creator.db'}"))

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Read the database directly, without the API."""
        with self.uow.read() as tx:
            yield tx

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log_file.read_text("utf-8")[-4000:]

    def _end(self, by: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(by)
        ended = self._process.wait(STOP_TIMEOUT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return ended

    def _printed(self) -> str:
        """Return the output up to its first pause; fail if there is none."""
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        printed, timeout_s = b"", float(READY_TIMEOUT_S)
        while select.select([pipe], [], [], timeout_s)[0] and (chunk := os.read(pipe, 65_536)):
            printed += chunk
            timeout_s = 0.5
        if not printed:
            raise AssertionError(f"it printed nothing in {READY_TIMEOUT_S} seconds: {self.tail()}")
        return printed.decode()


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _listening(process: psutil.Process) -> list[Any]:
    return [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
