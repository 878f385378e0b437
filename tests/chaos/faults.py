"""The faults of processes and surroundings. Each lasts as long as the body of its context manager."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import psutil
from sqlalchemy.exc import DBAPIError

from tests.chaos import surroundings
from tests.chaos.stage import Stage

ROLES = ("api", "watchdog", "local worker", "hosted worker", "decoder")
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
def _signalled(stage: Stage, chance: random.Random, role: str, number: signal.Signals) -> Iterator[None]:
    process = _pick(stage, role, chance)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
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
        plant_strays(stage)
        for ending in ("png", "jpg"):
            (images / f"{stage.kept_image}.{ending}").replace(quarantine / f"{stage.kept_image}.{ending}")
        if chance.random() < FORGOTTEN:
            forget_owner(stage)
    with suppress(DBAPIError):
        make_sweep_due(stage)
    yield


def plant_strays(stage: Stage) -> None:
    """Leave an old image that nobody owns, and an old file that was not written to its end."""
    stray = uuid4().hex
    for name in (f"{stray}.png", f"{stray}.jpg", f"{uuid4().hex}.png#1"):
        path = stage.data_dir / "images" / "avatars" / name
        path.write_bytes(b"stray")
        os.utime(path, (time.time() - DAY_S,) * 2)


def forget_owner(stage: Stage) -> None:
    """Remove the file that says whose the images are, if most belong to avatars of the database."""
    images = stage.data_dir / "images"
    owned = stage.ask("SELECT count(*) FROM avatars")[0][0]
    if 2 * owned > 1.5 * len(list((images / "avatars").iterdir())):
        (images / "owner").unlink(missing_ok=True)


def make_sweep_due(stage: Stage) -> None:
    """Let the next round of any reaper sweep the images."""
    stage.change("UPDATE leader_locks SET until = '2000-01-01 00:00:00' WHERE name = 'images'")


DEARER = "UPDATE ai_models SET credit_cost = credit_cost + 100"
AS_BEFORE = "UPDATE ai_models SET credit_cost = credit_cost - 100 WHERE credit_cost > 100"


def all_faults(database: str) -> list[Fault]:
    """Return the faults that a program on this database can have."""
    faults = [
        Fault(f"{words}: {role}", partial(_signalled, role=role, number=number))
        for words, number in (("kill -9", signal.SIGKILL), ("SIGTERM", signal.SIGTERM))
        for role in ROLES
    ]
    faults += [Fault(f"SIGSTOP: {role}", partial(_standing_still, role=role), 10.0) for role in ROLES]
    faults += [
        Fault("Redis killed", surroundings.redis_killed),
        Fault("Redis flushed", partial(surroundings.redis_told, begin=["FLUSHALL"], end=None), 1.0),
        Fault(
            "Redis full",
            partial(surroundings.redis_told, begin=surroundings.FULL, end=surroundings.NOT_FULL),
            6.0,
        ),
        Fault("Redis silent", surroundings.redis_silent, 6.0),
        Fault("PostgreSQL restarted", surroundings.postgres_restarted, 1.0, "postgresql"),
        Fault("PostgreSQL killed", surroundings.postgres_crashed, 1.0, "postgresql"),
        Fault("PostgreSQL silent", surroundings.postgres_signalled, 16.0, "postgresql"),
        Fault("PostgreSQL read-only", surroundings.postgres_read_only, 6.0, "postgresql"),
        Fault("write lock held", surroundings.write_lock, 12.0, "sqlite"),
        Fault("the device fails", surroundings.device_fails, 6.0),
        Fault("disk full", surroundings.disk_full, 5.0),
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
            f"open transaction on {what}",
            partial(surroundings.transaction_open, statement=statement),
            12.0,
            "postgresql",
        )
        for what, statement in surroundings.LOCKS.items()
    ]
    faults += [
        Fault(f"a provider {what}", partial(surroundings.provider, response=response))
        for what, response in surroundings.RESPONSES.items()
    ]
    return [fault for fault in faults if fault.database in (None, database)]
