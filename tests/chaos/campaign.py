"""A campaign: rounds of storm, calm and quiet, and what is checked in each."""

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from catalog.tiers import Tier
from server.accounts import service as accounts
from server.db.engine import open_engine
from server.db.unit_of_work import UnitOfWork
from tests.chaos import invariants, logs
from tests.chaos.clients import Client, open_project
from tests.chaos.crash_director import CrashDirector
from tests.chaos.faults import all_faults, leading_faults
from tests.chaos.first_start import visit_first_start
from tests.chaos.operating import Operator
from tests.chaos.promises import Promises
from tests.chaos.report import Report
from tests.chaos.session import MARK, Account
from tests.chaos.stage import Stage
from tests.chaos.time_passing import DAY_S, TimePassing, make_sweep_due, plant_strays
from tests.e2e.program import wait_for
from tests.inference.hosted.box import KEY
from tests.server.signing import SESSION_SECRET

QUIET_S = 120
"""How long after the faults nothing may be left under way."""
SETTLE_S = 2.0
"""After a storm, when all parts are ready again, before a calm window begins."""
USERS = ("free", "free", "basic", "basic", "pro", "pro", "enterprise")
POINTS_ALONE_FROM = 0.7
"""From this share of the time on few kinds of faults are left, as long as a crash point was not visited."""
CREDITS = 20_000
POOR = 30
"""The credits of one user, who often cannot pay."""


@dataclass(frozen=True)
class Plan:
    """How long a campaign is. storm_s, calm_s: of one round. more_s: at most beyond that, for points left.

    points: a regular expression of the crash points that are armed.
    """

    seconds: float
    seed: int
    storm_s: float
    calm_s: float
    more_s: float = 0.0
    points: str = ""


