"""Measures what a history of a million generations costs, beside a database that has next to none."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from benchmark.filling import LIMITS, claim_next, deliver, fill, new_user, request_in
from benchmark.plan import Advance, Plan
from benchmark.record import Figure
from benchmark.running import database, prepared_folder
from benchmark.submits import postgresql, two_databases
from server.caller import Caller
from server.clock import now
from server.credits.audit import audit_some
from server.credits.service import balance, history
from server.credits.tables import LedgerAudit
from server.db.unit_of_work import UnitOfWork
from server.generations.service import list_page as list_generations
from server.generations.submission import submit
from server.images.store import ImageStore
from server.observability.readings import read
from server.projects import service as projects
from server.projects.avatars import list_page as list_avatars
from server.scheduling.reaper import Reaper
from server.settings import Settings

ROUNDS: Final = 60
WARM_UPS: Final = 5
PAGE: Final = 50
OWN: Final = 2_500
"""The user's own generations, in both databases: every list has full pages. The history is the others'.

The list of avatars counts the user's own for its total, which takes 0.03 ms for each thousand.
"""
MOST: Final = 1.5
"""How many times as long something may take with the history."""


@dataclass
class _Side:
    """A database, the user who is measured in it, and what was measured."""

    uow: UnitOfWork
    reaper: Reaper
    caller: Caller
    project_id: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    number: int = 0

    def round(self) -> None:
        """Do everything once, each by itself against the clock."""
        self.number += 1
        self._time("submit", self._submit)
        claimed = self._time("claim", lambda: claim_next(self.uow))
        self._time("settle", lambda: deliver(self.uow, claimed, self.number))
        self._time("balance", lambda: balance(self.uow, self.caller))
        self._time("list of generations", lambda: list_generations(self.uow, self.caller, PAGE))
        self._time("list of avatars", lambda: list_avatars(self.uow, self.caller, PAGE))
        self._time("list of projects", lambda: projects.list_page(self.uow, self.caller, PAGE))
        self._time("history of credits", lambda: history(self.uow, self.caller, PAGE))
        self._time("metrics", lambda: read(self.uow))
        self._time("round of the reaper", self.reaper.round)

    def audit(self) -> float:
        """Return the seconds of one part of the audit."""
        return float(self._time("part of the audit", lambda: audit_some(self.uow), keeps=False))

    def _submit(self) -> None:
        submit(self.uow, lambda _: None, self.caller, request_in(self.project_id), LIMITS)

    def _time(self, name: str, act: Callable[[], Any], *, keeps: bool = True) -> Any:
        began = time.perf_counter()
        done = act()
        spent_s = time.perf_counter() - began
        if keeps and self.number > WARM_UPS:
            self.seconds.setdefault(name, []).append(spent_s)
        return done if keeps else spent_s


def measure_history(plan: Plan, advance: Advance) -> list[Figure]:
    """Do the same by turns with a history and without one, on SQLite and on PostgreSQL."""
    count = plan.effort.history
    figures: list[Figure] = []
    with postgresql() as url:
        for kind, urls in (
            ("sqlite", (None, None)),
            ("postgresql", two_databases(url, "without_history", "with_history")),
        ):
            with _prepared(urls[0], OWN, 0) as empty:
                advance(f"{kind}: making a history of {count}")
                with _prepared(urls[1], OWN, count - OWN) as full:
                    advance(f"{kind}: measuring")
                    for _ in range(WARM_UPS + ROUNDS):
                        empty.round()
                        full.round()
                    figures += _figures(kind, empty, full)
                    figures.append(Figure(f"history: {kind}: part of the audit", 1000 * full.audit(), "ms"))
    return figures


def _figures(kind: str, empty: _Side, full: _Side) -> Iterator[Figure]:
    for name, seconds in full.seconds.items():
        without_s, with_s = statistics.median(empty.seconds[name]), statistics.median(seconds)
        yield Figure(f"history: {kind}: {name}, without", 1000 * without_s, "ms")
        yield Figure(f"history: {kind}: {name}, with", 1000 * with_s, "ms")
        yield Figure(f"history: {kind}: {name}, with / without", with_s / without_s, "", at_most=MOST)


@contextmanager
def _prepared(url: str | None, own: int, others: int) -> Iterator[_Side]:
    with prepared_folder(url) as data_dir, database(data_dir, url) as uow:
        settings = Settings.from_environment(data_dir, {}).changed(reaper_period_s=0.0)
        caller, project_id = new_user(uow, "measured")
        fill(uow, settings, caller, project_id, own, others)
        with uow.begin() as tx:  # the reaper's round is measured between two audits
            tx.session.query(LedgerAudit).update({"ended_at": now()})
        reaper = Reaper(uow, ImageStore(settings.server.images_dir), settings)
        yield _Side(uow, reaper, caller, project_id)
