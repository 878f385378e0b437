"""The program under test: two APIs and three workers on one database, one Redis and one folder."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import Engine, create_engine, text

from catalog.entries import shipped_entries
from server.db.engine import open_engine
from server.db.migrate import migrate
from server.db.unit_of_work import UnitOfWork
from server.entries.service import seed
from server.supervisor.embedded_redis import EmbeddedRedis, _free_port
from server.supervisor.shutdown import in_thread
from tests.chaos.parts import Part, resume
from tests.chaos.postgres import Postgres
from tests.e2e.program import environment, wait_for
from tests.inference.hosted.box import KEY, Box
from tests.server.signing import SESSION_SECRET

HOOK = Path(__file__).parent / "hook"
COMMAND_TIMEOUT_S = 60
START_TIMEOUT_S = 120
LOCAL_NICENESS = -10
"""With the miniature the local worker imports torch for seconds: behind the others it would hardly draw."""
SCRIPTED = 0.8
"""So many of the local workers of a long campaign draw by a script."""
DISK_BYTES = 4 * 2**30

# Short, so that what is lost comes back within the time of a test.
TIMES = {
    "PHASE_TIMEOUT_S": "6",
    "LEASE_MARGIN_S": "3",
    "GENERATION_TIMEOUT_S": "30",
    "LOAD_TIMEOUT_S": "120",
    "SHUTDOWN_GRACE_S": "0.5",
    "REAPER_PERIOD_S": "0.5",
    "QUEUE_MAX_WAIT_S": "40",
    "ORPHAN_IMAGE_AGE_S": "60",
    "IMAGE_QUARANTINE_DAYS": "0.0002",  # 17 s
    "HOSTED_TIMEOUT_S": "4",
    "FAILOVER_WAIT_S": "2",
}
# Limits that are checked at each request and reached by none.
LIMITS = {
    "RATE_LIMIT_GENERATE": "9999/minute",
    "RATE_LIMIT_UPLOAD": "9999/minute",
    "RATE_LIMIT_FROM_PRESET": "9999/minute",
    "RATE_LIMIT_PROJECTS": "9999/hour",
    "RATE_LIMIT_ANONYMOUS": "9999/minute",
    "RATE_LIMIT_FAILED_AUTHENTICATIONS": "9999/minute",
    "QUEUE_MAX_PER_USER": "12",
    "MAX_ATTEMPTS": "2",
}


@dataclass
class Stage:
    """The running program, and direct access to what it runs on."""

    folder: Path
    engine: Engine
    redis: EmbeddedRedis
    box: Box
    postgres: Postgres | None
    changes: dict[str, str]
    ports: tuple[int, int]
    disk_bytes: int | None = None
    """The size of the data folder's own file system; None if none could be mounted."""
    kept_image: str = ""
    """The key of an image whose avatar nobody deletes."""
    apis: list[Part] = field(default_factory=list)
    watchdogs: list[Part] = field(default_factory=list)

    @property
    def data_dir(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def urls(self) -> list[str]:
        """The addresses of the APIs."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def parts(self) -> list[Part]:
        """All processes that are kept running."""
        return [*self.apis, *self.watchdogs]

    @property
    def logs(self) -> list[Path]:
        """The logs of all processes, those of commands too."""
        return sorted(self.folder.glob("*.log"))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the program to its end, its errors into a log."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "server.cli", *arguments, "--data-dir", str(self.data_dir)],
            env=environment(**self.changes),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    def ask(self, statement: str, **values: Any) -> list[Any]:
        """Return the rows of a statement."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(statement), values))

    def change(self, statement: str, **values: Any) -> int:
        """Run a statement in a transaction; return how many rows it changed."""
        with self.engine.begin() as connection:
            return connection.execute(text(statement), values).rowcount

    def find(self, role: str) -> list[psutil.Process]:
        """Return the running processes of a role, in the names of crash points."""
        words = {
            "api": ("server.cli", "api"),
            "watchdog": ("server.cli", "worker"),
            "local worker": ("server.worker", "local"),
            "hosted worker": ("server.worker", "huggingface"),
            "decoder": ("server.uploads.decoder_process",),
        }[role]
        found = []
        for part in self.parts:
            for process in part.processes():
                with suppress(psutil.Error):
                    if set(words) <= set(process.cmdline()):
                        found.append(process)
        return found

    def resume(self) -> None:
        """Let all processes go on that were stopped."""
        for part in self.parts:
            resume(part.processes())

    def is_ready(self) -> bool:
        """Return whether both APIs are ready and workers of both kinds are there."""
        for url in self.urls:
            try:
                answer = httpx.get(f"{url}/readyz", trust_env=False, timeout=5)
            except httpx.HTTPError:
                return False
            if answer.status_code != 200 or answer.json()["status"] != "ok":
                return False
        return True

    def readiness(self) -> list[str]:
        """Return what the APIs say of themselves."""
        said = []
        for url in self.urls:
            try:
                said.append(httpx.get(f"{url}/readyz", trust_env=False, timeout=5).text)
            except httpx.HTTPError as error:
                said.append(repr(error))
        return said


def drawn_by_the_miniature(models_dir: Path) -> dict[str, str]:
    """Return the settings by which local workers draw with the miniature, but most of them by a script.

    One that dies every few seconds does little but import torch. Crash points lie in what both have.
    """
    return {"MODELS_DIR": str(models_dir), "CHAOS_SCRIPTED": str(SCRIPTED)}


@contextmanager
def open_stage(folder: Path, models_dir: Path | None, postgres: Postgres | None, box: Box) -> Iterator[Stage]:
    """Start the program in a folder, on SQLite without a PostgreSQL; stop all of it at the end.

    models_dir: where the miniature is, or None if the local worker draws by a script.
    """
    for name in ("seen", "visited", "armed", "unvisited", "taken", "data"):
        (folder / name).mkdir(parents=True)
    disk_bytes = DISK_BYTES if _mounted(folder / "data") else None
    shutil.copytree(HOOK, folder / "hook", ignore=shutil.ignore_patterns("__pycache__"))
    redis = EmbeddedRedis(folder / "redis.url")
    redis.start()
    url = postgres.url if postgres else f"sqlite:///{folder / 'data' / 'avatar-creator.db'}"
    changes = {
        **TIMES,
        **LIMITS,
        "PYTHONPATH": str(folder / "hook"),
        "DATABASE_URL": url,
        "REDIS_URL": redis.url,
        **({"CHAOS_SCRIPTED": "1"} if models_dir is None else drawn_by_the_miniature(models_dir)),
        "INFERENCE_BACKEND": "auto",
        "HUGGINGFACE_API_KEY": KEY,
        "HOSTED_GATEWAY_URL": box.url,
        "HF_ENDPOINT": box.url,
        "OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8",
        "AUTH_JWT_SECRET": SESSION_SECRET,
        "WELCOME_CREDITS": "50",
    }
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), pool_pre_ping=True)
    stage = Stage(folder, engine, redis, box, postgres, changes, (_free_port(), _free_port()), disk_bytes)
    for number, port in enumerate(stage.ports):
        api = Part(
            f"api-{number}",
            ["api", "--port", str(port)],
            stage.data_dir,
            folder / f"api-{number}.log",
            **changes,
        )
        stage.apis.append(api)
    for name, options in (("local", []), ("hosted-0", ["--reserve"]), ("hosted-1", ["--reserve"])):
        command, log_file = ["worker", *options], folder / f"{name}.log"
        niceness = 0 if options else LOCAL_NICENESS
        stage.watchdogs.append(Part(name, command, stage.data_dir, log_file, niceness, **changes))
    try:
        with in_thread("redis", redis.keep):
            _prepare(url)
            for part in stage.parts:
                part.start()
            wait_for("all parts are ready", stage.is_ready, START_TIMEOUT_S, 0.3)
            yield stage
    finally:
        _close(stage)


