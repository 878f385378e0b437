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
        self._schedule = schedule
        self._points: list[tuple[torch.Tensor, torch.Tensor]] = []  # timestep and velocity, the last two

    def __call__(self, step: int, latents: torch.Tensor) -> torch.Tensor:
        """Return the velocity at a step, computed or extrapolated."""
        timestep, _ = self._schedule[step - 1]
        if not is_computed(step, len(self._schedule)):
            return self._extrapolate(timestep)
        velocity = self._computed(step, latents)
        self._points = [*self._points[-1:], (timestep, velocity)]
        return velocity

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows."""
        self._computed.keep(rows)
        self._points = [(timestep, velocity[rows]) for timestep, velocity in self._points]

    def _extrapolate(self, timestep: torch.Tensor) -> torch.Tensor:
        (before, earlier), (last, velocity) = self._points
        # In float32: two timesteps differ in the last digits of a bfloat16.
        ratio = (timestep.float() - last.float()) / (last.float() - before.float())
        return (velocity + ratio * (velocity.float() - earlier.float())).to(velocity.dtype)
