"""Measures what the server adds to the drawing: the same images with and without the server."""

import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmark.plan import Advance, Plan, Weights
from benchmark.record import Figure, Served, percentile
from benchmark.running import (
    TIMEOUT_S,
    Child,
    ask,
    assert_that,
    child,
    database,
    read_line,
    running_up,
)
from catalog.entries import APP_ID
from catalog.orders import Order
from catalog.tiers import Tier
from server.accounts.repository import Users
from server.db.unit_of_work import UnitOfWork
from server.events.repository import Events
from server.generations.tables import Generation
from server.supervisor.preparation import DEMO_ID

PROMPT: Final = "portrait of a woman with long red hair and glasses, blue background"
GENERATION_TIMEOUT_S: Final = 900  # Source: the server's limit of one attempt, loading included
WARM_UPS: Final = 2


def measure_overhead(plan: Plan, advance: Advance) -> list[Figure]:
    """Draw the same images alternately with and without the server, for the free entry and the fast one.

    The drawing of the fast entry is short, so its variation hides less of the overhead.
    """
    figures = []
    with tempfile.TemporaryDirectory() as folder, child("bare", plan.weights, Path(folder)) as bare:
        assert_that(read_line(bare)["ready"], "the bare pipeline is ready")
        with serving(plan.weights, Path(folder)) as (demo, uow):
            for entry in ("flux-dev-base", "flux-schnell-fast"):
                pairs = []
                for _ in range(WARM_UPS + plan.effort.images):
                    advance(f"drawing {entry} with and without the server")
                    pairs.append(draw_pair(demo, uow, bare, f"{APP_ID}:{entry}"))
                figures += overhead_figures(entry, pairs[WARM_UPS:])
    return figures


def measure_served(plan: Plan, profile: str, advance: Advance) -> dict[str, Served]:
    """Draw every entry through the API with one profile; return the times by the entry's short key.

    No other process holds weights meanwhile: FLUX.1 fits on a device once, not twice.
    """
    served = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(plan.weights, Path(folder), DRAW_PROFILE=profile) as (demo, uow),
    ):
        for entry in plan.chosen():
            timed = []
            for _ in range(1 + plan.effort.runs):  # the first loads and warms up
                advance(f"drawing {entry.name} through the server")
                timed.append(draw_served(demo, uow, entry.key))
            seconds = [image.served_s for image in timed[1:]]
            added_ms = [(image.served_s - image.phases_s) * 1000 for image in timed[1:]]
            served[entry.short_key] = Served(
                p50_s=statistics.median(seconds),
                p95_s=percentile(seconds, 95),
                adds_p50_ms=statistics.median(added_ms),
            )
    return served


@contextmanager
def serving(weights: Weights, data_dir: Path, **changes: str) -> Iterator[tuple[dict[str, str], UnitOfWork]]:
    """Start the whole server, and let its demo account draw with every entry at no price.

    changes: settings.
    """
    with running_up(data_dir, weights, **changes) as demo, database(data_dir) as uow:
        with uow.begin() as tx:
            Users(tx).find(DEMO_ID).tier = Tier.ENTERPRISE.value
        yield demo, uow


@dataclass(frozen=True)
class Pair:
    """The times in seconds of one image, drawn by the server and then bare."""

    posted_s: float
    served_s: float
    phases_s: float
    bare_s: float
    encode_s: float


@dataclass(frozen=True)
class ServedImage:
    """The times in seconds and the order of one image that the server drew."""

    posted_s: float
    served_s: float
    phases_s: float
    order: Order


def draw_pair(demo: dict[str, str], uow: UnitOfWork, bare: Child, model_key: str) -> Pair:
    """Draw one image through the server, and the same image without it."""
    served = draw_served(demo, uow, model_key)
    bare_answer = ask(bare, draw=served.order.to_json())
    return Pair(
        posted_s=served.posted_s,
        served_s=served.served_s,
        phases_s=served.phases_s,
        bare_s=bare_answer["draw_s"],
        encode_s=bare_answer["encode_s"],
    )


def draw_served(demo: dict[str, str], uow: UnitOfWork, model_key: str) -> ServedImage:
    """Draw one image through the server."""
    posted_s, accepted_at, generation = generate(demo, uow, model_key)
    with uow.read() as tx:
        phases = Events(tx).of(generation.id)[-1].data["seconds"]
    completed_at = generation.completed_at or datetime.max.replace(tzinfo=UTC)
    served_s = (completed_at - accepted_at).total_seconds()
    return ServedImage(posted_s, served_s, sum(phases.values()), generation.order)


def overhead_figures(entry: str, pairs: Sequence[Pair]) -> list[Figure]:
    """Compare the served images with the bare ones."""
    bare_s = [pair.bare_s + pair.encode_s for pair in pairs]
    added_ms = [(pair.served_s - bare) * 1000 for pair, bare in zip(pairs, bare_s, strict=True)]
    outside_ms = [(pair.served_s - pair.phases_s - pair.encode_s) * 1000 for pair in pairs]
    name = f"overhead of {entry}"
    return [
        Figure(f"{name}: bare pipeline and PNG, p50", statistics.median(bare_s), "s"),
        Figure(f"{name}: accepted to stored, p50", statistics.median(pair.served_s for pair in pairs), "s"),
        Figure(f"{name}: added by the server, p50", statistics.median(added_ms), "ms", at_most=50),
        Figure(f"{name}: added by the server, p95", percentile(added_ms, 95), "ms"),
        Figure(
            f"{name}: outside the pipeline's phases, p50", statistics.median(outside_ms), "ms", at_most=50
        ),
        Figure(f"{name}: outside the pipeline's phases, p95", percentile(outside_ms, 95), "ms"),
        Figure(
            f"{name}: POST until accepted, p50", statistics.median(p.posted_s for p in pairs) * 1000, "ms"
        ),
    ]


def generate(demo: dict[str, str], uow: UnitOfWork, model_key: str) -> tuple[float, datetime, Generation]:
    """Submit one generation and wait until it is completed.

    Returns the seconds of the POST, the time of its answer, and the completed generation.
    """
    address = urlsplit(demo["url"])
    connection = HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
    path = f"/api/avatar-creator/projects/{demo['projectId']}/avatars/generate"
    headers = {"Authorization": f"Bearer {demo['apiKey']}", "Content-Type": "application/json"}
    body = {"name": "Ada", "prompt": PROMPT, "seed": 7, "modelKey": model_key}
    began = time.perf_counter()
    connection.request("POST", path, json.dumps(body), headers)
    answer = json.load(connection.getresponse())
    posted_s, accepted_at = time.perf_counter() - began, datetime.now(UTC)
    connection.close()
    deadline = time.monotonic() + GENERATION_TIMEOUT_S
    while time.monotonic() < deadline:
        time.sleep(0.1)  # rare polling leaves the cores to the worker; the row has the exact time of the end
        with uow.read() as tx:
            generation = tx.session.get(Generation, answer["generation"]["id"])
        if generation is not None and generation.completed_at is not None:
            assert_that(generation.status == "completed", f"completed: {generation.error_message}")
            return posted_s, accepted_at, generation
    raise TimeoutError("the generation did not end")
