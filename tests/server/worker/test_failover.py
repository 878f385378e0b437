"""A local and a hosted worker side by side: one generation, one charge, and both attempts recorded."""

import pytest

from inference.errors import OutOfMemory
from inference.scripted import Script, ScriptedBackend
from server.events.repository import Events
from server.scheduling.breaker import FAILURES
from server.scheduling.claim_policy import HOSTED, LocalPolicy, ReservePolicy
from server.scheduling.registry import WorkerRegistry, retire
from tests.server.worker.conftest import RUNNER

pytestmark = pytest.mark.usefixtures("books_that_balance")

FAILING = Script(fail_at=1, failure=OutOfMemory("cuda:0"))


@pytest.fixture
def reserve(make_runner, uow):
    """A registered hosted worker in reserve."""
    with uow.begin() as tx:
        WorkerRegistry(tx).record_heartbeat("reserve", HOSTED, accepts=True)
    return make_runner(policy=ReservePolicy(3600), inference_backend="auto")


@pytest.fixture
def local(make_runner, uow):
    """Make a registered local worker."""

    def make(script=None):
        policy = LocalPolicy()
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat(RUNNER, policy.backend, accepts=True)
        return make_runner(backend=ScriptedBackend(script), policy=policy, inference_backend="auto")

    return make


class TestFailingOver:
    def test_a_failed_local_attempt_is_drawn_by_the_hosted_worker(
        self, make_account, submit_one, local, reserve, generation_of, balance_of, uow
    ):
        """The local attempt fails, the hosted one delivers: one generation, one capture, both recorded."""
        account = make_account(credits=20)
        submitted = submit_one(account)
        local(FAILING).run_next()
        waiting = generation_of(submitted.id)
        assert (waiting.status, waiting.failed_over, waiting.losses) == ("pending", True, 0)
        assert balance_of(account) == 12
        assert reserve.run_next()
        ended = generation_of(submitted.id)
        assert (ended.status, ended.attempt) == ("completed", 2)
        assert balance_of(account) == 12
        with uow.read() as tx:
            recorded = [(event.kind, event.data.get("reason")) for event in Events(tx).of(submitted.id)]
        assert recorded == [
            ("queued", None),
            ("claimed", None),
            ("failed_over", "OUT_OF_MEMORY"),
            ("claimed", None),
            ("completed", None),
        ]

    def test_without_a_reserve_it_fails(self, make_account, submit_one, local, generation_of, balance_of):
        """Without a hosted worker a failure ends the generation at once, and its hold is voided."""
        account = make_account(credits=20)
        submitted = submit_one(account)
        local(FAILING).run_next()
        assert generation_of(submitted.id).error_code == "OUT_OF_MEMORY"
        assert balance_of(account) == 20

    def test_a_local_worker_does_not_claim_it_again(
        self, make_account, submit_one, local, reserve, generation_of
    ):
        """A local worker leaves a failed-over generation, and claims the one behind it."""
        account = make_account()
        first, second = submit_one(account), submit_one(account)
        local(FAILING).run_next()
        healthy = local()
        assert healthy.run_next()
        assert not healthy.run_next()
        assert (generation_of(first.id).status, generation_of(second.id).status) == ("pending", "completed")
        assert reserve.run_next()
        assert not reserve.run_next()
        assert generation_of(first.id).status == "completed"

    def test_failures_in_a_row_leave_all_to_the_reserve(self, make_account, submit_one, local, reserve, uow):
        """After FAILURES failures the local worker rests, and the reserve claims first tries, too."""
        account = make_account(credits=1000)
        submitted = [submit_one(account) for _ in range(FAILURES + 2)]
        failing = local(FAILING)
        assert [failing.run_next() for _ in submitted] == [True] * FAILURES + [False] * 2
        with uow.begin() as tx:  # as its next heartbeat records it
            WorkerRegistry(tx).record_heartbeat(RUNNER, "local", accepts=failing.context.policy.accepts)
        assert [reserve.run_next() for _ in submitted] == [True] * len(submitted)

    def test_a_dead_worker_is_gone_at_once(self, make_account, submit_one, local, reserve, uow):
        """When the watchdog returns a dead worker's generation, the reserve claims it without waiting."""
        submit_one(make_account())
        local()
        assert not reserve.run_next()
        retire(uow, "local", RUNNER, was_ready=True)
        assert reserve.run_next()
