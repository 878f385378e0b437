import pytest

from catalog.orders import Provenance
from server.generations.claims import Claim, LeaseLost
from server.generations.repository import Generations
from server.generations.states import Reason


class TestLease:
    def test_a_late_worker_is_fenced_out(self, make_account, submit_one, claim, uow):
        """A worker that lost a generation can neither renew, complete, fail nor release it."""
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
        """An expired lease returns its generation to the queue; a valid lease keeps it."""
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
        """A released generation is pending again, and no loss is counted."""
        submit_one(make_account())
        held = claim()
        with uow.begin() as tx:
            Generations(tx).release(held)
        returned = generation_of(held.generation_id)
        assert (returned.status, returned.losses) == ("pending", 0)

    def test_a_claim_without_a_generation(self, uow, make_account):
        """A claim on a generation that does not exist cannot be renewed."""
        make_account()
        with pytest.raises(LeaseLost), uow.begin() as tx:
            Generations(tx).renew(Claim("nothing", 1, "worker-1"), 60)
