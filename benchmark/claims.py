"""Measures a claim beside many that wait and beside few, and what eight workers claim together."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Final

from sqlalchemy import create_engine, text

from benchmark.filling import LIMITS, NAMES, claim_next, copies, new_user, request_in
from benchmark.plan import Advance, Plan
from benchmark.record import Figure, percentile
from benchmark.running import assert_that, child, database, prepared_folder, read_line, send
from benchmark.submits import postgresql, two_databases
from server.db.engine import open_engine
from server.db.unit_of_work import UnitOfWork
from server.generations.submission import submit
from server.generations.turns import STEP_S

FEW: Final = 100
MANY: Final = 100_000
EACH: Final = 10
"""Generations that wait of each user."""
ROUNDS: Final = 1000
WARM_UPS: Final = 50
WORKERS: Final = 8
CLAIMS_EACH: Final = 1000
TIERS: Final = "CASE n % 4 WHEN 0 THEN 'free' WHEN 1 THEN 'basic' WHEN 2 THEN 'pro' ELSE 'enterprise' END"
MODELS: Final = "CASE n % 3 WHEN 0 THEN 'black-forest-labs/FLUX.1-schnell' ELSE model_id END"


def measure_claims(plan: Plan, advance: Advance) -> list[Figure]:
    """Claim by turns with many waiting and with few, on both databases; then with eight processes."""
    figures: list[Figure] = []
    with postgresql() as url:
        for kind, urls in (("sqlite", (None, None)), ("postgresql", two_databases(url, "few", "many"))):
            with ExitStack() as stack:
                advance(f"{kind}: submitting {MANY}")
                few = stack.enter_context(_waiting(urls[0], FEW))
                many = stack.enter_context(_waiting(urls[1], MANY))
                advance(f"{kind}: claiming")
                figures += _compared(kind, few, many)
        advance("postgresql: eight workers")
        figures += _together(plan, two_databases(url, "idle", "busy")[1])
    return figures


def claim_until(url: str, most: int, answer: Callable[..., None], ready: Callable[[], object]) -> None:
    """Say that this process is ready; when told to, claim `most` generations and answer with their ids."""
    uow = UnitOfWork(open_engine(url))
    try:
        with uow.read() as tx:
            tx.session.execute(text("SELECT 1"))
        answer(ready=True)
        ready()
        answer(ids=[claim_next(uow)[1].id for _ in range(most)])
    finally:
        uow.close()


def _compared(kind: str, few: UnitOfWork, many: UnitOfWork) -> Iterator[Figure]:
    seconds: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(WARM_UPS + ROUNDS):
        for name, uow in (("few", few), ("many", many)):
            began = time.perf_counter()
            _, generation = claim_next(uow)
            spent_s = time.perf_counter() - began
            if number >= WARM_UPS:
                seconds[name].append(spent_s)
            _queue_again(uow, generation.id)
    of = {"few": f"among {FEW}", "many": f"among {MANY} of {MANY // EACH} users"}
    for name, spent in seconds.items():
        most = 5 if name == "many" else None
        yield Figure(f"claims: {kind}: {of[name]}, p50", 1000 * median(spent), "ms")
        yield Figure(f"claims: {kind}: {of[name]}, p99", 1000 * percentile(spent, 99), "ms", at_most=most)
    ratio = median(seconds["many"]) / median(seconds["few"])
    yield Figure(f"claims: {kind}: among many / among few, p50", ratio, "", at_most=1.5)


def _queue_again(uow: UnitOfWork, generation_id: str) -> None:
    """Let what was claimed wait again behind all others: so their number stays the same."""
    with uow.begin() as tx:
        tx.session.execute(
            text(
                "UPDATE generations SET status = 'pending', lease_until = NULL, worker = NULL, "
                "turn = turn + :behind WHERE id = :id"
            ),
            {"behind": EACH * STEP_S, "id": generation_id},
        )


def _together(plan: Plan, url: str) -> Iterator[Figure]:
    """Let eight processes claim at once what waits."""
    with ExitStack() as stack:
        stack.enter_context(_waiting(url, MANY))
        data_dir = stack.enter_context(prepared_folder(url))
        workers = [stack.enter_context(child("claims", plan.weights, data_dir)) for _ in range(WORKERS)]
        for worker in workers:
            send(worker, {"url": url, "most": CLAIMS_EACH})
        for worker in workers:
            assert_that(read_line(worker)["ready"], "a worker is ready")
        began = time.perf_counter()
        for worker in workers:
            send(worker, {})
        ids = [generation_id for worker in workers for generation_id in read_line(worker)["ids"]]
        spent_s = time.perf_counter() - began
    name = f"claims: postgresql: {WORKERS} workers"
    yield Figure(f"{name}, together", len(ids) / spent_s, "/s", at_least=500)
    yield Figure(f"{name}, claimed twice", len(ids) - len(set(ids)), "", at_most=0)


@contextmanager
def _waiting(url: str | None, count: int) -> Iterator[UnitOfWork]:
    """Prepare a database in which so many generations wait, ten of each user."""
    with prepared_folder(url) as data_dir, database(data_dir, url) as uow:
        caller, project_id = new_user(uow, "measured")
        submitted = submit(uow, lambda _: None, caller, request_in(project_id), LIMITS).generation
        copy_waiting(uow, submitted.id, count)
        yield uow


def copy_waiting(uow: UnitOfWork, generation_id: str, count: int) -> None:
    """Copy a waiting generation so often, with a user for each ten: of two models, by turns of four tiers."""
    engine = create_engine(uow.engine.url, isolation_level="AUTOCOMMIT")  # without deadlines
    users, name = -(-count // EACH), NAMES[engine.dialect.name]
    of_user = f"(n % {users})"
    user = {"id": name.format(kind="w", number="n - 1"), "email": "NULL"}
    owner = "id = (SELECT user_id FROM generations WHERE id = :of_generation)"
    generation = {
        "id": name.format(kind="g", number="n"),
        "user_id": name.format(kind="w", number=of_user),
        "tier": TIERS.replace("n % 4", f"{of_user} % 4"),
        "model_id": MODELS,
        "turn": f"turn + {STEP_S} * (n / {users}) + 0.000001 * n",
    }
    of = {"of_generation": generation_id}
    with engine.connect() as connection:
        connection.execute(text(copies("users", user, owner)), of | {"count": users})
        connection.execute(
            text(copies("generations", generation, "id = :of_generation")), of | {"count": count}
        )
        connection.execute(text("VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "ANALYZE"))
    engine.dispose()
