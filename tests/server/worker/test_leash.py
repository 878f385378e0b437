from dataclasses import replace
from datetime import timedelta

import pytest

from inference.backend import Phase, Progress
from server.clock import now
from server.generations import settlement
from server.generations.store import LeaseLost
from server.worker.leash import DeadlinePassed, Leash, StopAsked, StopSign

STEP = Progress(Phase.STEP, 1, 28)


class Clock:
    """A clock that a test can put forward."""

    now = 1000.0

    def __call__(self):
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock():
    """A clock that a test can put forward."""
    return Clock()


@pytest.fixture
def leash(make_account, submit_one, claim, uow, pulse, settings, clock):
    """A leash on a claimed generation."""
    submit_one(make_account())
    held = claim(lease_s=settings.phase_timeout_s + settings.lease_margin_s)
    return Leash(held, uow, pulse, StopSign(60), replace(settings, generation_timeout_s=900), clock)


class TestPulse:
    def test_each_phase_has_its_time(self, leash, pulse, settings):
        """Loading may take longer without a beat than a step may."""
        leash(Progress(Phase.LOAD))
        leash(STEP)
        assert pulse.lines() == [f"busy {settings.load_timeout_s}", f"busy {settings.phase_timeout_s}"]


class TestLease:
    def lease_of(self, uow, leash):
        """Return how long the lease in the database still lasts, in seconds."""
        with uow.read() as tx:
            generation = tx.generations.get(leash._claim.generation_id)
        return (generation.lease_until - now()).total_seconds()

    def test_a_short_step_writes_nothing(self, leash, uow):
        """While the lease covers the phase, progress leaves it as it is."""
        before = self.lease_of(uow, leash)
        leash(STEP)
        assert self.lease_of(uow, leash) <= before

    def test_loading_lengthens_it(self, leash, uow, settings):
        """A phase that may take longer than the lease lasts lengthens the lease before it begins."""
        leash(Progress(Phase.LOAD))
        assert self.lease_of(uow, leash) > settings.load_timeout_s

    def test_what_follows_loading_shortens_it(self, leash, uow, settings):
        """After a long phase the lease is cut, so that a machine that dies does not keep its work."""
        leash(Progress(Phase.LOAD))
        leash(Progress(Phase.ENCODE))
        assert self.lease_of(uow, leash) <= settings.phase_timeout_s + settings.lease_margin_s

    def test_it_is_renewed_before_it_ends(self, leash, uow, settings):
        """Progress renews a lease that no longer covers the phase."""
        leash.lease_until -= timedelta(seconds=settings.lease_margin_s + 1)
        leash(STEP)
        remaining = (leash.lease_until - now()).total_seconds()
        assert remaining > settings.phase_timeout_s

    def test_a_lost_lease_stops_the_drawing(self, leash, uow, clock):
        """Progress after the generation was taken away raises."""
        settlement.cancel(uow, [leash._claim.generation_id])
        clock.now += 1
        with pytest.raises(LeaseLost):
            leash(STEP)


class TestDeadlines:
    def test_the_attempt_as_a_whole(self, leash, clock):
        """Progress beyond the attempt's time raises, naming the limit."""
        clock.now += 901
        with pytest.raises(DeadlinePassed, match="900 seconds"):
            leash(STEP)

    def test_a_stop_within_the_grace(self, leash):
        """A stop that was asked for lets progress pass until the grace is over."""
        sign = StopSign(60)
        sign.ask()
        leash._stop_sign = sign
        leash(STEP)
        overdue = StopSign(-1)
        overdue.ask()
        leash._stop_sign = overdue
        with pytest.raises(StopAsked):
            leash(STEP)
