"""What hours do, in seconds: sweeps are due, images and generations are old, leases have run out."""

import os
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from sqlalchemy.exc import DBAPIError

from tests.chaos.stage import Stage

PERIOD_S = 2.5
DAY_S = 86_400
WAITED = """
    UPDATE generations SET created_at = '2000-01-01 00:00:00'
    WHERE id = (SELECT id FROM generations WHERE status = 'pending' ORDER BY id LIMIT 1)"""
"""One generation has waited for too long."""
RAN_OUT = """
    UPDATE generations SET lease_until = '2000-01-01 00:00:00'
    WHERE id = (SELECT id FROM generations WHERE status = 'processing' ORDER BY id LIMIT 1)"""
"""One lease has run out while its worker draws: another attempt begins, and the worker comes too late."""
AUDIT_DUE = "UPDATE ledger_audit SET ended_at = '2000-01-01 00:00:00'"
SWEEP_DUE = "UPDATE leader_locks SET until = '2000-01-01 00:00:00' WHERE name = 'images'"


class TimePassing:
    """Lets time pass while it runs. counts: what happened, for the report."""

    def __init__(self, stage: Stage, chance: random.Random, counts: Counter[str]) -> None:
        self._stage = stage
        self._chance = chance
        self._counts = counts

    def run(self, stopped: threading.Event) -> None:
        """Make a sweep due again and again, and at times let something else be old."""
        while not stopped.wait(PERIOD_S):
            with suppress(DBAPIError, OSError):  # in the middle of another fault
                self._pass()

    def _pass(self) -> None:
        plant_strays(self._stage)
        misplace_kept_image(self._stage)
        if self._chance.random() < 0.4:
            forget_owner(self._stage)
        self._counts["a sweep is due"] += make_sweep_due(self._stage)
        if self._chance.random() < 0.3:
            self._counts["an audit is due"] += self._stage.change(AUDIT_DUE)
        if self._chance.random() < 0.3:
            self._counts["a generation waited too long"] += self._stage.change(WAITED)
        if self._chance.random() < 0.3:
            self._counts["a lease ran out"] += self._stage.change(RAN_OUT)


def make_sweep_due(stage: Stage) -> int:
    """Let the next round of any reaper sweep the images."""
    return stage.change(SWEEP_DUE)


def plant_strays(stage: Stage) -> None:
    """Leave an old image that nobody owns, and an old file that was not written to its end."""
    stray = uuid4().hex
    for name in (f"{stray}.png", f"{stray}.jpg", f"{uuid4().hex}.png#1"):
        path = stage.data_dir / "images" / "avatars" / name
        path.write_bytes(b"stray")
        os.utime(path, (time.time() - DAY_S,) * 2)


def quarantine_stray(stage: Stage) -> None:
    """Leave an image in quarantine that nobody owns."""
    (_quarantine(stage) / f"{uuid4().hex}.png").write_bytes(b"stray")


def misplace_kept_image(stage: Stage) -> None:
    """Move an image that an avatar owns into quarantine, as another database that used the folder would."""
    images, quarantine = stage.data_dir / "images" / "avatars", _quarantine(stage)
    for ending in ("png", "jpg"):
        with suppress(FileNotFoundError):  # it is there still
            (images / f"{stage.kept_image}.{ending}").replace(quarantine / f"{stage.kept_image}.{ending}")


def _quarantine(stage: Stage) -> Path:
    folder = stage.data_dir / "images" / "quarantine"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def forget_owner(stage: Stage) -> None:
    """Remove the file that says whose the images are, if most belong to avatars of the database."""
    images = stage.data_dir / "images"
    owned = stage.ask("SELECT count(*) FROM avatars")[0][0]
    there = {path.name.split(".")[0] for path in (images / "avatars").iterdir()}
    if 2 * owned > 1.5 * len(there):
        (images / "owner").unlink(missing_ok=True)
