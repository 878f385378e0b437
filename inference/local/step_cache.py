"""A step cache with a fixed interval: some steps are extrapolated from those before, and not computed.

Which ones depends on nothing but the number of steps, so an order repeats bit for bit, and in a batch no row
depends on another. A cache that decides by how much an image has changed would depend on the whole batch.
"""

from collections.abc import Sequence
from typing import Final

import torch

from inference.local.denoising import Schedule, Velocity

INTERVAL: Final = 2  # at 3, images of the miniature differ twice as much from those of all steps
FIRST_STEPS: Final = 3  # in which the composition is decided
LAST_STEPS: Final = 1


def is_computed(step: int, steps: int) -> bool:
    """Whether a step (1 to steps) is computed: the first ones, the last, and each second one between."""
    if step <= FIRST_STEPS or step > steps - LAST_STEPS:
        return True
    return (step - FIRST_STEPS) % INTERVAL == 0


class ExtrapolatedVelocity:
    """The velocity of another, extrapolated over time through its last two where a step is left out.

    See `inference.local.denoising.Velocity`. Source: TaylorSeer, arXiv 2503.06923, of first order, applied to
    the transformer's output, as "lite mode" in diffusers 0.42.
    """

    def __init__(self, computed: Velocity, schedule: Schedule) -> None:
        """Compute nothing yet."""
        self._computed = computed
        # From the steps' dt, since two timesteps may be the same number in bfloat16.
        elapsed = torch.stack([dt for _, dt in schedule]).cumsum(0)
        self._times = [torch.zeros_like(elapsed[0]), *elapsed[:-1].unbind()]
        self._points: list[tuple[torch.Tensor, torch.Tensor]] = []  # time and velocity, the last two

    def __call__(self, step: int, latents: torch.Tensor) -> torch.Tensor:
        """Return the velocity at a step, computed or extrapolated."""
        time = self._times[step - 1]
        if not is_computed(step, len(self._times)):
            return self._extrapolate(time)
        velocity = self._computed(step, latents)
        self._points = [*self._points[-1:], (time, velocity)]
        return velocity

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows."""
        self._computed.keep(rows)
        self._points = [(time, velocity[rows]) for time, velocity in self._points]

    def _extrapolate(self, time: torch.Tensor) -> torch.Tensor:
        (before, earlier), (last, velocity) = self._points
        ratio = (time - last) / (last - before)
        return (velocity + ratio * (velocity.float() - earlier.float())).to(velocity.dtype)
