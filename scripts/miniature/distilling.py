"""Distils the base: into dev with guidance as an input, and dev into schnell with few steps."""

import random
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from diffusers import FluxTransformer2DModel

from inference.miniature import architecture
from scripts.miniature.flow import UNGUIDED, Bucket, Flow, Text, sample_batch, sample_times, weighted_mean
from scripts.miniature.training import train

GUIDANCE: Final = 3.5
"""The catalogue's guidance scale. Schnell's teacher draws at it."""

_MAX_GUIDANCE: Final = 5.0

SCHNELL_STEPS: Final = 4
_SUBSTEPS: Final = 5


def train_guidance(folder: Path, base: Flow, buckets: Sequence[Bucket], *, steps: int) -> Flow:
    """Train the transformer to take a guidance scale from 1 to 5; the text models are frozen.

    Source: Meng et al. 2023, On Distillation of Guided Diffusion Models, stage one.
    """
    teacher = deepcopy(base).requires_grad_(requires_grad=False).eval()
    student = deepcopy(base).requires_grad_(requires_grad=False)
    student.transformer.requires_grad_(requires_grad=True)

    def loss(step: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(2_000_000 + step)
        batch = sample_batch(buckets, random.Random(f"guidance-{step}"))
        count, grid = len(batch.latents), (batch.rows, batch.columns)
        time = sample_times(batch, rng)
        latents = batch.latents + time[:, None, None] * (
            torch.randn(batch.latents.shape, generator=rng) - batch.latents
        )
        guidance = UNGUIDED + (_MAX_GUIDANCE - UNGUIDED) * torch.rand(count, generator=rng)
        with torch.no_grad():
            text, empty = teacher.read(batch.captions), teacher.read([""] * count)
            scale = torch.full((count,), UNGUIDED)
            conditional = teacher.velocity(latents, time, text, grid, scale)
            unconditional = teacher.velocity(latents, time, empty, grid, scale)
            target = unconditional + guidance[:, None, None] * (conditional - unconditional)
        errors = (student.velocity(latents, time, text, grid, guidance) - target).square()
        # Divided by the scale, or the highest scales dominate the loss.
        return weighted_mean(errors / guidance[:, None, None], *grid)

    return train("guidance", folder, student, loss, steps=steps, rate=1e-3)


def train_schnell(folder: Path, dev: Flow, buckets: Sequence[Bucket], *, steps: int) -> Flow:
    """Train a transformer without guidance to do in one step what dev does in five.

    The target in each of the four time windows is the mean velocity of dev's path through it.
    Source: Yan et al. 2024, PeRFlow, on whole paths from noise.
    """
    teacher = deepcopy(dev).requires_grad_(requires_grad=False).eval()
    student = deepcopy(teacher)
    student.transformer = without_guidance(dev.transformer)

    def loss(step: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(3_000_000 + step)
        batch = sample_batch(buckets, random.Random(f"schnell-{step}"), part=0.25)
        grid = (batch.rows, batch.columns)
        with torch.no_grad():
            text = teacher.read(batch.captions)
            boundaries = _path(teacher, torch.randn(batch.latents.shape, generator=rng), text, grid)
        starts = torch.cat(boundaries[:-1])
        targets = torch.cat([SCHNELL_STEPS * (start - end) for start, end in pairwise(boundaries)])
        times = torch.cat(
            [torch.full((len(batch.latents),), 1 - window / SCHNELL_STEPS) for window in range(SCHNELL_STEPS)]
        )
        texts = Text(text.embeds.repeat(SCHNELL_STEPS, 1, 1), text.pooled.repeat(SCHNELL_STEPS, 1))
        errors = (student.velocity(starts, times, texts, grid, None) - targets).square()
        return weighted_mean(errors, *grid)

    return train("schnell", folder, student, loss, steps=steps, rate=8e-4)


def _path(teacher: Flow, latents: torch.Tensor, text: Text, grid: tuple[int, int]) -> list[torch.Tensor]:
    """Integrate dev from noise to image; return the latents at the times 1, 0.75, 0.5, 0.25 and 0."""
    boundaries, count = [latents], SCHNELL_STEPS * _SUBSTEPS
    guidance = torch.full((len(latents),), GUIDANCE)
    for step in range(count):
        time = torch.full((len(latents),), 1 - step / count)
        latents = latents - teacher.velocity(latents, time, text, grid, guidance) / count
        if (step + 1) % _SUBSTEPS == 0:
            boundaries.append(latents)
    return boundaries


def without_guidance(dev: FluxTransformer2DModel) -> FluxTransformer2DModel:
    """Return a schnell transformer that predicts what dev predicts at the catalogue's guidance scale."""
    schnell = architecture.transformer(guidance_embeds=False)
    kept = {key: value for key, value in dev.state_dict().items() if "guidance_embedder" not in key}
    schnell.load_state_dict(kept)
    embedding = dev.time_text_embed
    with torch.no_grad():
        guidance = embedding.guidance_embedder(embedding.time_proj(torch.tensor([1000 * GUIDANCE])))
        schnell.time_text_embed.timestep_embedder.linear_2.bias += guidance[0]
    return schnell
