import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from PIL import Image
from sqlalchemy import func, select

from server.avatars.tables import Avatar
from server.credits.repository import Ledger
from server.credits.tables import Transfer
from server.events.tables import Event
from server.generations.tables import Generation
from tests.e2e.program import User, wait_for

GENERATIONS = int(os.environ.get("SOAK_GENERATIONS", "24"))
KILLS = int(os.environ.get("SOAK_KILLS", "2"))
CLIENTS = 8
START = 20_000
SCHNELL, BASE = "avatar-creator:flux-schnell-fast", "avatar-creator:flux-dev-base"
PRICES = {SCHNELL: 6, BASE: 8}
BASE_SHARE = 0.2  # of the generations; the rest is drawn in four steps
PATIENCE_S = 120 + 5 * GENERATIONS + 30 * KILLS  # about five times what two busy cores take

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(PATIENCE_S + 120)]


def read_all(program, table):
    """Return all rows of a table in the order of their ids."""
    with program.reading() as tx:
        return list(tx.session.scalars(select(table).order_by(table.id)))


def counted(program, status):
    """Return how many generations are in a status."""
    with program.reading() as tx:
        return tx.session.scalar(select(func.count()).where(Generation.status == status))


def kill_in_the_middle(program, chance, submitting):
    """Kill the worker KILLS times, each time while it draws and after another image was finished."""
    finished = 0
    for _ in range(KILLS):
        wait_for(
            "another generation has ended and one is drawn",
            lambda least=finished: counted(program, "completed") > least and counted(program, "processing"),
            PATIENCE_S,
        )
        time.sleep(chance.uniform(0, 0.4))
        assert submitting(), "the clients were done before the worker was killed often enough"
        worker = program.child("server.worker")
        finished = counted(program, "completed")
        worker.kill()
        worker.wait(30)


@pytest.fixture(scope="class")
def after(program):
    """The program after many requests and kills of its worker, and its one user."""
    chance = random.Random(20)  # the same requests and kills in every run
    user = program.new_user("basic", START)
    keys = [BASE if chance.random() < BASE_SHARE else SCHNELL for _ in range(GENERATIONS)]
    shares = [keys[client::CLIENTS] for client in range(CLIENTS)]

    def spend(share):
        client = User(program.url, user.token, user.project_id)
        try:
            for key in share:
                accepted = client.generate(modelKey=key)
                client.ended(accepted["generation"]["id"], PATIENCE_S)
        finally:
            client.client.close()

    with ThreadPoolExecutor(CLIENTS) as clients:
        spent = [clients.submit(spend, share) for share in shares]
        kill_in_the_middle(program, chance, lambda: not all(done.done() for done in spent))
        for done in spent:
            done.result()
    return program, user


class TestSoak:
    def test_every_generation_ends_once(self, after):
        """Each generation is completed or failed, and its events record one end."""
        program, _ = after
        generations = read_all(program, Generation)
        assert len(generations) == GENERATIONS
        ends = Counter(
            event.generation_id for event in read_all(program, Event) if event.kind in ("completed", "failed")
        )
        assert ends == {generation.id: 1 for generation in generations}
        assert {generation.status for generation in generations} <= {"completed", "failed"}
        # A generation fails only after it has lost its worker three times.
        assert sum(generation.status == "failed" for generation in generations) <= KILLS // 3

    def test_the_kills_hit(self, after):
        """The workers were killed while they drew: generations were lost and drawn again."""
        program, _ = after
        events = Counter(event.kind for event in read_all(program, Event))
        losses = sum(generation.losses for generation in read_all(program, Generation))
        assert events["lost"] == losses
        assert KILLS // 2 < losses <= KILLS

    def test_every_hold_ends_once(self, after):
        """Every generation has one hold and one settlement of it, which agrees with its status."""
        program, _ = after
        transfers = read_all(program, Transfer)
        holds = {transfer.id: transfer for transfer in transfers if transfer.kind == "hold"}
        settlements = {
            holds[transfer.settles_id].reference_id: transfer.kind
            for transfer in transfers
            if transfer.settles_id is not None
        }
        assert len(settlements) == len(holds) == sum(row.settles_id is not None for row in transfers)
        kinds = {"completed": "capture", "failed": "void"}
        assert settlements == {
            generation.id: kinds[generation.status] for generation in read_all(program, Generation)
        }

    def test_the_books_balance(self, after):
        """All postings sum to zero, no account drifts, and the user has paid for what was delivered."""
        program, user = after
        with program.reading() as tx:
            assert Ledger(tx).sum_of_postings() == 0
            assert Ledger(tx).drifts() == []
        completed = [row for row in read_all(program, Generation) if row.status == "completed"]
        assert user.balance() == START - sum(PRICES[generation.entry_key] for generation in completed)

    def test_every_image_opens(self, after):
        """Every completed generation has an avatar of its own, whose image opens."""
        program, user = after
        avatars = user.get(f"projects/{user.project_id}")["project"]["avatars"]
        completed = {
            generation.avatar_id
            for generation in read_all(program, Generation)
            if generation.status == "completed"
        }
        assert {avatar["id"] for avatar in avatars} == completed
        assert len(read_all(program, Avatar)) == len(completed)
        for avatar in avatars:
            content = user.client.get(avatar["baseImageUrl"]).raise_for_status().content
            image = Image.open(BytesIO(content))
            image.load()
            assert (image.format, image.size) == ("PNG", (512, 512))