def _mounted(folder: Path) -> bool:
    """Give a folder a file system of its own in memory, which can be filled; only root may."""
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "none", str(folder)]
    return subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0  # noqa: S607  # root's


def _prepare(url: str) -> None:
    """Migrate the database and seed its catalogue."""
    uow = UnitOfWork(open_engine(url))
    migrate(uow.engine)
    seed(uow, shipped_entries())
    uow.close()


def _close(stage: Stage) -> None:
    (stage.folder / "full").unlink(missing_ok=True)
    for name in ("armed", "unvisited"):
        for file in (stage.folder / name).iterdir():
            file.unlink(missing_ok=True)
    stage.resume()
    everything = [process for part in stage.parts for process in part.processes()]
    for part in stage.parts:
        part.begin_to_stop()
    for part in stage.parts:
        part.stop()
    _, alive = psutil.wait_procs(everything, timeout=20)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    (stage.folder / "left.json").write_text(json.dumps([process.pid for process in alive]), "utf-8")
    redis = stage.redis._process
    if redis is not None and redis.poll() is None:
        redis.send_signal(signal.SIGCONT)
    stage.redis.stop()
    stage.engine.dispose()
    if stage.disk_bytes is not None:
        subprocess.run(["umount", "--lazy", str(stage.data_dir)], check=True)  # noqa: S607  # as above
