import pytest

from server.scheduling.swap_budget import MOST_S_PAST, WINDOW_S, SwapBudget


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.moment = 1000.0

    def __call__(self):
        """Return the moment in seconds."""
        return self.moment

    def pass_s(self, seconds):
        """Let so many seconds pass."""
        self.moment += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(clock):
    return SwapBudget(clock)


@pytest.fixture
def swap(clock, budget):
    """Swap to a model in so many seconds, while others wait."""

    def to(model_id, seconds=30.0, waiting=()):
        budget.record_claim(model_id, model_id, {*waiting, model_id}, {"resident"})
        clock.pass_s(seconds)
        budget.record_load(seconds)

    return to


class TestAllows:
    def test_a_new_worker_draws_first(self, budget, clock):
        """In its first five minutes a swap of thirty seconds would be more than a tenth."""
        assert not budget.allows()
        clock.pass_s(299)
        assert not budget.allows()
        clock.pass_s(1)
        assert budget.allows()

    def test_two_swaps_of_thirty_seconds_in_ten_minutes(self, budget, clock, swap):
        """A third is allowed when the first has left the window."""
        clock.pass_s(WINDOW_S)
        swap("a")
        assert budget.allows()
        swap("b")
        assert not budget.allows()
        clock.pass_s(WINDOW_S - 31)
        assert not budget.allows()
        clock.pass_s(1)
        assert budget.allows()

    def test_what_a_swap_costs_is_measured(self, budget, clock, swap):
        """Short swaps are allowed more often."""
        clock.pass_s(WINDOW_S)
        for _ in range(20):
            swap("a", 0.6)
            clock.pass_s(6)
            assert budget.allows()

    def test_the_first_load_and_what_is_resident_are_no_swaps(self, budget, clock):
        """They use nothing of the budget."""
        clock.pass_s(WINDOW_S)
        for resident in (set(), {"a"}):
            budget.record_claim("a", "a", {"a"}, resident)
            budget.record_load(500.0)
        assert budget.allows()


class TestOverdue:
    @pytest.fixture
    def passed_over(self, budget):
        """The turn of `late` came, and the resident pipeline went on."""
        budget.record_claim("resident", "late", {"resident", "late"}, {"resident"})

    @pytest.mark.usefixtures("passed_over")
    def test_three_swaps_and_sixty_seconds(self, budget, swap):
        """A model whose turn it was is overdue when three swaps have gone to others, sixty seconds long."""
        for _ in range(3):
            assert budget.overdue() is None
            swap("other", 20.0, {"late"})
        assert budget.overdue() == "late"

    @pytest.mark.usefixtures("passed_over")
    def test_three_swaps_in_less(self, budget, clock, swap):
        """Three short swaps do not make it overdue before sixty seconds have passed."""
        for _ in range(3):
            swap("other", 1.0, {"late"})
        assert budget.overdue() is None
        clock.pass_s(MOST_S_PAST - 3)
        assert budget.overdue() == "late"

    @pytest.mark.usefixtures("passed_over")
    @pytest.mark.parametrize(("claimed", "waiting"), [("late", {"late"}), ("other", {"other"})])
    def test_what_is_drawn_or_gone_is_forgotten(self, budget, swap, claimed, waiting):
        """Neither a model that was claimed nor one that nobody waits for any more is overdue."""
        for _ in range(3):
            swap("other", 30.0, {"late"})
        budget.record_claim(claimed, claimed, waiting, {"resident"})
        assert budget.overdue() is None
