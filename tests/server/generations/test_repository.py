import pytest

from catalog.orders import Provenance
from catalog.tiers import Tier
from server.generations.claims import Claim, LeaseLost
from server.generations.repository import Generations
from server.generations.states import Reason
from server.scheduling.fair_queue import FairQueue


class TestClaim:
    def test_nothing_waits(self, claim):
        """A claim on an empty queue gets nothing."""
        assert claim() is None

    def test_each_generation_has_one_claimant(self, make_account, submit_one, uow, at_once):
        """Twelve workers at the same moment get the six generations that wait, each of them once."""
        account = make_account(credits=1000)
        waiting = {submit_one(account).id for _ in range(6)}
        numbers = iter(range(12))

        def claim_one():
            with uow.begin() as tx:
                claimed = FairQueue(tx).claim(f"worker-{next(numbers)}", 60, ())
            return claimed and claimed[0].generation_id

        outcomes = at_once(12, claim_one)
        assert sorted(filter(None, outcomes)) == sorted(waiting)

    def test_the_attempt_is_the_fence(self, make_account, submit_one, claim, uow):
        """Every claim of a generation has a higher number than the last."""
        submit_one(make_account())
        first = claim("worker-1")
        with uow.begin() as tx:
            Generations(tx).return_lost(worker="worker-1")
        assert (first.attempt, claim("worker-2").attempt) == (1, 2)

    def test_users_take_turns(self, make_account, submit_one, claim, generation_of):
        """A user who submits one generation after another's ten does not wait for the ten."""
        hasty, modest = make_account(credits=1000), make_account()
        for _ in range(10):
            submit_one(hasty)
        wanted = submit_one(modest)
        claimed = [claim().generation_id for _ in range(2)]
        assert wanted.id in claimed
        assert {generation_of(id_).user_id for id_ in claimed} == {hasty.user_id, modest.user_id}

    def test_a_users_own_go_in_order(self, make_account, submit_one, claim):
        """One user's generations are claimed in the order in which they were submitted."""
        account = make_account()
        submitted = [submit_one(account).id for _ in range(3)]
        assert [claim().generation_id for _ in range(3)] == submitted

    def test_the_resident_pipeline_is_kept(self, make_account, submit_one, claim):
        """A worker takes what its resident pipeline can draw before what it would have to load."""
        submit_one(make_account())
        fast = submit_one(make_account(Tier.BASIC), modelKey="avatar-creator:flux-schnell-fast")
        assert claim(resident={"black-forest-labs/FLUX.1-schnell"}).generation_id == fast.id


class TestLease:
    def test_a_late_worker_is_fenced_out(self, make_account, submit_one, claim, uow):
        """Who lost a generation can neither renew, complete, fail nor release it."""
        submit_one(make_account())
        late = claim("worker-1")
        with uow.begin() as tx:
            Generations(tx).return_lost(worker="worker-1")
        current = claim("worker-2")
        drawn = Provenance("scripted", "model", None, None, seed=1)
        for act in (
            lambda tx: Generations(tx).renew(late, 60),
            lambda tx: Generations(tx).check_lease(late),
            lambda tx: Generations(tx).complete(late, "avatar", drawn),
            lambda tx: Generations(tx).fail(late, Reason.INTERNAL_ERROR, "late"),
            lambda tx: Generations(tx).release(late),
        ):
            with pytest.raises(LeaseLost), uow.begin() as tx:
                act(tx)
        with uow.begin() as tx:
            Generations(tx).check_lease(current)

    def test_only_expired_leases_are_lost(self, make_account, submit_one, claim, uow, generation_of):
        """A lease that has run out returns its generation to the queue; one that has not keeps it."""
        account = make_account()
        for _ in range(2):
            submit_one(account)
        expired, valid = claim(lease_s=-1), claim(lease_s=60)
        with uow.begin() as tx:
            lost = Generations(tx).return_lost()
        assert [generation.id for generation in lost] == [expired.generation_id]
        returned = generation_of(expired.generation_id)
        assert (returned.status, returned.losses, returned.lease_until) == ("pending", 1, None)
        assert generation_of(valid.generation_id).status == "processing"

    def test_renewing_lengthens(self, make_account, submit_one, claim, uow, generation_of):
        """A renewed lease ends later than it did."""
        submit_one(make_account())
        held = claim(lease_s=5)
        before = generation_of(held.generation_id).lease_until
        with uow.begin() as tx:
            Generations(tx).renew(held, 60)
        assert generation_of(held.generation_id).lease_until > before

    def test_a_release_is_no_loss(self, make_account, submit_one, claim, uow, generation_of):
        """A worker that is told to stop returns its generation unharmed."""
        submit_one(make_account())
        held = claim()
        with uow.begin() as tx:
            Generations(tx).release(held)
        returned = generation_of(held.generation_id)
        assert (returned.status, returned.losses) == ("pending", 0)

    def test_a_claim_that_never_was(self, uow, make_account):
        """A claim on a generation that does not exist holds nothing."""
        make_account()
        with pytest.raises(LeaseLost), uow.begin() as tx:
            Generations(tx).renew(Claim("nothing", 1, "worker-1"), 60)
