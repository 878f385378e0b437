"""Measures the start of the server and its memory, and makes users for other measurements."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from benchmark.plan import Advance, Plan
from benchmark.record import Figure
from benchmark.running import prepared_folder, running_api, running_up
from catalog.tiers import Tier
from server.accounts.repository import Users
from server.credits.repository import Ledger
from server.db.unit_of_work import UnitOfWork
from server.projects.repository import Projects
from server.projects.tables import Project

CREDITS: Final = 10_000_000
MIB: Final = 2**20


def measure_api(plan: Plan, advance: Advance) -> list[Figure]:
    """Start the API process alone: its time to ready, its memory, and that it loads no torch."""
    seconds, resident, torch = [], [], 0
    with prepared_folder() as data_dir:
        for _ in range(plan.effort.starts):
            advance("starting the API")
            began = time.perf_counter()
            with running_api(data_dir, plan.weights) as (process, _port):
                seconds.append(time.perf_counter() - began)
                resident.append(process.memory_info().rss / MIB)
                torch += sum("libtorch" in mapped.path for mapped in process.memory_maps())
    return [
        Figure("API: start to ready, median", statistics.median(seconds), "s", at_most=2),
        Figure("API: resident memory when ready, most", max(resident), "MiB", at_most=150),
        Figure("API: torch libraries loaded", torch, "", at_most=0),
    ]


def measure_up(plan: Plan, advance: Advance) -> list[Figure]:
    """Start the whole server: its time until it accepts a generation."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(plan.effort.starts):
            advance("starting everything")
            began = time.perf_counter()
            with running_up(Path(folder), plan.weights):
                seconds.append(time.perf_counter() - began)
    return [
        Figure("up: start to ready on a new data folder", seconds[0], "s"),
        Figure("up: start to ready, median", statistics.median(seconds), "s", at_most=10),
    ]


def new_client(uow: UnitOfWork, tier: Tier = Tier.FREE) -> dict[str, Any]:
    """Make a user with a key, a project and more credits than the benchmark can spend."""
    with uow.begin() as tx:
        user = Users(tx).add(None, tier)
        Ledger(tx).open_account(user.id)
        Ledger(tx).grant(user.id, CREDITS, "Benchmark", user.id)
        key = Users(tx).mint_key(user.id, "benchmark")
        project = Project(id=str(uuid4()), user_id=user.id, name="Benchmark")
        Projects(tx).add(project)
    return {"user_id": user.id, "token": key.token, "project_id": project.id}
