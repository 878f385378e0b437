from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from catalog.tiers import Tier
from server.generations.queue import Head
from server.generations.repository import Generations
from server.scheduling.fair_queue import PATIENCE, FairQueue, next_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def head(name, *, waited_s=0.0, served_s_ago=None, model="dev"):
    """Return the head of a user's queue."""
    served = None if served_s_ago is None else NOON - timedelta(seconds=served_s_ago)
    return Head(name, name, model, NOON - timedelta(seconds=waited_s), served)


class TestNextOf:
    def test_nothing_waits(self):
        """Without a head nothing is chosen."""
        assert next_of([], {"dev"}, NOON) is None

    def test_users_take_turns(self):
        """The user who was served longest ago is next, however long another one has waited."""
        patient = head("a", waited_s=20, served_s_ago=1)
        assert next_of([patient, head("b", served_s_ago=5)], {"dev"}, NOON).user_id == "b"

    def test_a_newcomer_goes_first(self):
        """A user who was never served comes before all others."""
        assert next_of([head("a", served_s_ago=900), head("b")], {"dev"}, NOON).user_id == "b"

    def test_the_resident_pipeline_goes_first(self):
        """A head whose pipeline is resident passes one whose pipeline is not."""
        heads = [head("a", waited_s=20, model="schnell"), head("b", model="dev")]
        assert next_of(heads, {"dev"}, NOON).user_id == "b"

    def test_patience_ends(self):
        """No head is passed over for longer than PATIENCE."""
        heads = [head("a", waited_s=PATIENCE.total_seconds() + 1, model="schnell"), head("b", model="dev")]
        assert next_of(heads, {"dev"}, NOON).user_id == "a"

    @given(
        st.lists(
            st.builds(
                head,
                st.text(min_size=1, max_size=3),
                waited_s=st.floats(0, 90),
                served_s_ago=st.none() | st.floats(0, 90),
                model=st.sampled_from(["dev", "schnell"]),
            ),
            min_size=1,
        ),
        st.sets(st.sampled_from(["dev", "schnell"])),
        st.randoms(),
    )
    def test_the_order_of_the_rows_does_not_matter(self, heads, resident, random):
        """A head is always chosen, and the same one in any order of the rows."""
        shuffled = sorted(heads, key=lambda _: random.random())
        unique = {head.user_id: head for head in heads}
        chosen = next_of(list(unique.values()), resident, NOON)
        assert chosen is not None
        assert next_of([unique[head.user_id] for head in shuffled], resident, NOON) == chosen


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
