"""Draws a batch of rows in one denoising loop; each row has its own prompt, seed, progress and end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from diffusers import FluxPipeline
from diffusers.utils.torch_utils import get_module_execution_device

from inference.errors import ImageNotFinite
from inference.local.canvas import Canvas
from inference.local.checks import check_latents
from inference.local.denoising import Conditioning, Estimate, denoise, schedule_for
from inference.local.encoding import EncodedPrompt
from inference.local.engine import Engine
from inference.local.latents import image_ids, noise


@dataclass(frozen=True)
class Row:
    """One image of a batch.

    step_ended: called with the number of each finished step, and with what estimates the finished latents
    (T, 64) at that step; an exception from it ends this row alone.
    """

    prompt: EncodedPrompt
    seed: int
    step_ended: Callable[[int, Callable[[], torch.Tensor]], None]


Outcome = torch.Tensor | Exception
"""A row's packed latents (1, T, 64), finite, or the exception that ended the row."""


def draw_latents(
    pipeline: FluxPipeline,
    rows: Sequence[Row],
    canvas: Canvas,
    *,
    steps: int,
    guidance_scale: float,
    step_queued: Callable[[], None],
    engine: Engine | None = None,
) -> list[Outcome]:
    """Denoise rows of one size and one token limit together. Returns the outcome of each, in their order.

    step_queued: called after each step of the batch, before `step_ended` of each row.
    engine: that has prepared the transformer; None for one as it was loaded, which is drawn with exactly.
    An exception that is not one row's, such as exhausted memory, is raised.
    """
    device = get_module_execution_device(pipeline.transformer)
    patch_px = 2 * pipeline.vae_scale_factor
    height, width = canvas.height_px // patch_px, canvas.width_px // patch_px  # in image tokens
    embeds = torch.cat([row.prompt.embeds for row in rows])
    channels = pipeline.transformer.config.in_channels // 4
    latents = noise([row.seed for row in rows], channels, height, width, embeds.dtype)  # (B, T, 64)
    guided = pipeline.transformer.config.guidance_embeds
    conditioning = Conditioning(
        embeds=embeds.to(device),
        pooled=torch.cat([row.prompt.pooled for row in rows]).to(device),
        guidance=torch.full([1], guidance_scale, device=device) if guided else None,
        text_ids=torch.zeros(embeds.shape[1], 3, device=device, dtype=embeds.dtype),
        image_ids=image_ids(height, width).to(device, embeds.dtype),
    )
    schedule = schedule_for(pipeline.scheduler, steps, height * width, device, embeds.dtype)
    progress = _Progress(rows, steps, step_queued)
    velocity = (engine or Engine()).velocity(pipeline.transformer, schedule, conditioning)
    finished = denoise(velocity, schedule, latents.to(device), progress.at_step_end)
    return progress.outcomes(finished)


class _Progress:
    """Tells the rows of a batch of their steps, and removes from the batch those that end early."""

    def __init__(self, rows: Sequence[Row], steps: int, step_queued: Callable[[], None]) -> None:
        self._rows = rows
        self._steps = steps
        self._step_queued = step_queued
        self._running = list(range(len(rows)))
        self._ended: dict[int, Exception] = {}

    def at_step_end(self, step: int, latents: torch.Tensor, estimate: Estimate) -> list[int]:
        """Tell the rows; return the positions in the batch of those that go on."""
        self._step_queued()
        kept = []
        for position, number in enumerate(self._running):
            error = self._end(self._rows[number], step, latents[position], partial(estimate, position))
            if error is None:
                kept.append(position)
            else:
                self._ended[number] = error
        self._running = [self._running[position] for position in kept]
        return kept

    def outcomes(self, latents: torch.Tensor) -> list[Outcome]:
        """Return the outcome of each row. latents: (B, T, 64), of the rows that did not end early."""
        finished = {number: latents[at : at + 1] for at, number in enumerate(self._running)}
        return [self._ended[n] if n in self._ended else finished[n] for n in range(len(self._rows))]

    def _end(
        self, row: Row, step: int, latents: torch.Tensor, estimate: Callable[[], torch.Tensor]
    ) -> Exception | None:
        """Return the exception that ends the row at this step, or None."""
        if step == self._steps:
            try:
                check_latents(latents)
            except ImageNotFinite as error:
                return error
        try:
            row.step_ended(step, estimate)
        except Exception as error:  # noqa: BLE001 - whatever stops this row must not stop the others
            return error
        return None
