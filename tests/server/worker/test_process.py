import threading
import time
from contextlib import contextmanager

import pytest
import torch
from redis import Redis
from rq import Worker
from structlog.testing import capture_logs

from catalog.entries import shipped_entries
from inference.errors import WeightsMissing
from inference.local import devices, placement
from inference.local.cards import Card
from inference.scripted import Script, ScriptedBackend
from server.scheduling.claim_policy import LOCAL, ReservePolicy
from server.scheduling.wakeups import open_queue
from server.supervisor.heartbeat import FAILED, READY
from server.worker.backends import make_backend
from server.worker.lease_guard import SAME_SIGNAL_S, StopRequest
from server.worker.process import DEVICE_UNFIT, _warm_up, draw_until_stopped, run_worker

PATIENCE_S = 20


@pytest.fixture
def drawing(make_runner, settings):
    """Draw in a thread until the body ends, as a worker does by default."""

    @contextmanager
    def run(**changes):
        stop = StopRequest(settings.worker.shutdown_grace_s)
        runner = make_runner(Script(max_batch=4), stop=stop, overlap="on", **changes)
        thread = threading.Thread(target=draw_until_stopped, args=(runner,))
        thread.start()
        try:
            yield
        finally:
            stop.receive()
            thread.join(PATIENCE_S)
        assert not thread.is_alive()

    return run


@pytest.fixture
def completed(generation_of):
    """Wait until generations are completed."""

    def wait(*generations):
        until = time.monotonic() + PATIENCE_S
        while any(generation_of(one.id).status != "completed" for one in generations):
            assert time.monotonic() < until
            time.sleep(0.02)

    return wait


class TestDrawing:
    def test_every_wakeup_may_be_lost(self, make_account, submit_one, drawing, completed, redis_url):
        """What waits is drawn although Redis was emptied."""
        account = make_account(credits=100)
        waiting = [submit_one(account) for _ in range(3)]
        with Redis.from_url(redis_url) as client:
            client.flushall()
        with drawing():
            completed(*waiting)

    @pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0", None])
    def test_there_may_be_no_redis(self, make_account, submit_one, drawing, completed, address):
        """What is submitted is drawn while Redis is away, or was never there."""
        with drawing(redis_url=address):
            completed(submit_one(make_account()))

    def test_another_worker_of_its_name_may_linger(
        self, make_account, submit_one, drawing, completed, redis_url
    ):
        """What RQ remembers of a worker that was killed keeps no worker from drawing."""
        with Redis.from_url(redis_url) as client:
            Worker([open_queue(client)], name="worker-1", connection=client).register_birth()
            with drawing():
                completed(submit_one(make_account()))

    def test_a_reserve_takes_no_wakeup(self, make_account, submit_one, drawing, completed, settings):
        """A worker in reserve finds its work in the database, and leaves the wake-ups to local workers."""
        with drawing(policy=ReservePolicy(30)):
            completed(submit_one(make_account()))
        with Redis.from_url(settings.redis.url) as client:
            assert len(open_queue(client).get_job_ids()) == 1


@pytest.fixture
def with_card(settings, monkeypatch):
    """A function that gives the worker a card of so many bytes, and FLUX.1 to draw; returns its settings."""

    def give(memory_bytes):
        card = Card("Small", memory_bytes, (8, 9), 25e9)
        monkeypatch.setattr(devices, "require_fit", lambda *_, **__: None)
        monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
        monkeypatch.setattr(placement, "card_of", lambda _: card)
        return settings.changed(model_profile="full", device="cuda")

    return give


class TestPlan:
    def test_an_impossible_card_gets_a_sentence(self, with_card, heartbeat):
        """On a card that no plan fits the worker ends with status 78 and a sentence, and was never ready."""
        with capture_logs() as logs, pytest.raises(SystemExit) as ended:
            run_worker(with_card(12_000_000_000), "worker-1", heartbeat, LOCAL, make_backend)
        assert ended.value.code == DEVICE_UNFIT
        lines = heartbeat.lines()
        states = [line.partition(" ")[0] for line in lines]
        assert states[-1] == FAILED
        assert READY not in states
        assert "cuda cannot draw: Small is too small for FLUX.1: an image of 512x512 needs" in lines[-1]
        assert [line["event"] for line in logs if line["log_level"] == "critical"] == ["worker.device_unfit"]

    def test_it_is_logged_once(self, with_card):
        """A worker with a plan logs it in one line: arrangement, precisions, gigabytes and the reason."""
        with capture_logs() as logs:
            backend = make_backend(with_card(48_000_000_000), LOCAL)
        [line] = [line for line in logs if line["event"] == "worker.plan"]
        assert line["arrangement"] == "transformers in eight bits"
        assert (line["transformers"], line["t5"], line["device_gb"]) == ("fp8", "bf16", 35.3)
        assert line["why"] == backend.plan.why

    def test_it_is_for_what_is_offered(self, with_card):
        """The plan is made for the entries that are on offer: schnell alone fits 40 GB in bf16."""
        _, _, _, schnell = shipped_entries()
        backend = make_backend(with_card(40_000_000_000), LOCAL, [schnell])
        assert [each.precision.value for each in backend.plan.entries] == ["bf16"]


class Unloadable(ScriptedBackend):
    """A backend that lacks the weights of some models."""

    def __init__(self, *lacking):
        super().__init__(Script())
        self.lacking = lacking

    def warm_up(self, model_id, revision, adapter):
        """Load a model that is there."""
        if model_id in self.lacking:
            raise WeightsMissing(model_id, "it is not on this machine")
        super().warm_up(model_id, revision, adapter)


class TestWeights:
    def test_without_any_it_ends(self, settings, heartbeat, monkeypatch):
        """A worker that can load no entry's weights ends with status 78 and a sentence, never ready."""
        monkeypatch.setattr("server.worker.process._stop_on_signals", lambda _: None)
        models = {entry.model_id for entry in shipped_entries()}
        with pytest.raises(SystemExit) as ended:
            run_worker(settings, "worker-1", heartbeat, LOCAL, lambda *_: Unloadable(*models))
        assert ended.value.code == DEVICE_UNFIT
        lines = heartbeat.lines()
        assert READY not in [line.partition(" ")[0] for line in lines]
        assert lines[-1].startswith(FAILED)
        assert "FLUX.1-dev could not be loaded: it is not on this machine" in lines[-1]

    def test_with_one_it_is_warm(self):
        """If the weights of the entries that are used most are missing, it loads those of the next."""
        entries = shipped_entries()
        dev, schnell = entries[0].model_id, entries[-1].model_id
        backend = Unloadable(dev)
        _warm_up(backend, entries)
        assert backend.resident == {schnell}


class TestStopRequest:
    def test_a_group_is_signalled_once(self):
        """A second signal within a moment is the same request; a later one is not."""
        stop = StopRequest(10)
        assert not stop.is_repeated()
        stop.receive()
        assert not stop.is_repeated()
        time.sleep(SAME_SIGNAL_S + 0.1)
        assert stop.is_repeated()
