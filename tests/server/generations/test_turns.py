import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.generations.turns import AGEING_S, STEP_S, TURN_S, Standing, turn_of

NOON_S = 1_800_000_000.0


class TestTurnOf:
    def test_an_empty_queue(self):
        """What is submitted to an empty queue has its time as its turn."""
        assert turn_of(Standing(), NOON_S) == NOON_S

    def test_one_step_after_the_users_own(self):
        """A user's second is one step behind the first, whatever is drawn."""
        standing = Standing(drawn_of_model=NOON_S, front_of_model=NOON_S, own_waiting=NOON_S)
        assert turn_of(standing, NOON_S + 5) == NOON_S + STEP_S

    def test_a_newcomer_is_in_the_round_that_is_drawn(self):
        """Before the second of a flood whose first is drawn comes who submits now."""
        flood = Standing(drawn_of_model=NOON_S, front_of_model=NOON_S + STEP_S)
        assert turn_of(flood, NOON_S + 5) == NOON_S

    def test_who_was_just_served_is_in_the_next_round(self):
        """There he comes before those who have more waiting, and never further behind than one turn."""
        served = Standing(drawn_of_model=NOON_S, front_of_model=NOON_S + STEP_S, own_last=NOON_S)
        assert NOON_S < turn_of(served, NOON_S + 5) < NOON_S + STEP_S
        indebted = Standing(drawn_of_model=NOON_S, own_last=NOON_S + 50 * TURN_S)
        assert turn_of(indebted, NOON_S + 5) == NOON_S + TURN_S

    def test_newcomers_age(self):
        """However slowly the queue moves, a newcomer is at most AGEING_S before the time."""
        slow = Standing(drawn_of_model=NOON_S, front_of_model=NOON_S + STEP_S)
        assert turn_of(slow, NOON_S + 3600) == NOON_S + 3600 - AGEING_S

    def test_what_was_returned_to_the_queue_is_of_a_past_round(self):
        """While it is drawn, the round is that of what waits."""
        late = Standing(drawn_of_model=NOON_S, front_of_model=NOON_S + 5 * STEP_S)
        assert turn_of(late, NOON_S) == NOON_S + 5 * STEP_S

    def test_what_rides_along_does_not_hold_a_newcomer_up(self):
        """Behind the batch of a flood comes who submits now, before those of the flood that still wait."""
        ridden = NOON_S + 3 * STEP_S
        flood = Standing(NOON_S, front_of_model=NOON_S + 4 * STEP_S, ridden_of_model=ridden)
        assert turn_of(flood, NOON_S + 5) == ridden
        another_waits = Standing(NOON_S, front_of_model=NOON_S + STEP_S, ridden_of_model=ridden)
        assert turn_of(another_waits, NOON_S + 5) == NOON_S

    def test_a_model_that_nobody_waits_for_joins_the_others(self):
        """Its first turn is in the round that is drawn of any model."""
        assert turn_of(Standing(drawn=NOON_S + 1000), NOON_S) == NOON_S + 1000

    @given(
        st.builds(Standing, *[st.none() | st.floats(NOON_S - 1e4, NOON_S + 1e4)] * 6),
        st.floats(NOON_S - 1e4, NOON_S + 1e4),
    )
    def test_the_order_of_one_users_own_holds(self, standing, moment_s):
        """A turn is never before the user's own that wait, nor longer before its time than AGEING_S."""
        turn = turn_of(standing, moment_s)
        assert turn >= moment_s - AGEING_S
        if standing.own_waiting is not None:
            assert turn >= standing.own_waiting + STEP_S


class TestARound:
    @pytest.mark.parametrize("others", [1, 3])
    def test_who_comes_back_and_who_has_many_waiting_alternate(self, others):
        """Users who submit when their last is drawn, and one who has twenty waiting, get as many images."""
        last: dict[str, float] = {}
        queue: list[tuple[float, int, str]] = []
        number = 0

        def submit(user, drawn):
            nonlocal number
            number += 1
            own = [turn for turn, _, whose in queue if whose == user]
            front = min(queue)[0] if queue else None
            turn = turn_of(
                Standing(drawn, front, drawn, max(own, default=None), last.get(user)), NOON_S + number
            )
            last[user] = turn
            queue.append((turn, number, user))

        for _ in range(20):
            submit("many", None)
        for other in range(others):
            submit(f"other-{other}", None)
        served = []
        while len(served) < 10 * (1 + others):
            turn, order, user = min(queue)
            queue.remove((turn, order, user))
            served.append(user)
            if user != "many":
                submit(user, turn)
        assert {user: served.count(user) for user in set(served)} == {
            "many": 10,
            **{f"other-{other}": 10 for other in range(others)},
        }
