import time

import pytest

from server.generations.repository import Generations
from server.scheduling.breaker import FAILURES
from server.scheduling.claim_policy import HOSTED, LOCAL, Claimable, ClaimPolicy, LocalPolicy, ReservePolicy
from server.scheduling.registry import STALE, WorkerRegistry
from server.scheduling.tables import RegisteredWorker
from server.worker.registration import registered


@pytest.fixture
def there(uow):
    """Let a worker be there."""

    def register(backend, name=None, *, accepts=True, mean_duration_s=None):
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat(
                name or backend, backend, accepts=accepts, mean_duration_s=mean_duration_s
            )

    return register


@pytest.fixture
def claimable(uow):
    """Ask a policy what may be claimed now."""

    def ask(policy):
        with uow.read() as tx:
            return policy.claimable(tx)

    return ask


@pytest.fixture
def waiting(make_account, submit_one):
    """Let generations wait."""

    def submit(count=1):
        account = make_account(credits=1000)
        return [submit_one(account) for _ in range(count)]

    return submit


class TestLocal:
    def test_alone_it_does_everything(self, claimable):
        """Without a hosted worker it claims what local ones have failed, too, whatever its breaker says."""
        policy = LocalPolicy()
        assert claimable(policy) is Claimable.ALL
        for _ in range(FAILURES):
            policy.record_failure()
        assert claimable(policy) is Claimable.ALL

    def test_beside_a_reserve_it_takes_first_tries(self, claimable, there):
        """What failed over is the hosted worker's, and while the breaker is open so is everything."""
        there(HOSTED)
        policy = LocalPolicy()
        assert claimable(policy) is Claimable.FIRST_TRIES
        for _ in range(FAILURES):
            policy.record_failure()
        assert claimable(policy) is Claimable.NONE
        assert not policy.accepts

    def test_it_fails_over_to_somebody_only(self, uow, there):
        """Failures fail over while a hosted worker is there, and end the generation otherwise."""
        policy = LocalPolicy()
        with uow.read() as tx:
            assert not policy.fails_over(tx)
        there(HOSTED)
        with uow.read() as tx:
            assert policy.fails_over(tx)


class TestReserve:
    def test_it_leaves_local_workers_their_work(self, claimable, there, waiting):
        """While a local worker is ready nothing is claimed but what failed over."""
        waiting(3)
        there(LOCAL)
        assert claimable(ReservePolicy(60)) is Claimable.NONE

    def test_it_claims_what_failed_over(self, uow, claimable, there, waiting, claim):
        """What a local worker has failed to draw is claimed at once."""
        waiting(1)
        there(LOCAL)
        taken = claim()
        with uow.begin() as tx:
            Generations(tx).release(taken, failed_over=True)
        assert claimable(ReservePolicy(60)) is Claimable.FAILED_OVER

    @pytest.mark.parametrize("why", ["none", "open", "silent"])
    def test_without_a_ready_local_worker_it_takes_all(self, uow, claimable, there, waiting, why):
        """None is there, its breaker is open, or it has fallen silent: each time all is claimed."""
        waiting(1)
        if why != "none":
            there(LOCAL, accepts=why != "open")
        if why == "silent":
            with uow.begin() as tx:
                tx.session.get(RegisteredWorker, LOCAL).seen_at -= 2 * STALE
        assert claimable(ReservePolicy(60)) is Claimable.ALL

    def test_without_work_it_rests(self, claimable):
        """Nothing pending is nothing to do, whoever is ready."""
        assert claimable(ReservePolicy(60)) is Claimable.NONE

    def test_a_long_wait_is_shared(self, claimable, there, waiting):
        """Four pending at ten seconds each: two workers need twenty, which is beyond fifteen, not thirty."""
        waiting(4)
        there(LOCAL, "one", mean_duration_s=10.0)
        there(LOCAL, "two", mean_duration_s=10.0)
        assert claimable(ReservePolicy(30)) is Claimable.NONE
        assert claimable(ReservePolicy(15)) is Claimable.ALL


class TestPace:
    def test_it_follows_what_attempts_take(self):
        """The seconds of an attempt are averaged over the last ones; failures do not count."""
        policy = ClaimPolicy(LOCAL)
        assert policy.mean_duration_s is None
        policy.record_success(10)
        policy.record_failure()
        assert policy.mean_duration_s == 10
        policy.record_success(20)
        assert 10 < policy.mean_duration_s < 15


class TestRegistration:
    def test_a_worker_is_known_while_it_runs(self, uow):
        """It is in the registry at once, and gone as soon as it ends."""

        def ready():
            with uow.read() as tx:
                return [worker.name for worker in WorkerRegistry(tx).ready(LOCAL)]

        with registered("one", uow, ClaimPolicy(LOCAL)):
            until = time.monotonic() + 10
            while ready() != ["one"]:
                assert time.monotonic() < until
                time.sleep(0.02)
        assert ready() == []
