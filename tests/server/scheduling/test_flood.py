"""Users who submit more than is drawn, at no price, leave the others their places and their turns."""

import pytest

from catalog.tiers import Tier
from server.generations.submission import GenerationRequest, Limits, QueueFull, TooManyUnfinished, submit

pytestmark = pytest.mark.usefixtures("books_that_balance")

LIMITS = Limits(max_depth=20, max_per_user=5)


@pytest.fixture
def submit_within(uow):
    """Submit a generation within the limits of the queue."""

    def submit_for(account):
        request = GenerationRequest(account.project_id, "Ada", "portrait of a person")
        return submit(uow, lambda _id: None, account.caller, request, LIMITS).generation

    return submit_for


@pytest.fixture
def flood(submit_within):
    """Submit for an account until it is refused; return the ids and the refusal."""

    def submit_all(account):
        ids = []
        while True:
            try:
                ids.append(submit_within(account).id)
            except (QueueFull, TooManyUnfinished) as refusal:
                return ids, type(refusal)

    return submit_all


class TestPlaces:
    def test_one_user_fills_a_part_of_the_queue(self, make_account, flood, submit_within):
        """An enterprise user, who pays nothing, is refused at his bound, and others are accepted."""
        ids, refusal = flood(make_account(Tier.ENTERPRISE, credits=0))
        assert (len(ids), refusal) == (5, TooManyUnfinished)
        assert submit_within(make_account(Tier.FREE))

    def test_many_users_leave_places_for_newcomers(self, make_account, flood, submit_within):
        """However many users flood the queue, its last tenth takes those of whom nothing waits, one each."""
        flooding = [make_account(Tier.ENTERPRISE, credits=0) for _ in range(4)]
        accepted = [flood(account) for account in flooding]
        assert sum(len(ids) for ids, _ in accepted) == 18
        assert accepted[-1][1] is QueueFull
        for account in (make_account(), make_account()):
            ids, refusal = flood(account)
            assert (len(ids), refusal) == (1, QueueFull)
        with pytest.raises(QueueFull):
            submit_within(make_account())


class TestTurns:
    def test_a_flood_delays_another_by_one_image_at_most(self, make_account, flood, submit_within, claim):
        """Who comes while a flood is drawn is next, and after that at every second image."""
        flooding, other = make_account(Tier.ENTERPRISE, credits=0), make_account(Tier.PRO, credits=1000)
        flood(flooding)
        claim()
        wanted = [submit_within(other).id for _ in range(2)]
        drawn = [claim().generation_id for _ in range(3)]
        assert drawn[0] == wanted[0]
        assert drawn[2] == wanted[1]
