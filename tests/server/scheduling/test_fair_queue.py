from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from server.generations.queue import Head
from server.scheduling.fair_queue import PATIENCE, next_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def head(name, *, waited_s=0.0, served_s_ago=None, model="dev"):
    """Return the head of a user's queue."""
    served = None if served_s_ago is None else NOON - timedelta(seconds=served_s_ago)
    return Head(name, name, model, NOON - timedelta(seconds=waited_s), served)


class TestNextOf:
    def test_nothing_waits(self):
        """Without a head there is no next one."""
        assert next_of([], {"dev"}, NOON) is None

    def test_users_take_turns(self):
        """Who was served longest ago is next, however long the other has waited."""
        patient = head("a", waited_s=20, served_s_ago=1)
        assert next_of([patient, head("b", served_s_ago=5)], {"dev"}, NOON).user_id == "b"

    def test_a_newcomer_goes_first(self):
        """Who was never served comes before everybody who was."""
        assert next_of([head("a", served_s_ago=900), head("b")], {"dev"}, NOON).user_id == "b"

    def test_the_resident_pipeline_goes_first(self):
        """A head whose pipeline is resident passes one whose pipeline is not."""
        heads = [head("a", waited_s=20, model="schnell"), head("b", model="dev")]
        assert next_of(heads, {"dev"}, NOON).user_id == "b"

    def test_patience_ends(self):
        """Nobody is passed over for longer than the patience."""
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
        """Some head is always chosen, and the same one whatever order the database gives them in."""
        shuffled = sorted(heads, key=lambda _: random.random())
        unique = {head.user_id: head for head in heads}
        chosen = next_of(list(unique.values()), resident, NOON)
        assert chosen is not None
        assert next_of([unique[head.user_id] for head in shuffled], resident, NOON) == chosen
