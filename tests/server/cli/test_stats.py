import json
from dataclasses import replace

import pytest

from catalog.orders import Provenance
from server.generations import settlement
from server.generations.states import Reason
from server.images.store import StoredImage


@pytest.fixture
def deliver(uow, claim, generation_of):
    """Deliver the next generation as drawn locally, with changes of its provenance."""

    def deliver_one(key, **changes):
        claimed = claim()
        generation = generation_of(claimed.generation_id)
        order = generation.order
        provenance = Provenance("local", order.model_id, None, None, order.seed)
        settlement.complete(uow, claimed, StoredImage(key, "0" * 64), replace(provenance, **changes), {})

    return deliver_one


class TestStats:
    def test_generations_are_counted_by_backend(self, cli, make_account, submit_one, deliver, claim, uow):
        """Generations are counted by what drew them, with their cost; failed ones by their code."""
        account = make_account(credits=1000)
        for _ in range(4):
            submit_one(account)
        deliver("a")
        deliver("b")
        deliver("c", backend="huggingface", provider="fal-ai", cost_microusd=25_000)
        settlement.fail(uow, claim(), Reason.OUT_OF_MEMORY, "It is full.")
        printed = json.loads(cli("stats", "--json").stdout)
        assert [(made["backend"], made["provider"], made["count"]) for made in printed["made"]] == [
            ("local", None, 2),
            ("huggingface", "fal-ai", 1),
        ]
        assert printed["made"][1]["cost_usd"] == printed["spent_today_usd"] == 0.025
        assert printed["failed"] == {"OUT_OF_MEMORY": 1}
        shown = cli("stats").stdout
        assert "fal-ai" in shown
        assert "failed, OUT_OF_MEMORY: 1" in shown
        assert "$0.0250" in shown

    def test_what_is_older_does_not_count(self, cli, make_account, submit_one, deliver):
        """Only generations of the requested days count."""
        submit_one(make_account())
        deliver("a")
        assert json.loads(cli("stats", "--days", "0.0000001", "--json").stdout)["made"] == []
