"""Overload: ten times as much is ordered as can be drawn, and one user floods the queue."""

import json
import os
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import httpx
import pytest
from sqlalchemy import select

from benchmark.serving import new_client
from catalog.tiers import Tier
from server.credits.service import audit
from server.events.tables import Event
from tests.e2e.program import PROMPT, User, wait_for

OVERLOAD_S = float(os.environ.get("OVERLOAD_S", "6"))
TIMES = 10  # the capacity
USERS = 24
CLIENTS = 32  # connections, each with one request at a time
DEPTH = 12  # more than are ordered at once to find the capacity, and soon full
FLOODERS = 4
ENTRY = "flux-schnell-fast"
SETTINGS = {
    "RATE_LIMITS": "on",
    "RATE_LIMIT_GENERATE": "30/minute",
    "QUEUE_MAX_DEPTH": str(DEPTH),
    "QUEUE_MAX_PER_USER": "20",
}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3 * OVERLOAD_S + 300)]


def order(client, project_id, token):
    """Order an avatar in a project, and return the answer."""
    return client.post(
        f"/api/avatar-creator/projects/{project_id}/avatars/generate",
        json={"name": "Ada", "prompt": PROMPT, "modelKey": ENTRY},
        headers={"Authorization": f"Bearer {token}"},
    )


class Orders:
    """Orders avatars for many users at a rate that does not wait for answers, and keeps what came back."""

    def __init__(self, url: str, users: list[dict[str, str]]) -> None:
        self.url = url
        self.users = users

    def send(self, rate_per_s: float, for_s: float) -> list[tuple[int, float]]:
        """Return the status of each answer and its seconds, counted from when the order was due."""
        tickets, lock, began = count(), threading.Lock(), time.monotonic()
        answers: list[tuple[int, float]] = []

        def order_until_the_end() -> None:
            with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
                while True:
                    with lock:
                        ticket = next(tickets)
                    due = began + ticket / rate_per_s
                    if due > began + for_s:
                        return
                    time.sleep(max(0.0, due - time.monotonic()))
                    status = self._order(client, self.users[ticket % len(self.users)])
                    answers.append((status, time.monotonic() - due))

        with ThreadPoolExecutor(CLIENTS) as threads:
            for done in [threads.submit(order_until_the_end) for _ in range(CLIENTS)]:
                done.result()
        return answers

    def _order(self, client: httpx.Client, user: dict[str, str]) -> int:
        answer = order(client, user["project_id"], user["token"])
        if answer.status_code in (429, 503):
            assert answer.headers["Retry-After"], answer.text
        return answer.status_code


def drained(program):
    """Wait until nothing waits or is drawn, for any user."""

    def left():
        with program.reading() as tx:
            ended = select(Event.generation_id).where(Event.kind.in_(("completed", "failed")))
            return tx.session.scalar(select(Event.id).where(Event.generation_id.not_in(ended)).limit(1))

    wait_for("the queue is empty", lambda: left() is None, 240)


def p99_ms(seconds):
    """Return the 99th percentile in milliseconds."""
    return 1000 * statistics.quantiles(seconds, n=100)[98]


@pytest.fixture(scope="class")
def overloaded(launch):
    """A program, the answers of a quiet time and those of the overload."""
    program = launch(**SETTINGS)
    program.start_json()
    users = [new_client(program.uow, Tier.BASIC) for _ in range(USERS)]
    orders = Orders(program.url, users)
    program.user(users[0]["token"], users[0]["project_id"]).drawn(modelKey=ENTRY)
    began = time.monotonic()
    orders.send(1000, 0.008)  # eight at once: how fast they are drawn is the capacity
    drained(program)
    capacity_per_s = 8 / (time.monotonic() - began)
    quiet = orders.send(capacity_per_s / 2, max(8, OVERLOAD_S / 3))
    drained(program)
    loud = orders.send(TIMES * capacity_per_s, OVERLOAD_S)
    drained(program)
    yield program, capacity_per_s, quiet, loud
    program.stop()


