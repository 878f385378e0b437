"""The whole program with both kinds of worker: when the local one dies under load, nothing is lost."""

from collections import Counter

import httpx
import pytest

from server.credits.repository import Ledger
from server.events.repository import Events
from tests.e2e.program import wait_for
from tests.inference.hosted.box import KEY

pytestmark = pytest.mark.e2e

GENERATIONS = 12


@pytest.fixture(scope="class")
def program(launch, box):
    """A running program that draws locally, with hosted providers in reserve."""
    running = launch(
        INFERENCE_BACKEND="auto",
        HUGGINGFACE_API_KEY=KEY,
        HOSTED_GATEWAY_URL=box.url,
        OUTBOUND_ALLOWED_NETWORKS="127.0.0.0/8",  # the host of images
        FAILOVER_WAIT_S="600",
    )
    running.start_json()
    wait_for("the local worker is ready", lambda: local_is_ready(running))
    yield running
    running.stop()


def local_is_ready(program):
    """Return whether /readyz reports a ready local worker."""
    checks = httpx.get(f"{program.url}/readyz", trust_env=False).json()["checks"]
    return checks["local"] == "ok"


class TestAuto:
    def test_local_workers_draw_while_they_can(self, program, box):
        """With a local worker ready no provider is asked."""
        user = program.new_user("free")
        ended = user.ended(user.generate()["generation"]["id"])
        assert ended["madeWith"]["backend"] == "local"
        assert box.orders == []

    def test_the_worker_dies_under_load(self, program, box):
        """After the local worker is killed, providers draw its pending work; restarted, it draws again.

        Each generation is completed once, charged once and records what drew it.
        """
        user = program.new_user("free", credits_=1000)
        ids = [user.generate()["generation"]["id"] for _ in range(GENERATIONS)]
        wait_for("some are drawn", lambda: user.generation(ids[2])["status"] == "completed")
        program.child("local").kill()
        ended = [user.ended(generation_id) for generation_id in ids]
        assert [generation["status"] for generation in ended] == ["completed"] * GENERATIONS
        drew = Counter(generation["madeWith"]["backend"] for generation in ended)
        assert drew["local"] >= 3
        assert drew["huggingface"] >= 3
        assert len(box.orders) == drew["huggingface"]
        assert user.balance() == 1000 - 8 * GENERATIONS
        with program.reading() as tx:
            assert Ledger(tx).sum_of_postings() == 0
            assert Ledger(tx).drifts() == []
            for generation_id in ids:
                kinds = Counter(event.kind for event in Events(tx).of(generation_id))
                assert (kinds["queued"], kinds["completed"], kinds["failed"]) == (1, 1, 0)
        wait_for("the local worker is back", lambda: local_is_ready(program))
        again = user.ended(user.generate()["generation"]["id"])
        assert again["madeWith"]["backend"] == "local"
