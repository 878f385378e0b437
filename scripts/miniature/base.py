"""Trains the base on flat drawings: at 512 px how avatars look, then at every size where the parts are."""

import random
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from inference.miniature import architecture
from scripts.miniature.flow import Bucket, Flow, flow_loss, sample_batch
from scripts.miniature.reading import train_reading
from scripts.miniature.training import train


def train_base(folder: Path, buckets: Sequence[Bucket], *, steps: int, reading_steps: int) -> Flow:
    """Train the text models to read, freeze them, and train the transformer to draw at 512 px."""
    torch.manual_seed(2)
    flow = Flow(architecture.transformer(guidance_embeds=True))
    train_reading(folder, flow, steps=reading_steps)
    flow.requires_grad_(requires_grad=False)
    flow.transformer.requires_grad_(requires_grad=True)
    _open_gates(flow.transformer)

    def loss(step: int) -> torch.Tensor:
        batch = sample_batch(buckets[:1], random.Random(f"base-{step}"))
        text = flow.read(batch.captions)
        return flow_loss(flow, batch, text, torch.Generator().manual_seed(step))

    return train("base", folder, flow, loss, steps=steps, rate=2e-3, decay=0.998)


def train_sizes(folder: Path, base: Flow, buckets: Sequence[Bucket], *, steps: int) -> Flow:
    """Continue at every size: the transformer learns the positions of a face's parts for each size."""
    flow = deepcopy(base).requires_grad_(requires_grad=False)
    flow.transformer.requires_grad_(requires_grad=True)

    def loss(step: int) -> torch.Tensor:
        batch = sample_batch(buckets, random.Random(f"sizes-{step}"))
        return flow_loss(
            flow, batch, flow.read(batch.captions), torch.Generator().manual_seed(5_000_000 + step)
        )

    return train("sizes", folder, flow, loss, steps=steps, rate=1.5e-3, decay=0.998)


def _open_gates(transformer: FluxTransformer2DModel) -> None:
    """Initialise every block as a plain transformer's: random modulation would nearly close its gates."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
            if name.endswith(("norm.linear", "norm1.linear", "norm1_context.linear", "norm_out.linear")):
                nn.init.normal_(module.weight, std=0.02)
    with torch.no_grad():
        for block in transformer.transformer_blocks:
            for modulation in (block.norm1.linear, block.norm1_context.linear):
                gates = modulation.bias.view(6, -1)  # shift, scale and gate of attention, then of the rest
                gates[2] = gates[5] = 1
        for block in transformer.single_transformer_blocks:
            block.norm.linear.bias.view(3, -1)[2] = 1
        nn.init.zeros_(transformer.proj_out.weight)
