import pytest
import torch

from inference.local.step_cache import ExtrapolatedVelocity, is_computed


class Recorded:
    """A velocity that falls linearly with time, and records the steps at which it is computed."""

    def __init__(self, schedule, slopes):
        self._schedule, self._slopes = schedule, slopes
        self.computed = []

    def __call__(self, step, latents):
        """Return two, and what grows with the timestep."""
        self.computed.append(step)
        timestep, _ = self._schedule[step - 1]
        return 2 + self._slopes * timestep + 0 * latents

    def keep(self, rows):
        """Go on with these rows."""
        self._slopes = self._slopes[rows]


def schedule_of(steps):
    times = torch.linspace(1, 0, steps + 1).pow(0.5)  # unevenly, as dev's shifted schedule
    return list(zip(times[:-1].unbind(), times.diff().unbind(), strict=True))


class TestIsComputed:
    @pytest.mark.parametrize(
        ("steps", "left_out"),
        [(1, []), (4, []), (5, [4]), (8, [4, 6]), (28, list(range(4, 27, 2)))],
    )
    def test_which_steps(self, steps, left_out):
        """The first three and the last step are computed, and each second one between them."""
        assert [step for step in range(1, steps + 1) if not is_computed(step, steps)] == left_out


class TestExtrapolatedVelocity:
    def test_a_linear_velocity_is_met(self):
        """What changes linearly with time is extrapolated without an error, over uneven steps too."""
        schedule = schedule_of(12)
        slopes, latents = torch.tensor([[[3.0]], [[-1.0]]]), torch.zeros(2, 4, 1)
        computed, exact = Recorded(schedule, slopes), Recorded(schedule, slopes)
        velocity = ExtrapolatedVelocity(computed, schedule)
        for step in range(1, 13):
            torch.testing.assert_close(velocity(step, latents), exact(step, latents))
        assert computed.computed == [1, 2, 3, 5, 7, 9, 11, 12]

    def test_rows_are_kept(self):
        """A row that leaves takes its past with it."""
        schedule = schedule_of(6)
        slopes, latents = torch.tensor([[[3.0]], [[-1.0]], [[7.0]]]), torch.zeros(3, 4, 1)
        velocity = ExtrapolatedVelocity(Recorded(schedule, slopes), schedule)
        for step in (1, 2, 3):
            velocity(step, latents)
        velocity.keep([2, 0])
        expected = Recorded(schedule, slopes[[2, 0]])(4, latents[:2])
        torch.testing.assert_close(velocity(4, latents[:2]), expected)

    def test_equal_timesteps_in_bfloat16(self):
        """Steps so short that bfloat16 gives them one timestep are extrapolated, and in its format."""
        times = torch.linspace(1, 0.99, 6)
        schedule = list(zip(times[:-1].bfloat16().unbind(), times.diff().unbind(), strict=True))
        assert schedule[1][0] == schedule[2][0]
        latents = torch.zeros(1, 4, 1, dtype=torch.bfloat16)
        velocity = ExtrapolatedVelocity(Recorded(schedule, torch.tensor([[[3.0]]]).bfloat16()), schedule)
        found = [velocity(step, latents) for step in range(1, 5)]
        assert found[-1].dtype is torch.bfloat16
        torch.testing.assert_close(found[-1], found[-2], rtol=0.05, atol=0)
