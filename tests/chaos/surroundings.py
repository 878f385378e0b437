"""What can happen to what the program runs on: Redis, the databases, the disk, hosted providers.

Each is a context manager: it lasts as long as its body.
"""

import random
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.chaos.stage import Stage
from tests.inference.hosted import faults as provider_faults

PROVIDERS = ("fal-ai", "replicate", "hf-inference")


# Redis


def _redis_process(stage: Stage) -> psutil.Process | None:
    process = stage.redis._process
    with suppress(psutil.NoSuchProcess):
        return None if process is None else psutil.Process(process.pid)
    return None


@contextmanager
def redis_killed(stage: Stage, _: random.Random) -> Iterator[None]:
    if (process := _redis_process(stage)) is not None:
        process.kill()
    yield


@contextmanager
def standing_still(process: psutil.Process | None) -> Iterator[None]:
    """Stop a process, if there is one, while the body runs."""
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    yield
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


def redis_silent(stage: Stage, _: random.Random) -> AbstractContextManager[None]:
    return standing_still(_redis_process(stage))


@contextmanager
def redis_told(stage: Stage, _: random.Random, begin: list[Any], end: list[Any] | None) -> Iterator[None]:
    with Redis.from_url(stage.redis.url, socket_timeout=2) as client:
        with suppress(RedisError):
            client.execute_command(*begin)
        yield
        with suppress(RedisError):
            if end is not None:
                client.execute_command(*end)


# Databases


@contextmanager
def postgres_signalled(stage: Stage, _: random.Random) -> Iterator[None]:
    assert stage.postgres is not None
    stage.postgres.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stage.postgres.signal(signal.SIGCONT)


@contextmanager
def postgres_restarted(stage: Stage, _: random.Random) -> Iterator[None]:
    assert stage.postgres is not None
    stage.postgres.restart()
    yield


@contextmanager
def postgres_crashed(stage: Stage, _: random.Random) -> Iterator[None]:
    assert stage.postgres is not None
    stage.postgres.crash()
    yield


@contextmanager
def postgres_read_only(stage: Stage, _: random.Random) -> Iterator[None]:
    assert stage.postgres is not None
    stage.postgres.set("default_transaction_read_only", "on")
    try:
        yield
    finally:
        stage.postgres.set("default_transaction_read_only", None)


LOCKS = {
    "the catalogue": "UPDATE ai_models SET updated_at = updated_at",
    "a pending generation": "UPDATE generations SET updated_at = updated_at WHERE id = "
    "(SELECT id FROM generations WHERE status = 'pending' ORDER BY created_at LIMIT 1)",
    "a lease": "UPDATE generations SET updated_at = updated_at WHERE id = "
    "(SELECT id FROM generations WHERE status = 'processing' ORDER BY created_at LIMIT 1)",
    "an account": "UPDATE accounts SET held = held WHERE user_id = "
    "(SELECT min(user_id) FROM accounts WHERE held > 0)",
}


@contextmanager
def transaction_open(stage: Stage, _: random.Random, statement: str) -> Iterator[None]:
    connection = None
    with suppress(DBAPIError):
        connection = stage.engine.connect()
        connection.execute(text(statement))
    try:
        yield
    finally:
        if connection is not None:
            with suppress(DBAPIError):  # the server may have ended it meanwhile
                connection.close()


@contextmanager
def write_lock(stage: Stage, _: random.Random) -> Iterator[None]:
    connection = sqlite3.connect(stage.data_dir / "avatar-creator.db", timeout=5, isolation_level=None)
    try:
        with suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


# The disk


@contextmanager
def disk_full(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Shrink the folder's own file system to what is used; where there is none, refuse every image."""
    if stage.disk_bytes is None:
        with quota_reached(stage, chance):
            yield
        return
    used = -(-shutil.disk_usage(stage.data_dir).used // 4096) * 4096
    remount(stage.data_dir, used)
    try:
        yield
    finally:
        remount(stage.data_dir, stage.disk_bytes)


def remount(folder: Path, size_bytes: int) -> None:
    """Change the size of a file system in memory."""
    options = f"remount,size={size_bytes}"
    subprocess.run(["mount", "-o", options, str(folder)], check=False, capture_output=True)  # noqa: S607  # root's


@contextmanager
def device_fails(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Let the hook fail what the local worker draws, as a device does that computes NaN.

    Without a hosted worker in the registry it fails for good, with one it fails over.
    """
    if chance.random() < 0.5:
        with suppress(DBAPIError):
            stage.change("DELETE FROM workers WHERE backend = 'huggingface'")
    with _marked(stage, "device-fails"):
        yield


@contextmanager
def quota_reached(stage: Stage, _: random.Random) -> Iterator[None]:
    """Let the hook refuse every image, as a disk that has room does when a quota is reached."""
    with _marked(stage, "full"):
        yield


@contextmanager
def _marked(stage: Stage, name: str) -> Iterator[None]:
    """Make a file that the hook looks for."""
    marker = stage.folder / name
    marker.touch()
    try:
        yield
    finally:
        marker.unlink()


@contextmanager
def provider(stage: Stage, chance: random.Random, response: Any) -> Iterator[None]:
    for provider in PROVIDERS:
        stage.box.will(provider, *[response] * chance.randint(1, 2))
    yield
    for provider in PROVIDERS:
        stage.box.faults.pop(provider, None)


RESPONSES = {
    "loads": provider_faults.status(503, provider_faults.LOADING),
    "is overloaded": provider_faults.status(503),
    "limits the rate": provider_faults.status(429),
    "fails": provider_faults.status(500),
    "refuses the key": provider_faults.status(401),
    "says nothing": provider_faults.silence,
    "cuts its answer": provider_faults.half,
    "resets the connection": provider_faults.reset,
    "sends a broken image": provider_faults.garbage,
    "sends a flat image": provider_faults.flat,
}

FULL = ["CONFIG", "SET", "maxmemory", "1"]
NOT_FULL = ["CONFIG", "SET", "maxmemory", "0"]
