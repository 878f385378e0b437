from datetime import timedelta

import pytest

from inference.backend import Phase, Progress
from server.clock import now
from server.generations import settlement
from server.generations.claims import LeaseLost
from server.generations.tables import Generation
from server.worker.lease_guard import DeadlinePassed, GraceOver, LeaseGuard, StopRequest

STEP = Progress(Phase.STEP, 1, 28)


class Clock:
    """A clock that a test can advance."""

    now = 1000.0

    def __call__(self):
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock():
    """A clock that a test can advance."""
    return Clock()


@pytest.fixture
def guard(make_account, submit_one, claim, uow, heartbeat, settings, clock):
    """A guard on a claimed generation."""
    submit_one(make_account())
    held = claim(lease_s=settings.worker.phase_timeout_s + settings.worker.lease_margin_s)
    return LeaseGuard(
        held, uow, heartbeat, StopRequest(60), settings.changed(generation_timeout_s=900), clock
    )


class TestHeartbeat:
    def test_each_phase_has_its_time(self, guard, heartbeat, settings):
        """Loading may take longer without a beat than a step may."""
        guard(Progress(Phase.LOAD))
        guard(STEP)
        assert heartbeat.lines() == [
            f"busy {settings.worker.load_timeout_s}",
            f"busy {settings.worker.phase_timeout_s}",
        ]


class TestLease:
    def lease_of(self, uow, guard):
        """Return how long the lease in the database still lasts, in seconds."""
        with uow.read() as tx:
            generation = tx.session.get(Generation, guard._claim.generation_id)
        return (generation.lease_until - now()).total_seconds()

    def test_a_short_step_writes_nothing(self, guard, uow):
        """While the lease covers the phase, progress leaves it as it is."""
        before = self.lease_of(uow, guard)
        guard(STEP)
        assert self.lease_of(uow, guard) <= before

    def test_loading_lengthens_it(self, guard, uow, settings):
        """Before a phase that may outlast the lease begins, the lease is lengthened."""
        guard(Progress(Phase.LOAD))
        assert self.lease_of(uow, guard) > settings.worker.load_timeout_s

    def test_what_follows_loading_shortens_it(self, guard, uow, settings):
        """After a long phase the lease is shortened, so that the work of a dead machine is soon returned."""
        guard(Progress(Phase.LOAD))
        guard(Progress(Phase.ENCODE))
        assert self.lease_of(uow, guard) <= settings.worker.phase_timeout_s + settings.worker.lease_margin_s

    def test_it_is_renewed_before_it_ends(self, guard, uow, settings):
        """Progress renews a lease that no longer covers the phase."""
        guard.lease_until -= timedelta(seconds=settings.worker.lease_margin_s + 1)
        guard(STEP)
        remaining = (guard.lease_until - now()).total_seconds()
        assert remaining > settings.worker.phase_timeout_s

    def test_a_lost_lease_stops_the_drawing(self, guard, uow, clock):
        """Progress raises after the generation was taken away."""
        settlement.cancel(uow, [guard._claim.generation_id])
        clock.now += 1
        with pytest.raises(LeaseLost):
            guard(STEP)


class TestDeadlines:
    def test_the_attempt_as_a_whole(self, guard, clock):
        """Progress beyond the attempt's time raises an error that names the limit."""
        clock.now += 901
        with pytest.raises(DeadlinePassed, match="900 seconds"):
            guard(STEP)

    def test_a_stop_within_the_grace(self, guard):
        """After a stop request progress passes until the grace is over."""
        stop = StopRequest(60)
        stop.receive()
        guard._stop = stop
        guard(STEP)
        overdue = StopRequest(-1)
        overdue.receive()
        guard._stop = overdue
        with pytest.raises(GraceOver):
            guard(STEP)
