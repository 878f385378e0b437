"""The faults of processes and surroundings. Each lasts as long as the body of its context manager."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import psutil
from sqlalchemy.exc import DBAPIError

from tests.chaos import surroundings
from tests.chaos.stage import Stage

ROLES = ("api", "watchdog", "local worker", "hosted worker", "decoder")
RESTORING_TRIES = 60

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


def _standing_still(stage: Stage, chance: random.Random, role: str) -> AbstractContextManager[None]:
    return surroundings.standing_still(_pick(stage, role, chance))


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


DEARER = "UPDATE ai_models SET credit_cost = credit_cost + 100"
AS_BEFORE = "UPDATE ai_models SET credit_cost = credit_cost - 100 WHERE credit_cost > 100"


def leading_faults(database: str) -> list[Fault]:
    """Return those without which some use cases are rare: failures, releases, passing on to providers."""
    leading = ("a provider", "the device fails", "quota reached", "SIGTERM: local", "SIGTERM: hosted")
    return [fault for fault in all_faults(database) if fault.name.startswith(leading)]


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
        Fault("the device fails", surroundings.device_fails, 12.0),
        Fault("quota reached", surroundings.quota_reached),
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
