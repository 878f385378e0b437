"""Distils the base: guidance into dev, whose scale becomes an input, and few steps into schnell."""

import random
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from diffusers import FluxTransformer2DModel

from inference.miniature import architecture
from scripts.miniature.flow import UNGUIDED, Flow, Shelf, Text, sample_batch, sample_times, weighted_mean
from scripts.miniature.training import train

GUIDANCE: Final = 3.5
"""The catalogue's, at which schnell's teacher draws."""

_MOST_GUIDANCE: Final = 5.0

SCHNELL_STEPS: Final = 4
_SUBSTEPS: Final = 5


def train_guidance(folder: Path, base: Flow, shelves: Sequence[Shelf], *, steps: int) -> Flow:
    """Teach the transformer to take a guidance scale from 1 to 5; the text models stay as they are.

    Source: Meng et al. 2023, On Distillation of Guided Diffusion Models, stage one.
    """
    teacher = deepcopy(base).requires_grad_(requires_grad=False).eval()
    student = deepcopy(base).requires_grad_(requires_grad=False)
    student.transformer.requires_grad_(requires_grad=True)

    def loss(step: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(2_000_000 + step)
        batch = sample_batch(shelves, random.Random(f"guidance-{step}"))
        count, grid = len(batch.latents), (batch.rows, batch.columns)
        time = sample_times(batch, chance)
        latents = batch.latents + time[:, None, None] * (
            torch.randn(batch.latents.shape, generator=chance) - batch.latents
        )
        guidance = UNGUIDED + (_MOST_GUIDANCE - UNGUIDED) * torch.rand(count, generator=chance)
        with torch.no_grad():
            named, unnamed = teacher.read(batch.captions), teacher.read([""] * count)
            plain = torch.full((count,), UNGUIDED)
            with_words = teacher.velocity(latents, time, named, grid, plain)
            without = teacher.velocity(latents, time, unnamed, grid, plain)
            target = without + guidance[:, None, None] * (with_words - without)
        errors = (student.velocity(latents, time, named, grid, guidance) - target).square()
        return weighted_mean(
            errors / guidance[:, None, None], *grid
        )  # or the highest scales are all it learns

    return train("guidance", folder, student, loss, steps=steps, rate=1e-3)


def train_schnell(folder: Path, dev: Flow, shelves: Sequence[Shelf], *, steps: int) -> Flow:
    """Teach a transformer without guidance to cross in one step what dev crosses in five.

    Each of the four windows of time gets the mean velocity of dev's own path through it.
    Source: Yan et al. 2024, PeRFlow, on whole paths from noise.
    """
    teacher = deepcopy(dev).requires_grad_(requires_grad=False).eval()
    student = deepcopy(teacher)
    student.transformer = without_guidance(dev.transformer)

    def loss(step: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(3_000_000 + step)
        batch = sample_batch(shelves, random.Random(f"schnell-{step}"), part=0.25)
        grid = (batch.rows, batch.columns)
        with torch.no_grad():
            text = teacher.read(batch.captions)
            stations = _path(teacher, torch.randn(batch.latents.shape, generator=chance), text, grid)
        starts = torch.cat(stations[:-1])
        targets = torch.cat([SCHNELL_STEPS * (one - two) for one, two in pairwise(stations)])
        times = torch.cat(
            [torch.full((len(batch.latents),), 1 - window / SCHNELL_STEPS) for window in range(SCHNELL_STEPS)]
        )
        texts = Text(text.embeds.repeat(SCHNELL_STEPS, 1, 1), text.pooled.repeat(SCHNELL_STEPS, 1))
        errors = (student.velocity(starts, times, texts, grid, None) - targets).square()
        return weighted_mean(errors, *grid)

    return train("schnell", folder, student, loss, steps=steps, rate=8e-4)


def _path(teacher: Flow, latents: torch.Tensor, text: Text, grid: tuple[int, int]) -> list[torch.Tensor]:
    """Follow dev from noise to image; return where it is at 1, 0.75, 0.5, 0.25 and 0."""
    stations, count = [latents], SCHNELL_STEPS * _SUBSTEPS
    guidance = torch.full((len(latents),), GUIDANCE)
    for step in range(count):
        time = torch.full((len(latents),), 1 - step / count)
        latents = latents - teacher.velocity(latents, time, text, grid, guidance) / count
        if (step + 1) % _SUBSTEPS == 0:
            stations.append(latents)
    return stations


def without_guidance(dev: FluxTransformer2DModel) -> FluxTransformer2DModel:
    """Return a transformer of schnell's kind that predicts what dev does at the catalogue's guidance."""
    schnell = architecture.transformer(guidance_embeds=False)
    kept = {key: value for key, value in dev.state_dict().items() if "guidance_embedder" not in key}
    schnell.load_state_dict(kept)
    embedding = dev.time_text_embed
    with torch.no_grad():
        guidance = embedding.guidance_embedder(embedding.time_proj(torch.tensor([1000 * GUIDANCE])))
        schnell.time_text_embed.timestep_embedder.linear_2.bias += guidance[0]
    return schnell
