from collections import Counter

from benchmark.claims import EACH, copy_waiting
from benchmark.filling import claim_next
from server.generations.queue import PendingQueue

COUNT = 400


class TestCopyWaiting:
    def test_many_users_wait(self, uow, owner, make_account, submit_one):
        """So many wait beside the one that was copied, in the lanes of two models and four tiers."""
        copy_waiting(owner, submit_one(make_account()).id, COUNT)
        with uow.read() as tx:
            assert PendingQueue(tx).depth() == COUNT + 1
            assert len(PendingQueue(tx).heads()) == 8
            assert PendingQueue(tx).room("w000000000007", "").unfinished == EACH

    def test_eight_workers_claim_none_twice(self, uow, owner, make_account, submit_one, at_once):
        """Eight workers that claim at once what waits get each generation once, and users take turns."""
        copy_waiting(owner, submit_one(make_account()).id, COUNT)
        rounds = at_once(8, lambda: [claim_next(uow)[1] for _ in range(10)])
        claimed = [generation for some in rounds for generation in some]
        assert len({generation.id for generation in claimed}) == 80
        turns_of_users = Counter(generation.user_id for generation in claimed)
        assert max(turns_of_users.values()) <= 3
