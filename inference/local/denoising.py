"""FLUX.1's denoising loop: a rectified flow from noise to an image's latents, in Euler steps.

It knows no prompt, no seed and no report: `inference.local.batch` brings these. How a velocity is computed is
`inference.local.velocity`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, Self

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

Schedule = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Each step's timestep, which falls from 1 (noise) towards 0, and its dt < 0. Scalars on the device."""

Estimate = Callable[[int], torch.Tensor]
"""Returns what the latents (T, 64) of a row, by its position, will become if its velocity stays as it is."""

AtStepEnd = Callable[[int, torch.Tensor, Estimate], Sequence[int]]
"""Called with the number of a finished step (1 to steps), its latents, and what estimates the last ones.

It returns the rows to go on with.
"""


@dataclass(frozen=True)
class Conditioning:
    """What guides the velocity, on the transformer's device.

    embeds: (B, S, 4096) from T5, S text tokens. pooled: (B, 768) from CLIP.
    guidance: (1,) in float32, or None for schnell.
    text_ids: (S, 3). image_ids: (T, 3), T image tokens. Both are the same for all rows.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor
    guidance: torch.Tensor | None
    text_ids: torch.Tensor
    image_ids: torch.Tensor

    def rows(self, kept: Sequence[int]) -> Self:
        """Return the conditioning of these rows."""
        return replace(self, embeds=self.embeds[kept], pooled=self.pooled[kept])


def schedule_for(
    scheduler: FlowMatchEulerDiscreteScheduler,
    steps: int,
    image_tokens: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Schedule:
    """Return the schedule of an image. Dev's shifts with the image's size, schnell's does not.

    Source: diffusers 0.42, FluxPipeline: sigmas fall evenly from 1 to 1 / steps before they are shifted.
    """
    config = scheduler.config
    mu = calculate_shift(
        image_tokens,
        config.base_image_seq_len,
        config.max_image_seq_len,
        config.base_shift,
        config.max_shift,
    )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu, device=device)
    # Cast before the division, as the pipeline does: in bfloat16 the order of the two changes the result.
    timesteps = scheduler.timesteps.to(dtype) / 1000
    return list(zip(timesteps.unbind(), scheduler.sigmas.diff().unbind(), strict=True))


class Velocity(Protocol):
    """The velocity of the latents of a batch, from image to noise, at each step."""

    def __call__(self, step: int, latents: torch.Tensor) -> torch.Tensor:
        """Return the velocity (B, T, 64) at a step (1 to steps). Steps are asked for in their order."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch, by their positions in it."""
        ...


@torch.no_grad()
def denoise(
    velocity: Velocity, schedule: Schedule, latents: torch.Tensor, at_step_end: AtStepEnd
) -> torch.Tensor:
    """Return the latents after the last step, of the rows that `at_step_end` has kept.

    latents: (B, T, 64) of noise, T = (H/16)(W/16) packed 2x2 patches of 16 channels.
    Source: rectified flow, Liu et al. 2022.
    """
    for step, (_, dt) in enumerate(schedule, 1):
        batch = len(latents)
        direction = velocity(step, latents)  # (B, T, 64): noise minus image
        latents = (latents.float() + dt * direction).to(direction.dtype)  # Euler
        kept = at_step_end(step, latents, partial(_estimate, latents, direction, schedule[step:]))
        if not kept:
            return latents[:0]
        if len(kept) < batch:
            latents = latents[kept]
            velocity.keep(kept)
    return latents


def _estimate(latents: torch.Tensor, direction: torch.Tensor, left: Schedule, position: int) -> torch.Tensor:
    """Go the rest of the way in one step."""
    estimate = latents[position].float()
    for _, dt in left:
        estimate = estimate + dt * direction[position].float()
    return estimate
