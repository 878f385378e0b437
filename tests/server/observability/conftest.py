"""What the tests of the metrics share: a scrape that is parsed, and a generation that was delivered."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.generations import settlement
from tests.server.stored import provenance_of, stored_image


class Scrape:
    """What one scrape found, parsed as a Prometheus parses it."""

    def __init__(self, exposition):
        self.text = exposition
        self.families = {family.name: family for family in text_string_to_metric_families(exposition)}
        samples = [sample for family in self.families.values() for sample in family.samples]
        self.values = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
        assert len(self.values) == len(samples)  # no series twice

    def __call__(self, name, **labels):
        """Return a series' value, None if it was not told."""
        return self.values.get((f"avatar_creator_{name}", *sorted(labels.items())))

    def ended(self, entry, outcome, code=""):
        """Return how many generations of an entry ended so."""
        return self("generations_ended_total", entry=entry, outcome=outcome, error_code=code)


@pytest.fixture
def scrape():
    """Scrape an application as a Prometheus does: without a token."""

    def scraped(api):
        answer = api.client.get("/metrics")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scrape(answer.text)

    return scraped


@pytest.fixture
def parse():
    """Parse what another process was told."""
    return Scrape


@pytest.fixture
def complete(uow, claim, submit_one, generation_of):
    """Submit a generation, and deliver it with the seconds of its stages."""

    def deliver(account, **seconds):
        generation = submit_one(account)
        claimed = claim()
        assert claimed.generation_id == generation.id
        settlement.complete(uow, claimed, stored_image(), provenance_of(generation), seconds)
        return generation_of(generation.id)

    return deliver
