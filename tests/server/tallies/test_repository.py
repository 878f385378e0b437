from collections import Counter

import pytest

from server.tallies.repository import COMPLETED, ENDED, STAGE, STAGE_US, STEPS, Tallies

BASE, FAST = "avatar-creator:flux-dev-base", "avatar-creator:flux-schnell-fast"


@pytest.fixture
def count(uow):
    """Count some ends, each in a transaction of its own."""

    def count_ends(*entry_keys):
        for entry_key in entry_keys:
            with uow.begin() as tx:
                Tallies(tx).count_completed(entry_key, 28, {"step": 0.5})

    return count_ends


def all_of(uow):
    with uow.read() as tx:
        return Tallies(tx).all()


class TestCounting:
    def test_what_is_counted_is_read_at_once(self, uow, count):
        """A count is in the tallies before it is added up, and afterwards the same."""
        count(BASE, BASE, FAST)
        before = all_of(uow)
        assert before[ENDED, BASE, COMPLETED] == 2
        assert (before[STEPS, BASE, ""], before[STAGE, BASE, "step"]) == (56, 2)
        assert before[STAGE_US, FAST, "step"] == 500_000
        with uow.begin() as tx:
            Tallies(tx).add_up(1000)
        assert all_of(uow) == before
        with uow.read() as tx:
            assert not Tallies(tx).any_uncounted()

    def test_it_is_added_up_in_parts(self, uow, count):
        """Rows are added up once each, however few are taken at a time."""
        count(*[BASE] * 5)
        before, added = all_of(uow), Counter()
        while True:
            with uow.begin() as tx:
                part = Tallies(tx).add_up(3)
            if not part:
                break
            added.update(part)
        assert added == before == all_of(uow)

    def test_counting_waits_for_nobody(self, uow, count, database_url):
        """A transaction that has counted and is still open keeps no other from counting the same."""
        if database_url.startswith("sqlite"):
            pytest.skip("SQLite has one writer")
        with uow.begin() as tx:
            Tallies(tx).count_completed(BASE, 28, {"step": 0.5})
            count(BASE)
        assert all_of(uow)[ENDED, BASE, COMPLETED] == 2

    def test_two_processes_add_up_at_once(self, uow, count, at_once):
        """Of rows that several processes add up at the same moment, each is added once."""
        count(*[BASE] * 20)

        def add_up():
            with uow.begin() as tx:
                Tallies(tx).add_up(10)

        assert at_once(6, add_up) == [None] * 6
        with uow.begin() as tx:
            Tallies(tx).add_up(1000)
        assert all_of(uow)[ENDED, BASE, COMPLETED] == 20
