import time

import pytest

from server.db.tables import Worker
from server.failover.breaker import FAILURES
from server.failover.duty import HOSTED, LOCAL, Duty, LocalDuty, ReserveDuty, Work
from server.failover.store import STALE
from server.worker.presence import present


@pytest.fixture
def tell(uow):
    """Let a worker be there."""

    def tell_of(backend, name=None, *, accepts=True, seconds_each=None):
        with uow.begin() as tx:
            tx.workers.tell(name or backend, backend, accepts=accepts, seconds_each=seconds_each)

    return tell_of


@pytest.fixture
def work(uow):
    """Ask a duty what may be claimed now."""

    def ask(duty):
        with uow.read() as tx:
            return duty.work(tx)

    return ask


@pytest.fixture
def waiting(make_account, submit_one):
    """Let generations wait."""

    def submit(count=1):
        account = make_account(credits=1000)
        return [submit_one(account) for _ in range(count)]

    return submit


class TestLocal:
    def test_alone_it_does_everything(self, work):
        """Without a hosted worker it takes up what local ones have failed, too, whatever its breaker says."""
        duty = LocalDuty()
        assert work(duty) is Work.ALL
        for _ in range(FAILURES):
            duty.failed()
        assert work(duty) is Work.ALL

    def test_beside_a_reserve_it_takes_first_tries(self, work, tell):
        """What was passed on is the hosted worker's, and while the breaker is open so is everything."""
        tell(HOSTED)
        duty = LocalDuty()
        assert work(duty) is Work.FIRST_TRIES
        for _ in range(FAILURES):
            duty.failed()
        assert work(duty) is Work.NONE
        assert not duty.accepts

    def test_it_passes_on_to_somebody_only(self, uow, tell):
        """Failures are passed on while a hosted worker is there, and end the generation otherwise."""
        duty = LocalDuty()
        with uow.read() as tx:
            assert not duty.passes_on(tx)
        tell(HOSTED)
        with uow.read() as tx:
            assert duty.passes_on(tx)


class TestReserve:
    def test_it_leaves_local_workers_their_work(self, work, tell, waiting):
        """While a local worker is ready nothing is taken up but what was passed on."""
        waiting(3)
        tell(LOCAL)
        assert work(ReserveDuty(60)) is Work.NONE

    def test_it_takes_what_was_passed_on(self, uow, work, tell, waiting, claim):
        """What a local worker has failed to draw is taken up at once."""
        waiting(1)
        tell(LOCAL)
        taken = claim()
        with uow.begin() as tx:
            tx.generations.release(taken, passed_on=True)
        assert work(ReserveDuty(60)) is Work.PASSED_ON

    @pytest.mark.parametrize("why", ["none", "open", "silent"])
    def test_without_a_ready_local_worker_it_takes_all(self, uow, work, tell, waiting, why):
        """None is there, its breaker is open, or it has fallen silent: each time all is taken up."""
        waiting(1)
        if why != "none":
            tell(LOCAL, accepts=why != "open")
        if why == "silent":
            with uow.begin() as tx:
                tx.session.get(Worker, LOCAL).seen_at -= 2 * STALE
        assert work(ReserveDuty(60)) is Work.ALL

    def test_without_work_it_rests(self, work):
        """Nothing pending is nothing to do, whoever is ready."""
        assert work(ReserveDuty(60)) is Work.NONE

    def test_a_long_wait_is_shared(self, work, tell, waiting):
        """Four pending at ten seconds each: two workers need twenty, which is beyond fifteen, not thirty."""
        waiting(4)
        tell(LOCAL, "one", seconds_each=10.0)
        tell(LOCAL, "two", seconds_each=10.0)
        assert work(ReserveDuty(30)) is Work.NONE
        assert work(ReserveDuty(15)) is Work.ALL


class TestPace:
    def test_it_follows_what_attempts_take(self):
        """The seconds of an attempt are averaged over the last ones; failures do not count."""
        duty = Duty(LOCAL)
        assert duty.seconds_each is None
        duty.delivered(10)
        duty.failed()
        assert duty.seconds_each == 10
        duty.delivered(20)
        assert 10 < duty.seconds_each < 15


class TestPresence:
    def test_a_worker_is_known_while_it_runs(self, uow):
        """It is told of at once, and gone as soon as it ends."""

        def ready():
            with uow.read() as tx:
                return [worker.name for worker in tx.workers.ready(LOCAL)]

        with present("one", uow, Duty(LOCAL)):
            until = time.monotonic() + 10
            while ready() != ["one"]:
                assert time.monotonic() < until
                time.sleep(0.02)
        assert ready() == []
