from datetime import timedelta

import pytest

from server.clock import now
from server.generations import settlement
from server.scheduling.estimates import Estimates
from server.scheduling.registry import WorkerRegistry
from tests.server.stored import provenance_of, stored_image


class TestPlace:
    def test_it_is_the_place_of_the_fair_queue(self, uow, make_account, submit_one, claim):
        """Of users of one tier the places are the order in which the fair queue serves them."""
        accounts = [make_account(credits=1000) for _ in range(3)]
        submitted = [submit_one(accounts[number]) for number in (0, 0, 0, 1, 1, 2)]
        with uow.read() as tx:
            estimates = Estimates()
            places = {
                one.id: estimates.wait(tx, one.entry_key, one.turn, one.created_at).position
                for one in submitted
            }
        served = [claim().generation_id for _ in submitted]
        assert [places[generation_id] for generation_id in served] == [1, 2, 3, 4, 5, 6]


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
                wait = Estimates().wait(tx, last.entry_key, last.turn, last.created_at)
            assert (wait.position, wait.seconds_left) == (5, pytest.approx(seconds))

    def test_what_is_known_is_read_once_a_second(self, uow, make_account, submit_one):
        """Within a second the queue is not counted again; after it, it is."""
        clock = [100.0]
        estimates = Estimates(lambda: clock[0])

        def place_of_a_new_user():
            with uow.read() as tx:
                return estimates.wait(tx, "any", now().timestamp() + 60, now()).position

        submit_one(make_account())
        assert place_of_a_new_user() == 2
        submit_one(make_account())
        clock[0] += 0.5
        assert place_of_a_new_user() == 2
        clock[0] += 0.6
        assert place_of_a_new_user() == 3