class Campaign:
    """Runs a plan on a stage."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.stage = stage
        self.plan = plan
        self.chance = random.Random(f"{plan.seed} faults")
        self.promises = Promises()
        self.director = CrashDirector(stage.folder, random.Random(f"{plan.seed} points"), plan.points)
        self.database = stage.engine.dialect.name
        disk = "a file system of its own" if stage.disk_bytes else "simulated at each image"
        self.report = Report(self.database, plan.seed, plan.seconds, disk)
        self.clients: list[Client] = []
        self.calm: list[tuple[float, float]] = []
        self._to_come: list[Any] = []

    def run(self) -> Report:
        """Run all rounds and return the report."""
        began = time.monotonic()
        self._populate()
        if self.plan.more_s:
            visit_first_start(self.stage, self.director)
        while (spent_s := time.monotonic() - began) < self.plan.seconds or self._is_short_of_points(spent_s):
            late = spent_s > POINTS_ALONE_FROM * self.plan.seconds and bool(self.director.unvisited())
            self._round(every=not late)
        self._sweep()
        self._finish()
        self.report.took_s = round(time.monotonic() - began)
        for client in self.clients:
            client.close()
        return self.report

    def _is_short_of_points(self, spent_s: float) -> bool:
        return spent_s < self.plan.seconds + self.plan.more_s and bool(self.director.unvisited())

    def _populate(self) -> None:
        """Make the users, their projects, and an image that nobody deletes."""
        for number, tier in enumerate(USERS):
            user_id, credits_ = f"chaos-{tier}-{number}", POOR if number == 0 else CREDITS
            token = _register(self.stage, user_id, tier, credits_)
            account = Account(user_id, tier, token)
            client = Client(account, self.stage.urls, self.promises, f"{self.plan.seed} {user_id}")
            open_project(client)
            self.promises.secrets.add(token)
            self.clients.append(client)
        keeper = self.clients[-1]
        keeper.upload()
        [[self.stage.kept_image]] = self.stage.ask("SELECT image_key FROM avatars LIMIT 1")

    def _round(self, *, every: bool) -> None:
        accounts = [client.account for client in self.clients]
        operator = Operator(
            self.stage,
            accounts,
            self.promises,
            f"{self.plan.seed} operator {len(self.calm)}",
            self.director.unvisited,
        )
        passing = TimePassing(self.stage, random.Random(f"{self.plan.seed} time"), self.report.faults)
        with _running([operator.run, *(client.run for client in self.clients)]):
            with _running([self.director.run, passing.run]):
                self._storm(time.monotonic() + self.plan.storm_s, every=every)
            over = time.monotonic()
            self._recover()
            ready_s = time.monotonic() - over
            time.sleep(SETTLE_S)
            calm_since = time.monotonic()
            time.sleep(self.plan.calm_s)
            self.calm.append((calm_since, time.monotonic()))
        self.report.seconds_to_ready.append(round(ready_s, 1))
        self.report.seconds_to_quiet.append(round(self._wait_until_quiet(), 1))
        self._check()

    def _storm(self, until: float, *, every: bool) -> None:
        """Let one fault after another happen, each kind once before any comes again.

        every: of all kinds, and not only of those that lead to rare use cases.
        """
        while time.monotonic() < until:
            if not self._to_come:
                faults = all_faults(self.database) if every else leading_faults(self.database)
                self._to_come = self.chance.sample(faults, len(faults))
            fault = self._to_come.pop()
            self.report.faults[fault.name] += 1
            with fault.begin(self.stage, self.chance):
                time.sleep(self.chance.uniform(0.3, fault.longest_s))
            time.sleep(self.chance.uniform(0.2, 1.5))

    def _recover(self) -> None:
        self.stage.resume()
        self._require("all parts are ready", self.stage.is_ready)

    def _wait_until_quiet(self) -> float:
        began = time.monotonic()
        unfinished = "SELECT count(*) FROM generations WHERE status IN ('pending', 'processing')"
        self._require("every generation has ended", lambda: self.stage.ask(unfinished)[0][0] == 0)
        return time.monotonic() - began

    def _require(self, what: str, look: Callable[[], bool]) -> None:
        try:
            wait_for(what, look, QUIET_S, 0.3)
        except AssertionError as error:
            self.promises.violated(f"{error}; {self.stage.readiness()}")

    def _check(self) -> None:
        for words in invariants.check(self.stage, self.promises):
            self.promises.violated(words)

    def _sweep(self) -> None:
        """Make what crashes left old, and see it leave the folder of images at the next sweep."""
        plant_strays(self.stage)
        for path in invariants.unowned(self.stage):
            os.utime(path, (time.time() - DAY_S,) * 2)
        make_sweep_due(self.stage)
        self._require("no unowned image is left", lambda: not invariants.unowned(self.stage))
        kept = self.stage.data_dir / "images" / "avatars" / f"{self.stage.kept_image}.png"
        self._require("an image that an avatar owns is moved back from quarantine", kept.exists)

    def _finish(self) -> None:
        """Ask the doctor, read the logs, and fill in the report."""
        self._check()
        doctor = self.stage.run("doctor")
        if doctor.returncode != 0:
            self.promises.violated(f"doctor: {doctor.stdout}")
        for words in logs.faults_of_ours(self.stage.logs):
            self.promises.violated(f"a traceback in a log, {words}")
        secrets = {*self.promises.secrets, MARK, KEY, SESSION_SECRET, self.stage.redis.url.split("@")[0]}
        for words in logs.told_secrets(self.stage.logs, secrets):
            self.promises.violated(f"a secret in a log: {words}")
        if self.stage.postgres is not None and (deadlocks := self.stage.postgres.deadlocks()):
            self.promises.violated(f"PostgreSQL has logged {deadlocks} deadlocks")
        self.director.look()
        self.report.take_points(self.director)
        self.report.take_samples(self.promises.samples, self.calm)
        self.report.counts = dict(sorted(self.promises.counts.items()))
        self.report.counts["requests answered"] = len(self.promises.samples)
        self.report.counts["generations promised"] = len(self.promises.generations)
        self.report.restarts = {part.name: part.restarts for part in self.stage.parts}
        self.report.violations = list(self.promises.violations.values())


def _register(stage: Stage, user_id: str, tier: str, credits_: int) -> str:
    """Make a user as the command does; return the key."""
    uow = UnitOfWork(open_engine(stage.changes["DATABASE_URL"]))
    made = accounts.register(
        uow,
        email=None,
        tier=Tier(tier),
        granted=credits_,
        reason="Chaos",
        key_label="first",
        user_id=user_id,
    )
    uow.close()
    return made.key.token


@contextmanager
def _running(tasks: list[Callable[[threading.Event], None]]) -> Any:
    """Run each task in a thread while the body runs; raise what any of them raised."""
    stopped = threading.Event()
    with ThreadPoolExecutor(len(tasks)) as pool, ExitStack() as stack:
        stack.callback(stopped.set)
        running = [pool.submit(task, stopped) for task in tasks]
        yield
        stopped.set()
        for task in running:
            task.result()
