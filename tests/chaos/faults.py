"""The faults of processes and surroundings. Each lasts as long as the body of its context manager."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.chaos.stage import Stage
from tests.inference.hosted import faults as provider_faults

ROLES = ("api", "watchdog", "local worker", "hosted worker", "decoder")
PROVIDERS = ("fal-ai", "replicate", "hf-inference")
DAY_S = 86_400
RESTORING_TRIES = 60
FORGOTTEN = 0.3
"""How often a sweep finds no owner of the images, as after a restored backup without that file."""

Begin = Callable[[Stage, random.Random], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One kind of fault. longest_s: how long it lasts at most. database: the only one that can have it."""

    name: str
    begin: Begin
    longest_s: float = 3.0
    database: str | None = None


def _pick(stage: Stage, role: str, chance: random.Random) -> psutil.Process | None:
    found = sorted(stage.find(role), key=lambda process: process.pid)
    return chance.choice(found) if found else None


@contextmanager
def _killed(stage: Stage, chance: random.Random, role: str) -> Iterator[None]:
    process = _pick(stage, role, chance)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    yield


@contextmanager
def _standing_still(stage: Stage, chance: random.Random, role: str) -> Iterator[None]:
    process = _pick(stage, role, chance)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    yield
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


# Redis


def _redis_process(stage: Stage) -> psutil.Process | None:
    process = stage.redis._process
    with suppress(psutil.NoSuchProcess):
        return None if process is None else psutil.Process(process.pid)
    return None


@contextmanager
def _redis_killed(stage: Stage, _: random.Random) -> Iterator[None]:
    if (process := _redis_process(stage)) is not None:
        process.kill()
    yield


@contextmanager
def _redis_silent(stage: Stage, _: random.Random) -> Iterator[None]:
    process = _redis_process(stage)
    if process is not None:
        process.send_signal(signal.SIGSTOP)
    yield
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


@contextmanager
def _redis_told(stage: Stage, _: random.Random, begin: list[Any], end: list[Any] | None) -> Iterator[None]:
    with Redis.from_url(stage.redis.url, socket_timeout=2) as client:
        with suppress(RedisError):
            client.execute_command(*begin)
        yield
        with suppress(RedisError):
            if end is not None:
                client.execute_command(*end)


# Databases


@contextmanager
def _postgres_signalled(stage: Stage, _: random.Random) -> Iterator[None]:
    assert stage.postgres is not None
    stage.postgres.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stage.postgres.signal(signal.SIGCONT)


@contextmanager
def _postgres_restarted(stage: Stage, _: random.Random) -> Iterator[None]:
    assert stage.postgres is not None
    stage.postgres.restart()
    yield


@contextmanager
def _postgres_crashed(stage: Stage, _: random.Random) -> Iterator[None]:
    assert stage.postgres is not None
    stage.postgres.crash()
    yield


@contextmanager
def _postgres_read_only(stage: Stage, _: random.Random) -> Iterator[None]:
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
def _transaction_open(stage: Stage, _: random.Random, statement: str) -> Iterator[None]:
    with suppress(DBAPIError), stage.engine.connect() as connection:
        connection.execute(text(statement))
        yield
        connection.rollback()
        return
    yield


@contextmanager
def _write_lock(stage: Stage, _: random.Random) -> Iterator[None]:
    connection = sqlite3.connect(stage.data_dir / "avatar-creator.db", timeout=5, isolation_level=None)
    try:
        with suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


# The disk


@contextmanager
def _disk_full(stage: Stage, _: random.Random) -> Iterator[None]:
    """Shrink the folder's own file system to what is used; where there is none, refuse every image."""
    marker = stage.folder / "full"
    if stage.disk_bytes is None:
        marker.touch()
        yield
        marker.unlink()
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


# What an operator and time do


@contextmanager
def _changed(stage: Stage, _: random.Random, begin: str, end: str) -> Iterator[None]:
    with suppress(DBAPIError):
        stage.change(begin)
    yield
    for _try in range(RESTORING_TRIES):
        try:
            stage.change(end)
        except DBAPIError:
            time.sleep(1)
        else:
            return
    raise AssertionError(f"not restored: {end}")


