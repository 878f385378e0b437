import time

import pytest

from inference.backend import Device
from inference.scripted import ScriptedBackend
from server.scheduling.claim_policy import LOCAL
from server.scheduling.registry import WorkerRegistry
from server.worker import registration
from server.worker.registration import registered
from tests.server.worker.conftest import RUNNER


class Card(ScriptedBackend):
    """A backend on a card of 24 GB, of which its models take half."""

    @property
    def device(self):
        """The card."""
        return Device("cuda:0 Card", 12 * 10**9, 24 * 10**9)


@pytest.fixture
def eventually(uow):
    """Wait until what is read of the registry is as expected."""

    def wait(read, expected):
        until = time.monotonic() + 10
        while True:
            with uow.read() as tx:
                found = read(WorkerRegistry(tx))
            if found == expected:
                return
            assert time.monotonic() < until, found
            time.sleep(0.02)

    return wait


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Heartbeats come so often that no test waits for one."""
    monkeypatch.setattr(registration, "HEARTBEAT_PERIOD_S", 0.02)


def test_a_worker_is_registered_while_it_runs(make_runner, eventually):
    """A worker is in the registry while it runs, and removed as soon as it ends."""

    def ready(registry):
        return [worker.name for worker in registry.ready(LOCAL)]

    with registered(make_runner().context):
        eventually(ready, [RUNNER])
    eventually(ready, [])


def test_heartbeats_tell_of_the_device(make_runner, eventually, make_account, submit_one):
    """The registry has the device, its memory and the resident models as they were after the last batch."""
    generation = submit_one(make_account())
    runner = make_runner(backend=Card())

    def reported(registry):
        return [
            (worker.device, worker.memory_used_bytes, worker.memory_total_bytes, worker.resident)
            for worker in registry.all()
        ]

    with registered(runner.context):
        eventually(reported, [(None, None, None, None)])
        assert runner.run_next()
        eventually(reported, [("cuda:0 Card", 12 * 10**9, 24 * 10**9, [generation.model_id])])
