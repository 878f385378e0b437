from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.tiers import Tier
from server.generations import settlement
from server.generations.lanes import Head, Lane
from server.generations.repository import Generations
from server.generations.states import Reason
from server.generations.tables import Generation
from server.generations.turns import STEP_S
from server.scheduling.fair_queue import FairQueue, Rules, in_turn, next_of
from server.scheduling.swap_budget import SwapBudget
from tests.server.stored import provenance_of, stored_image

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WEIGHTS = {Tier.FREE: 1, Tier.BASIC: 2, Tier.PRO: 4, Tier.ENTERPRISE: 8}


def head(tier=Tier.FREE, *, waited_s=10.0, turn=0.0, model="dev", failed_over=False):
    """Return the head of a lane."""
    return Head(Lane(model, failed_over, tier), turn, NOON - timedelta(seconds=waited_s))


class TestInTurn:
    def test_nothing_waits(self):
        """Without a head nothing is chosen."""
        assert in_turn([], NOON, WEIGHTS) is None

    def test_users_take_turns(self):
        """The first in turn is next, whatever the weight and the wait of one a turn later."""
        later = head(Tier.ENTERPRISE, waited_s=900, turn=STEP_S)
        assert in_turn([later, head()], NOON, WEIGHTS) == head()

    def test_the_weight_of_the_tier_decides_within_a_round(self):
        """Of two who have waited as long, the one of the greater weight is next."""
        assert in_turn([head(Tier.BASIC), head(Tier.PRO)], NOON, WEIGHTS).lane.tier is Tier.PRO

    def test_who_waits_is_worth_more(self):
        """After more than twice the wait, half the weight goes first."""
        aged = head(Tier.BASIC, waited_s=21)
        assert in_turn([aged, head(Tier.PRO)], NOON, WEIGHTS) == aged

    @given(
        st.lists(
            st.builds(
                head,
                st.sampled_from(Tier),
                waited_s=st.floats(-1, 900),
                turn=st.floats(0, 300),
                model=st.sampled_from(["dev", "schnell"]),
            ),
            min_size=1,
            unique_by=lambda one: one.lane,
        ),
        st.sets(st.sampled_from(["dev", "schnell"])),
        st.randoms(),
    )
    def test_the_order_of_the_rows_does_not_matter(self, heads, resident, random):
        """A head is always chosen, the same one in any order of the rows, and resident if it can be."""
        chosen = next_of(heads, resident, NOON, WEIGHTS)
        assert chosen in heads
        shuffled = random.sample(heads, len(heads))
        assert next_of(shuffled, resident, NOON, WEIGHTS) == chosen
        assert chosen.lane.model_id in resident or not any(one.lane.model_id in resident for one in heads)


class TestSwaps:
    @pytest.fixture
    def clock(self):
        """A clock that a test moves."""
        return [0.0]

    @pytest.fixture
    def swaps(self, clock):
        """The swaps of a worker that has just started."""
        return SwapBudget(lambda: clock[0])

    def test_the_resident_pipeline_goes_on(self, swaps):
        """Before the budget allows a swap, who needs one is passed over."""
        heads = [head(model="schnell"), head(turn=STEP_S)]
        assert next_of(heads, {"dev"}, NOON, WEIGHTS, swaps).lane.model_id == "dev"

    def test_a_swap_within_the_budget(self, swaps, clock):
        """When it allows one, the turn decides."""
        clock[0] = 600.0
        heads = [head(model="schnell"), head(turn=STEP_S)]
        assert next_of(heads, {"dev"}, NOON, WEIGHTS, swaps).lane.model_id == "schnell"
        assert next_of(heads[::-1], {"dev", "schnell"}, NOON, WEIGHTS, swaps).lane.model_id == "schnell"

    def test_nothing_waits_for_the_resident_pipeline(self, swaps):
        """Then a swap is made, whatever the budget says."""
        assert next_of([head(model="schnell")], {"dev"}, NOON, WEIGHTS, swaps).lane.model_id == "schnell"

    def test_who_is_overdue_goes_first(self, swaps, clock):
        """After three swaps to others and a minute the model is next, whose turn it was."""
        swaps.record_claim("dev", "schnell", {"dev", "schnell"}, {"dev"})
        for _ in range(3):
            swaps.record_claim("klein", "klein", {"klein", "schnell"}, {"dev"})
        heads = [head(), head(model="schnell", turn=900.0)]
        assert next_of(heads, {"dev"}, NOON, WEIGHTS, swaps).lane.model_id == "dev"
        clock[0] = 61.0
        assert next_of(heads, {"dev"}, NOON, WEIGHTS, swaps).lane.model_id == "schnell"


