"""Faults of a provider as users and operators see them, through the worker."""

from collections import Counter

import pytest

from inference.hosted.backend import HostedBackend, HostedConfig
from outbound.addresses import AddressPolicy
from server.events.repository import Events
from tests.databases import ONE_DATABASE
from tests.inference.hosted.box import KEY, open_box
from tests.inference.hosted.faults import FAULTS, NEVER_AGAIN_S, deadline_s

pytestmark = pytest.mark.usefixtures("books_that_balance")


@pytest.fixture
def runner_at(make_runner, monkeypatch):
    """Make runners with one simulated provider, which gets one request per generation."""
    monkeypatch.setattr("inference.hosted.backend.FIRST_WAIT_S", NEVER_AGAIN_S)
    backends = []

    def make(box, provider, timeout_s):
        policy = AddressPolicy.of(["127.0.0.0/8"])
        config = HostedConfig(KEY, (provider,), timeout_s=timeout_s, gateway=box.url, policy=policy)
        backends.append(HostedBackend(config))
        return make_runner(backend=backends[-1], inference_backend="huggingface")

    yield make
    for backend in backends:
        backend.close()


@ONE_DATABASE
class TestFaults:
    def test_each_ends_in_a_code_a_void_and_a_line(
        self, make_account, submit_one, runner_at, generation_of, balance_of, uow, log_lines, record_property
    ):
        """Each fault gives the contract's code, returns the whole hold once, and logs its cause."""
        account = make_account(credits=20)
        codes = Counter()
        for name, (fault, provider, error, code, unknown) in FAULTS.items():
            generation = submit_one(account)
            assert balance_of(account) == 12
            with open_box() as box:
                box.will(provider, fault)
                runner_at(box, provider, deadline_s(name)).run_next()
            ended = generation_of(generation.id)
            assert (ended.status, ended.error_code) == ("failed", code), name
            assert ended.error_message.startswith(f"{code}: {provider}"), name
            assert balance_of(account) == 20, name
            with uow.read() as tx:
                event = Events(tx).of(generation.id)[-1]
            assert (event.kind, event.data["asked"][0]["outcome"] == "unknown") == ("failed", unknown), name
            (line,) = (
                logged
                for logged in log_lines()
                if logged.get("generation_id") == generation.id and "cause" in logged
            )
            assert line["level"] == "warning", name
            assert line["asked"][0]["cause"] in line["cause"], name
            codes[code, error.__name__] += 1
        counts = ", ".join(f"{count} {code} ({error})" for (code, error), count in sorted(codes.items()))
        record_property("figure", f"hosted faults: {len(FAULTS)} and as many voids: {counts}")
        assert len(FAULTS) >= 25
