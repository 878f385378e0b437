"""What anybody may ask costs the service a check in a second, however often it is asked."""

import threading

from server.observability.readiness import Readiness, SharedReadiness


class TestSharedReadiness:
    def test_one_check_a_second(self):
        """Whoever asks within a second gets the same answer; after it the next check is made."""
        moment, answers = [0.0], iter(Readiness(accepts=number > 0, checks={}) for number in range(3))
        shared = SharedReadiness(lambda: next(answers), clock=lambda: moment[0])
        assert [shared.get().accepts for _ in range(100)] == [False] * 100
        moment[0] = 1.5
        assert [shared.get().accepts for _ in range(100)] == [True] * 100
        assert next(answers).accepts  # the third check was not made

    def test_nobody_waits_for_a_check_but_who_makes_it(self):
        """While a check hangs, the others get the answer of before."""
        moment, hangs, began = [0.0], threading.Event(), threading.Event()

        def check():
            if moment[0]:
                began.set()
                hangs.wait(20)
            return Readiness(accepts=not moment[0], checks={})

        shared = SharedReadiness(check, clock=lambda: moment[0])
        assert shared.get().accepts
        moment[0] = 10
        thread = threading.Thread(target=shared.get)
        thread.start()
        began.wait(20)
        assert shared.get().accepts
        hangs.set()
        thread.join()
        assert not shared.get().accepts

    def test_a_check_that_breaks_is_made_again(self):
        """A fault is the answer of nobody else, and ends nothing."""
        faults = [ZeroDivisionError()]

        def check():
            if faults:
                raise faults.pop()
            return Readiness(accepts=True, checks={})

        shared = SharedReadiness(check)
        try:
            shared.get()
        except ZeroDivisionError:
            assert shared.get().accepts
        assert not faults
