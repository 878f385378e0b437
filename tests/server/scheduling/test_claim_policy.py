import pytest

from server.generations.repository import Generations
from server.scheduling.breaker import FAILURES
from server.scheduling.claim_policy import HOSTED, LOCAL, Claimable, ClaimPolicy, LocalPolicy, ReservePolicy
from server.scheduling.registry import STALE, WorkerRegistry
from server.scheduling.tables import RegisteredWorker
from server.spending.repository import Spending


@pytest.fixture
def register_worker(uow):
    """Register a worker with a recent heartbeat."""

    def register(backend, name=None, *, accepts=True, mean_duration_s=None):
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat(
                name or backend, backend, accepts=accepts, mean_duration_s=mean_duration_s
            )

    return register


@pytest.fixture
def claimable(uow):
    """Return what a policy may claim now."""

    def ask(policy):
        with uow.read() as tx:
            return policy.claimable(tx)

    return ask


@pytest.fixture
def submit_pending(make_account, submit_one):
    """Submit generations, which stay pending."""

    def submit(count=1):
        account = make_account(credits=1000)
        return [submit_one(account) for _ in range(count)]

    return submit


class TestLocal:
    def test_alone_it_claims_everything(self, claimable):
        """Without a hosted worker it also claims failed-over work, even while its breaker is open."""
        policy = LocalPolicy()
        assert claimable(policy) is Claimable.ALL
        for _ in range(FAILURES):
            policy.record_failure()
        assert claimable(policy) is Claimable.ALL

    def test_beside_a_reserve_it_claims_first_tries(self, claimable, register_worker):
        """It leaves failed-over work to the hosted worker, and everything while its breaker is open."""
        register_worker(HOSTED)
        policy = LocalPolicy()
        assert claimable(policy) is Claimable.FIRST_TRIES
        for _ in range(FAILURES):
            policy.record_failure()
        assert claimable(policy) is Claimable.NONE
        assert not policy.accepts

    def test_it_fails_over_only_to_a_hosted_worker(self, uow, register_worker):
        """Failures fail over while a hosted worker is registered, and end the generation otherwise."""
        policy = LocalPolicy()
        with uow.read() as tx:
            assert not policy.fails_over(tx)
        register_worker(HOSTED)
        with uow.read() as tx:
            assert policy.fails_over(tx)

    def test_a_reserve_without_a_budget_is_none(self, uow, claimable, register_worker):
        """When the budget of the day for hosted providers is spent, local workers draw everything."""
        register_worker(HOSTED)
        policy = LocalPolicy(budget_microusd=1000)
        with uow.begin() as tx:
            assert policy.fails_over(tx)
            Spending(tx).add(1000)
            assert not policy.fails_over(tx)
        assert claimable(policy) is Claimable.ALL


class TestReserve:
    def test_it_leaves_local_workers_their_work(self, claimable, register_worker, submit_pending):
        """While a local worker is ready, only failed-over work may be claimed."""
        submit_pending(3)
        register_worker(LOCAL)
        assert claimable(ReservePolicy(60)) is Claimable.NONE

    def test_it_claims_what_failed_over(self, uow, claimable, register_worker, submit_pending, claim):
        """A generation that a local worker failed to draw may be claimed at once."""
        submit_pending(1)
        register_worker(LOCAL)
        taken = claim()
        with uow.begin() as tx:
            Generations(tx).release(taken, failed_over=True)
        assert claimable(ReservePolicy(60)) is Claimable.FAILED_OVER

    @pytest.mark.parametrize("obstacle", ["none", "open", "silent"])
    def test_without_a_ready_local_worker_it_claims_all(
        self, uow, claimable, register_worker, submit_pending, obstacle
    ):
        """All may be claimed if no local worker is there, its breaker is open or its heartbeat is stale."""
        submit_pending(1)
        if obstacle != "none":
            register_worker(LOCAL, accepts=obstacle != "open")
        if obstacle == "silent":
            with uow.begin() as tx:
                tx.session.get(RegisteredWorker, LOCAL).seen_at -= 2 * STALE
        assert claimable(ReservePolicy(60)) is Claimable.ALL

    def test_with_nothing_pending_it_claims_nothing(self, claimable):
        """With nothing pending nothing may be claimed, even without a local worker."""
        assert claimable(ReservePolicy(60)) is Claimable.NONE

    def test_a_long_wait_is_shared(self, claimable, register_worker, submit_pending):
        """Four pending at ten seconds each: two workers need twenty, which is beyond fifteen, not thirty."""
        submit_pending(4)
        register_worker(LOCAL, "one", mean_duration_s=10.0)
        register_worker(LOCAL, "two", mean_duration_s=10.0)
        assert claimable(ReservePolicy(30)) is Claimable.NONE
        assert claimable(ReservePolicy(15)) is Claimable.ALL


class TestPace:
    def test_it_follows_what_attempts_take(self):
        """The mean duration follows recent successful attempts; failures do not count."""
        policy = ClaimPolicy(LOCAL)
        assert policy.mean_duration_s is None
        policy.record_success(10)
        policy.record_failure()
        assert policy.mean_duration_s == 10
        policy.record_success(20)
        assert 10 < policy.mean_duration_s < 15