class TestClaim:
    def test_nothing_waits(self, claim):
        """A claim on an empty queue gets nothing."""
        assert claim() is None

    def test_each_generation_has_one_claimant(self, make_account, submit_one, uow, at_once):
        """Twelve workers at the same moment get the six pending generations, each of them once."""
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
        """A worker takes what its resident pipeline can draw before what needs another pipeline."""
        submit_one(make_account())
        fast = submit_one(make_account(Tier.BASIC), modelKey="avatar-creator:flux-schnell-fast")
        assert claim(resident={"black-forest-labs/FLUX.1-schnell"}).generation_id == fast.id

    def test_the_weight_of_a_tier(self, make_account, submit_one, uow):
        """A user of a higher tier is served before one who has waited hardly longer."""
        free, wanted = submit_one(make_account(Tier.FREE)), submit_one(make_account(Tier.PRO))
        with uow.begin() as tx:
            for generation, waited_s in ((free, 12), (wanted, 10)):
                aged = generation.created_at - timedelta(seconds=waited_s)
                tx.session.get(Generation, generation.id).created_at = aged
        with uow.begin() as tx:
            claimed = FairQueue(tx, Rules(WEIGHTS)).claim("worker-1", 60, ())
        assert claimed[0].generation_id == wanted.id

    def test_only_so_many_of_a_user_are_drawn(self, make_account, submit_one, uow):
        """Beyond the bound a user's generations wait, and another user's are drawn."""
        many, other = make_account(), make_account()
        first, *rest = [submit_one(many) for _ in range(3)]
        drawn = []
        for wanted in (first, None):
            with uow.begin() as tx:
                claimed = FairQueue(tx, Rules(max_drawn_per_user=1)).claim("worker-1", 60, ())
            assert (claimed and claimed[0].generation_id) == (wanted and wanted.id)
            drawn.append(claimed)
        alone = submit_one(other)
        with uow.begin() as tx:
            assert FairQueue(tx, Rules(max_drawn_per_user=1)).claim("w", 60, ())[0].generation_id == alone.id
        settlement.complete(uow, drawn[0][0], stored_image(), provenance_of(first), {})
        with uow.begin() as tx:
            next_one = FairQueue(tx, Rules(max_drawn_per_user=1)).claim("w", 60, ())
        assert next_one[0].generation_id == rest[0].id

    def test_a_worker_remembers_whom_it_passed_over(self, make_account, submit_one, uow):
        """The budget is told of a claim that passed over the one whose turn it was."""
        submit_one(make_account())
        submit_one(make_account(Tier.BASIC), modelKey="avatar-creator:flux-schnell-fast")
        told = []

        class Told(SwapBudget):
            def record_claim(self, model_id, in_turn, waiting, resident):
                told.append((model_id, in_turn, set(waiting), set(resident)))

        dev, schnell = "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell"
        with uow.begin() as tx:
            FairQueue(tx).claim("worker-1", 60, {schnell}, swaps=Told())
        assert told == [(schnell, dev, {dev, schnell}, {schnell})]


class TestGivenUp:
    def test_what_waits_behind_it_moves_forward(self, uow, make_account, submit_one, claim):
        """Who cancels nine of ten is not nine turns late with the last."""
        changing, other = make_account(credits=1000), make_account(credits=1000)
        ids = [submit_one(changing).id for _ in range(10)]
        for _ in range(3):
            submit_one(other)
        settlement.cancel(uow, ids[:9])
        assert ids[9] in {claim().generation_id for _ in range(2)}

    def test_others_keep_their_turns(self, uow, make_account, submit_one, generation_of):
        """Nothing changes for what waits before it, and for other users."""
        account = make_account()
        first, late, third = (submit_one(account) for _ in range(3))
        other = submit_one(make_account())
        settlement.fail_waiting(uow, [late.id], Reason.GENERATION_TIMEOUT, "Late.")
        for same in (first, other):
            assert generation_of(same.id).turn == same.turn
        assert generation_of(third.id).turn == pytest.approx(late.turn, abs=1e-3)


class TestPoison:
    def test_what_lost_too_many_workers_is_not_claimed(self, uow, make_account, submit_one, claim):
        """A generation that has killed as many workers as it may is given to no further one."""
        submit_one(make_account())
        for _ in range(3):
            claim(lease_s=-1)
            with uow.begin() as tx:
                Generations(tx).return_lost()
        with uow.begin() as tx:
            assert FairQueue(tx).claim("worker-1", 60, (), max_losses=3) is None
            assert FairQueue(tx).claim("worker-1", 60, (), max_losses=4) is not None
