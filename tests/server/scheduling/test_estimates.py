from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.clock import now
from server.generations import settlement
from server.generations.queue import PendingQueue, Waiting
from server.scheduling.estimates import Estimates, place
from server.scheduling.registry import WorkerRegistry
from tests.server.stored import provenance_of, stored_image

MOMENT = now()


def waiting(user_id, count, served_s=None):
    """Return a user with so many waiting generations, served so many seconds after a moment."""
    served = None if served_s is None else MOMENT + timedelta(seconds=served_s)
    return Waiting(user_id, count, MOMENT, served)


def served_in_turns(queue, user_id, own_before):
    """Serve a queue as the fair queue does, and return when a user's generation is served."""
    left = {one.user_id: one.count for one in queue}
    turns = sorted(queue, key=lambda one: (one.last_claimed_at is not None, one.last_claimed_at or MOMENT))
    order = []
    while any(left.values()):
        for one in turns:
            if left[one.user_id]:
                left[one.user_id] -= 1
                order.append(one.user_id)
    return [index for index, user in enumerate(order, 1) if user == user_id][own_before]


class TestPlace:
    def test_users_take_turns(self):
        """One generation behind a user with a hundred is second, or first if its user's turn is earlier."""
        assert place([waiting("many", 100, 1), waiting("me", 1, 2)], "me", 0) == 2
        assert place([waiting("many", 100, 2), waiting("me", 1, 1)], "me", 0) == 1
        assert place([waiting("many", 100, 2), waiting("me", 3, 1)], "me", 2) == 5

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
    def test_it_is_the_place_of_the_fair_queue(self, counts, data):
        """For any queue the place is when users who take turns would be served."""
        queue = [waiting(f"user-{n}", count, n) for n, count in enumerate(counts)]
        me = data.draw(st.sampled_from(queue))
        own_before = data.draw(st.integers(0, me.count - 1))
        assert place(queue, me.user_id, own_before) == served_in_turns(queue, me.user_id, own_before)

    def test_the_queue_is_counted_by_user(self, uow, make_account, submit_one, claim):
        """What waits is counted for each user, and a user's earlier generations are known."""
        ada, eve = make_account(), make_account()
        submit_one(ada)
        claim()
        submit_one(ada)
        last = submit_one(ada)
        submit_one(eve)
        with uow.read() as tx:
            counted = {one.user_id: one for one in PendingQueue(tx).waiting_by_user()}
            before = PendingQueue(tx).of_user_before(ada.user_id, last.created_at)
        assert {user: one.count for user, one in counted.items()} == {ada.user_id: 2, eve.user_id: 1}
        assert counted[ada.user_id].last_claimed_at is not None
        assert counted[eve.user_id].last_claimed_at is None
        assert before == 1


class TestSeconds:
    @pytest.fixture
    def drawn(self, uow, make_account, submit_one, claim):
        """One image that took 28 steps of 0.1 s and 0.2 s around them, and five seconds of loading."""
        generation = submit_one(make_account())
        seconds = {"load": 5.0, "encode": 0.1, "step": 2.8, "decode": 0.1}
        settlement.complete(uow, claim(), stored_image(), provenance_of(generation), seconds)
        return generation

    def test_before_any_measurement_the_catalogue_says(self, uow, make_account, submit_one):
        """The middle of the catalogue's range counts."""
        generation = submit_one(make_account())
        with uow.read() as tx:
            assert Estimates().left(tx, generation.entry_key, 0, 28, None) == 37.5

    def test_what_was_measured_here_counts(self, uow, drawn):
        """With an image drawn, the rest is the rest of its steps and what comes around them."""
        estimates = Estimates()
        with uow.read() as tx:
            assert estimates.left(tx, drawn.entry_key, 14, 28, None) == pytest.approx(14 * 0.1 + 0.2)
            assert estimates.left(tx, drawn.entry_key, 0, 28, None) == pytest.approx(3.0)

    def test_what_takes_longer_than_expected_has_nothing_left(self, uow, drawn):
        """An estimate is never negative."""
        with uow.read() as tx:
            began = now() - timedelta(seconds=60)
            assert Estimates().left(tx, drawn.entry_key, 0, 28, began) == 0

    def test_more_workers_shorten_the_wait(self, uow, drawn, make_account, submit_one):
        """Two workers halve what comes before; the own drawing stays."""
        accounts = [make_account() for _ in range(5)]
        last = [submit_one(account) for account in accounts][-1]
        expected = {1: 4 * 3.0 + 3.0, 2: 4 * 3.0 / 2 + 3.0}
        for workers, seconds in expected.items():
            with uow.begin() as tx:
                WorkerRegistry(tx).record_heartbeat(f"w-{workers}", "local", accepts=True)
            with uow.read() as tx:
                wait = Estimates().wait(tx, last.user_id, last.entry_key, last.created_at)
            assert (wait.position, wait.seconds_left) == (5, pytest.approx(seconds))

    def test_what_is_known_is_read_once_a_second(self, uow, make_account, submit_one):
        """Within a second the queue is not counted again; after it, it is."""
        clock = [100.0]
        estimates = Estimates(lambda: clock[0])

        def place_of_a_new_user():
            with uow.read() as tx:
                return estimates.wait(tx, "new", "any", now()).position

        submit_one(make_account())
        assert place_of_a_new_user() == 2
        submit_one(make_account())
        clock[0] += 0.5
        assert place_of_a_new_user() == 2
        clock[0] += 0.6
        assert place_of_a_new_user() == 3
