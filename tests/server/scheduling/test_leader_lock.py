from datetime import timedelta

from server.scheduling.leader_lock import LeaderLocks, lead

HOUR = timedelta(hours=1)


class TestLead:
    def test_one_of_many_leads(self, uow, at_once):
        """Of eight processes at the same moment one gets the lock of a task."""
        names = iter("abcdefgh")
        assert sorted(at_once(8, lambda: lead(uow, "queue", next(names), HOUR))) == [False] * 7 + [True]

    def test_tasks_have_locks_of_their_own(self, uow):
        """Whoever does one task keeps nobody from another."""
        assert lead(uow, "queue", "one", HOUR)
        assert lead(uow, "images", "two", HOUR)

    def test_a_period_that_is_over(self, uow):
        """When the period is over the next process may lead, the same one too."""
        assert lead(uow, "queue", "one", timedelta())
        assert lead(uow, "queue", "two", HOUR)
        assert not lead(uow, "queue", "two", HOUR)

    def test_a_lock_that_was_lost_meanwhile(self, uow):
        """Between looking and taking another process may take the lock: then it stays that one's."""
        with uow.begin() as tx:
            assert LeaderLocks(tx).is_free("queue")
            assert LeaderLocks(tx).take("queue", "other", HOUR)
            assert not LeaderLocks(tx).take("queue", "late", HOUR)

    def test_an_unknown_task(self, uow):
        """A task without a row, which a migration has to make, is led by nobody."""
        assert not lead(uow, "nothing", "one", HOUR)
