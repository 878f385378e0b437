"""Fixtures of the metrics' tests: a parsed scrape, and a delivered generation."""

import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.generations import settlement
from tests.server.stored import provenance_of, stored_image


class Scrape:
    """The result of one scrape, parsed as Prometheus parses it."""

    def __init__(self, exposition):
        self.text = exposition
        self.families = {family.name: family for family in text_string_to_metric_families(exposition)}
        samples = [sample for family in self.families.values() for sample in family.samples]
        self.values = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
        assert len(self.values) == len(samples)  # no series twice

    def __call__(self, name, **labels):
        """Return the value of a series, None if it is not exposed."""
        return self.values.get((f"avatar_creator_{name}", *sorted(labels.items())))

    def ended(self, entry, outcome, code=""):
        """Return how many generations of an entry had an outcome."""
        return self("generations_ended_total", entry=entry, outcome=outcome, error_code=code)


@pytest.fixture
def settings(settings):
    """Settings of an API that serves its metrics on a free port, and whose reaper does not add up."""
    return settings.changed(metrics_port=0, reaper_period_s=3600)


@pytest.fixture
def scrape():
    """Scrape an application as Prometheus does: on the port of the metrics, without a token."""

    def scraped(api):
        answer = httpx.get(metrics_url(api), timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scrape(answer.text)

    return scraped


def metrics_url(api):
    """Return the address of an application's metrics, as soon as it listens."""
    listener = api.client.app.state["metrics"]
    while listener.port is None:
        time.sleep(0.01)
    return f"http://127.0.0.1:{listener.port}/metrics"


@pytest.fixture
def parse():
    """Parse the metrics that another process exposes."""
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