@contextmanager
def _sweep_due(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Make a sweep due. It finds old files that nobody owns, and an owned image in quarantine."""
    images, quarantine = stage.data_dir / "images" / "avatars", stage.data_dir / "images" / "quarantine"
    with suppress(OSError):
        quarantine.mkdir(mode=0o700, exist_ok=True)
        stray = uuid4().hex
        for name in (f"{stray}.png", f"{stray}.jpg", f"{uuid4().hex}.png#1"):
            (images / name).write_bytes(b"stray")
            os.utime(images / name, (time.time() - DAY_S,) * 2)
        for ending in ("png", "jpg"):
            (images / f"{stage.kept_image}.{ending}").replace(quarantine / f"{stage.kept_image}.{ending}")
        if chance.random() < FORGOTTEN:
            forget_owner(stage)
    with suppress(DBAPIError):
        make_sweep_due(stage)
    yield


def forget_owner(stage: Stage) -> None:
    """Remove the file that says whose the images are, if most belong to avatars of the database."""
    images = stage.data_dir / "images"
    owned = stage.ask("SELECT count(*) FROM avatars")[0][0]
    if 2 * owned > 1.5 * len(list((images / "avatars").iterdir())):
        (images / "owner").unlink(missing_ok=True)


def make_sweep_due(stage: Stage) -> None:
    """Let the next round of any reaper sweep the images."""
    stage.change("UPDATE leader_locks SET until = '2000-01-01 00:00:00' WHERE name = 'images'")


@contextmanager
def _provider(stage: Stage, chance: random.Random, response: Any) -> Iterator[None]:
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
DEARER = "UPDATE ai_models SET credit_cost = credit_cost + 100"
AS_BEFORE = "UPDATE ai_models SET credit_cost = credit_cost - 100 WHERE credit_cost > 100"


def all_faults(database: str) -> list[Fault]:
    """Return the faults that a program on this database can have."""
    faults = [Fault(f"kill -9: {role}", partial(_killed, role=role)) for role in ROLES]
    faults += [Fault(f"SIGSTOP: {role}", partial(_standing_still, role=role), 10.0) for role in ROLES]
    faults += [
        Fault("Redis killed", _redis_killed),
        Fault("Redis flushed", partial(_redis_told, begin=["FLUSHALL"], end=None), 1.0),
        Fault("Redis full", partial(_redis_told, begin=FULL, end=NOT_FULL), 6.0),
        Fault("Redis silent", _redis_silent, 6.0),
        Fault("PostgreSQL restarted", _postgres_restarted, 1.0, "postgresql"),
        Fault("PostgreSQL killed", _postgres_crashed, 1.0, "postgresql"),
        Fault("PostgreSQL silent", _postgres_signalled, 16.0, "postgresql"),
        Fault("PostgreSQL read-only", _postgres_read_only, 6.0, "postgresql"),
        Fault("write lock held", _write_lock, 12.0, "sqlite"),
        Fault("disk full", _disk_full, 5.0),
        Fault("prices changed", partial(_changed, begin=DEARER, end=AS_BEFORE)),
        Fault(
            "entries disabled",
            partial(
                _changed,
                begin="UPDATE ai_models SET enabled = false WHERE model_key LIKE '%schnell%'",
                end="UPDATE ai_models SET enabled = true",
            ),
        ),
        Fault(
            "tiers changed",
            partial(
                _changed,
                begin="UPDATE users SET tier = 'free' WHERE tier = 'pro'",
                end="UPDATE users SET tier = 'pro' WHERE tier = 'free' AND id LIKE 'chaos-pro-%'",
            ),
        ),
        Fault("a sweep is due", _sweep_due),
    ]
    faults += [
        Fault(
            f"open transaction on {what}", partial(_transaction_open, statement=statement), 12.0, "postgresql"
        )
        for what, statement in LOCKS.items()
    ]
    faults += [
        Fault(f"a provider {what}", partial(_provider, response=response))
        for what, response in RESPONSES.items()
    ]
    return [fault for fault in faults if fault.database in (None, database)]