class TestOverload:
    def test_only_refusals_with_a_time(self, overloaded, record_property):
        """Every answer accepts the order, or refuses it with 429 or 503 and says when to come again."""
        _, capacity_per_s, quiet, loud = overloaded
        statuses = Counter(status for status, _ in loud)
        times = {
            words: p99_ms([seconds for status, seconds in answers if status == 200])
            for words, answers in (("quiet", quiet), ("loud", loud))
        }
        figures = (
            f"{capacity_per_s:.2f}/s drawn, {len(loud) / OVERLOAD_S:.1f}/s ordered",
            f"answers {json.dumps(statuses, sort_keys=True)}",
            f"p99 of what is accepted {times['quiet']:.0f} ms quiet, {times['loud']:.0f} ms overloaded",
            f"ratio {times['loud'] / times['quiet']:.2f}",
        )
        record_property("figure", f"overload of {OVERLOAD_S:g} s: {'; '.join(figures)}")
        assert set(statuses) <= {200, 429, 503}
        assert statuses[429] + statuses[503]

    def test_what_was_accepted_is_drawn(self, overloaded):
        """Every accepted order was drawn, nothing was lost, and the ledger balances."""
        program, _, quiet, loud = overloaded
        accepted = sum(status == 200 for status, _ in (*quiet, *loud))
        with program.reading() as tx:
            kinds = Counter(tx.session.scalars(select(Event.kind)))
        assert kinds["completed"] == kinds["queued"] >= accepted
        assert kinds["failed"] == kinds["lost"] == 0
        assert audit(program.uow).passed


@pytest.fixture(scope="class")
def flooded(launch):
    """The ids of one enterprise user's generations, who floods the queue, and those of others beside it."""
    program = launch(QUEUE_MAX_PER_USER="8", QUEUE_MAX_DEPTH="100")
    program.start_json()
    flooder = program.new_user("enterprise", 0)
    others = [program.new_user("basic", 1_000_000) for _ in range(2)]
    others[0].drawn(modelKey=ENTRY)
    until = time.monotonic() + OVERLOAD_S
    statuses: Counter[int] = Counter()

    def flood(user: User) -> list[str]:
        accepted = []
        with httpx.Client(base_url=program.url, timeout=60, trust_env=False) as client:
            while time.monotonic() < until:
                answer = order(client, user.project_id, user.token)
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    accepted.append(answer.json()["generation"]["id"])
                time.sleep(0.05)
        return accepted

    def ask(user: User) -> list[str]:
        asked = []
        while time.monotonic() < until:
            asked.append(user.generate(modelKey=ENTRY)["generation"]["id"])
            user.ended(asked[-1])
        return asked

    with ThreadPoolExecutor() as threads:
        floods = [threads.submit(flood, flooder) for _ in range(FLOODERS)]
        wait_for("the queue is flooded", lambda: statuses[429])
        asking = [threads.submit(ask, user) for user in others]
        theirs = [generation for done in asking for generation in done.result()]
        flood_ids = {generation for done in floods for generation in done.result()}
    drained(program)
    yield program, flood_ids, theirs, statuses
    program.stop()


class TestFlood:
    def test_others_wait_for_one_image(self, flooded, record_property):
        """Between another user's order and its turn, at most one of the flood's generations is begun."""
        program, flood_ids, theirs, statuses = flooded
        with program.reading() as tx:
            events = list(tx.session.execute(select(Event.generation_id, Event.kind).order_by(Event.id)))
        begun = {
            generation: sum(
                kind == "claimed" and of in flood_ids
                for of, kind in events[
                    events.index((generation, "queued")) : events.index((generation, "claimed"))
                ]
            )
            for generation in theirs
        }
        before = json.dumps(Counter(begun.values()), sort_keys=True)
        figures = (
            f"{json.dumps(statuses, sort_keys=True)} to the flooder, {len(flood_ids)} drawn",
            f"{len(theirs)} of others; how many of the flood's were begun before them: {before}",
        )
        record_property("figure", f"flood of {OVERLOAD_S:g} s: {'; '.join(figures)}")
        assert theirs
        assert max(begun.values()) <= 1
        assert set(statuses) == {200, 429}
