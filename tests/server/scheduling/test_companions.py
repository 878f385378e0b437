from collections import Counter

import pytest

from catalog.tiers import Tier
from server.generations.claims import Claim
from server.generations.queue import PendingQueue
from server.generations.repository import Generations
from server.generations.turns import turn_of
from server.scheduling.fair_queue import FairQueue, Rules

DEV = "black-forest-labs/FLUX.1-dev"


@pytest.fixture
def batch(uow):
    """Claim the next generation and those that can be drawn with it."""

    def claim(most=3, worker="worker-1", **rules):
        with uow.begin() as tx:
            queue = FairQueue(tx, Rules(**rules))
            claimed = queue.claim(worker, 60, ())
            assert claimed is not None
            joined = queue.companions(claimed[1], worker, 60, most)
        return [generation for _, generation in (claimed, *joined)]

    return claim


def ids(generations):
    """Return the ids of generations, in their order."""
    return [generation.id for generation in generations]


class TestWhatIsDrawnTogether:
    @pytest.mark.parametrize(
        "fields",
        [{"width": 528}, {"height": 784}, {"modelKey": "avatar-creator:flux-schnell-fast"}],
    )
    def test_only_the_same_shape(self, make_account, submit_one, batch, fields):
        """Another size or another entry is not drawn with it; another prompt and seed are."""
        account = make_account(Tier.BASIC)
        first = submit_one(account, seed=1, prompt="portrait of a man")
        submit_one(account, **fields)
        alike = submit_one(account, seed=2)
        assert ids(batch()) == ids([first, alike])

    def test_an_adapter_is_not_drawn_with_the_base(self, make_account, submit_one, batch):
        """Entries of one model with and without its adapter are claimed apart, even at one size."""
        account = make_account(Tier.ENTERPRISE)
        size = {"width": 512, "height": 512}
        base = submit_one(account, modelKey="avatar-creator:flux-dev-base", **size)
        submit_one(account, modelKey="avatar-creator:flux-dev-realism", **size)
        assert ids(batch()) == [base.id]

    def test_at_most_so_many(self, make_account, submit_one, batch):
        """The rest waits for the next batch."""
        account = make_account()
        waiting = [submit_one(account) for _ in range(6)]
        assert ids(batch()) == ids(waiting[:4])
        assert ids(batch()) == ids(waiting[4:])

    def test_what_lost_a_worker_is_drawn_alone(self, uow, make_account, submit_one, claim, batch):
        """What may have killed a worker takes no others with it."""
        account = make_account()
        suspect, *others = [submit_one(account) for _ in range(3)]
        claim(lease_s=-1)
        with uow.begin() as tx:
            Generations(tx).return_lost()
        assert ids(batch()) == [suspect.id]
        assert ids(batch()) == ids(others)

    def test_what_lost_a_worker_joins_nobody(self, uow, make_account, submit_one, claim, batch):
        """It is no companion of what has lost none."""
        account = make_account()
        first, suspect = submit_one(account), submit_one(account)
        held = claim()
        claim(lease_s=-1)
        with uow.begin() as tx:
            Generations(tx).return_lost()
            Generations(tx).release(held)
        assert ids(batch()) == [first.id]
        assert ids(batch()) == [suspect.id]

    def test_what_an_older_program_submitted_is_drawn_alone(self, owner, make_account, submit_one, batch):
        """A generation without a key has no companions."""
        account = make_account()
        first, second = submit_one(account), submit_one(account)
        with owner.begin() as tx:
            for generation in (first, second):
                tx.session.get(type(generation), generation.id).batch_key = ""
        assert ids(batch()) == [first.id]


class TestFairness:
    def test_users_take_turns_within_a_batch(self, make_account, submit_one, batch):
        """A batch holds one of each user before a second of anybody, whoever came first."""
        flood, *others = [make_account() for _ in range(3)]
        waiting = [submit_one(flood) for _ in range(4)] + [submit_one(other) for other in others]
        drawn = batch()
        assert Counter(one.user_id for one in drawn) == {flood.user_id: 2, **{o.user_id: 1 for o in others}}
        assert ids(drawn)[-1] == waiting[1].id

    def test_the_cap_of_a_user_holds(self, make_account, submit_one, batch):
        """Of a user of whom so many are drawn no other rides along."""
        flood, other = make_account(), make_account()
        waiting = [submit_one(flood) for _ in range(3)]
        last = submit_one(other)
        drawn = batch(max_drawn_per_user=2)
        assert set(ids(drawn)) == {waiting[0].id, waiting[1].id, last.id}

    def test_a_newcomer_does_not_wait_for_it(self, uow, make_account, submit_one, batch):
        """Whoever comes while a flood's batch is drawn is in the round of the one whose turn it was."""
        flood = make_account()
        waiting = [submit_one(flood) for _ in range(6)]
        batch()
        with uow.read() as tx:
            standing = PendingQueue(tx).room(make_account().user_id, DEV).standing
        assert standing.drawn_of_model == standing.drawn == waiting[0].turn
        assert turn_of(standing, waiting[5].created_at.timestamp()) < waiting[4].turn

    def test_what_rode_along_and_came_back_is_claimed_in_its_turn(
        self, uow, make_account, submit_one, batch, generation_of
    ):
        """A companion that is released waits at its own place; claimed by itself, it rides with nobody."""
        flood, other = make_account(), make_account()
        waiting = [submit_one(flood) for _ in range(3)]
        first, *joined = batch()
        assert [one.companion for one in (first, *joined)] == [False, True, True]
        held = joined[-1]
        with uow.begin() as tx:
            released = Generations(tx).release(Claim(held.id, held.attempt, "worker-1"))
        assert released.turn == waiting[2].turn
        newcomer = submit_one(other)
        assert [ids(batch(most=0)) for _ in range(2)] == [[newcomer.id], [held.id]]
        assert generation_of(held.id).companion is False

    def test_eight_workers_take_none_twice(self, make_account, submit_one, batch, at_once):
        """Batches that are claimed at the same moment have no generation in common."""
        accounts = [make_account(credits=1000) for _ in range(4)]
        waiting = [submit_one(account) for account in accounts for _ in range(6)]
        batches = at_once(6, batch)
        claimed = [generation_id for drawn in batches for generation_id in ids(drawn)]
        assert sorted(claimed) == sorted(ids(waiting))
