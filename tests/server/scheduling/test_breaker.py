from server.scheduling.breaker import COOL_DOWN_S, FAILURES, Breaker


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = 0.0

    def read(self):
        """Return the time."""
        return self.seconds


def opened(clock):
    """A breaker that has just opened."""
    breaker = Breaker(clock.read)
    for _ in range(FAILURES):
        breaker.record(success=False)
    return breaker


class TestBreaker:
    def test_failures_in_a_row_open_it(self):
        """It allows attempts until FAILURES in a row have failed."""
        breaker = Breaker(Clock().read)
        for _ in range(FAILURES - 1):
            breaker.record(success=False)
            assert breaker.allows()
        breaker.record(success=False)
        assert not breaker.allows()
        assert not breaker.closed

    def test_a_success_between_starts_the_count_anew(self):
        """Failures that are not in a row never open it."""
        breaker = Breaker(Clock().read)
        for _ in range(FAILURES):
            breaker.record(success=False)
            breaker.record(success=True)
        assert breaker.closed

    def test_cooled_down_it_tries_once(self):
        """After the cool-down it allows an attempt; a failure opens it for another whole cool-down."""
        clock = Clock()
        breaker = opened(clock)
        clock.seconds = COOL_DOWN_S - 0.1
        assert not breaker.allows()
        clock.seconds = COOL_DOWN_S
        assert breaker.allows()
        breaker.record(success=False)
        assert not breaker.allows()
        clock.seconds = 2 * COOL_DOWN_S - 0.1
        assert not breaker.allows()

    def test_a_success_closes_it(self):
        """An attempt that succeeds after the cool-down closes it."""
        clock = Clock()
        breaker = opened(clock)
        clock.seconds = COOL_DOWN_S
        breaker.record(success=True)
        assert breaker.closed
        assert breaker.allows()
