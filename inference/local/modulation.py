"""AdaLN's modulation of all steps, computed before the first.

A block's norms shift, scale and gate their input by a linear layer of the timestep, the guidance and the
pooled prompt. All of these are known before the first step. These layers are 27 % of FLUX.1's parameters, and
each step would read them for one row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.normalization import AdaLayerNormContinuous, AdaLayerNormZero, AdaLayerNormZeroSingle
from torch import nn
from torch.nn.functional import silu


class HoistedZero(nn.Module):
    """AdaLayerNormZero of a double block, which is told its modulation.

    Its layers keep their names, so that an adapter finds them. offset: where its modulation begins in that of
    its block, in widths; both norms of a double block are given the same tensor (B, 12 * width).
    """

    def __init__(self, norm: AdaLayerNormZero, offset: int) -> None:
        super().__init__()
        self.linear, self.norm, self.offset = norm.linear, norm.norm, offset

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return x, modulated, and what the block needs later: gate, shift, scale, gate, each (B, width)."""
        width = x.shape[-1]
        own = emb[:, self.offset * width : (self.offset + 6) * width]
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = own.chunk(6, dim=1)
        return self.norm(x) * (1 + scale[:, None]) + shift[:, None], gate, shift_mlp, scale_mlp, gate_mlp


class HoistedSingle(nn.Module):
    """AdaLayerNormZeroSingle of a single block, which is told its modulation (B, 3 * width)."""

    def __init__(self, norm: AdaLayerNormZeroSingle) -> None:
        super().__init__()
        self.linear, self.norm = norm.linear, norm.norm

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x, modulated, and the gate (B, width)."""
        shift, scale, gate = emb.chunk(3, dim=1)
        return self.norm(x) * (1 + scale[:, None]) + shift[:, None], gate


class HoistedContinuous(nn.Module):
    """AdaLayerNormContinuous after the last block, which is told its modulation (B, 2 * width)."""

    def __init__(self, norm: AdaLayerNormContinuous) -> None:
        super().__init__()
        self.linear, self.norm = norm.linear, norm.norm

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """Return x, modulated."""
        scale, shift = emb.chunk(2, dim=1)
        modulated: torch.Tensor = self.norm(x) * (1 + scale)[:, None] + shift[:, None]
        return modulated


def hoist(transformer: FluxTransformer2DModel) -> None:
    """Let the norms of a transformer be told their modulation. From then on `modulate` belongs to it."""
    for block in transformer.transformer_blocks:
        block.norm1 = HoistedZero(block.norm1, 0)
        block.norm1_context = HoistedZero(block.norm1_context, 6)
    for block in transformer.single_transformer_blocks:
        block.norm = HoistedSingle(block.norm)
    transformer.norm_out = HoistedContinuous(transformer.norm_out)


@dataclass(frozen=True)
class Modulation:
    """The modulation of each block and of the last norm: (B, n * width) at a step, (steps, B, …) of all.

    FLUX.1 has 1.06 million values a row and step: 59 MB in bfloat16 for a row of 28 steps.
    """

    double: Sequence[torch.Tensor]
    single: Sequence[torch.Tensor]
    last: torch.Tensor

    def at(self, index: int | Sequence[int] | tuple[slice, Sequence[int]]) -> Self:
        """Return a step of the modulation of all steps, or some of its rows."""
        return type(self)([m[index] for m in self.double], [m[index] for m in self.single], self.last[index])


@torch.no_grad()
def modulate(
    transformer: FluxTransformer2DModel,
    timesteps: torch.Tensor,
    guidance: torch.Tensor | None,
    pooled: torch.Tensor,
) -> Modulation:
    """Return the modulation (steps, B, …) of all steps.

    timesteps: (steps,). guidance: (1,) or None. pooled: (B, 768).
    """
    steps, batch = len(timesteps), len(pooled)
    # Cast and scaled as in the transformer's own forward pass.
    times = timesteps.to(pooled.dtype).repeat_interleave(batch) * 1000  # (steps * B,)
    prompts = pooled.repeat(steps, 1)
    if guidance is None:
        embedded = transformer.time_text_embed(times, prompts)
    else:
        scales = guidance.to(pooled.dtype).expand(steps * batch) * 1000
        embedded = transformer.time_text_embed(times, scales, prompts)
    activated = silu(embedded)  # (steps * B, width)

    def told(*norms: nn.Module) -> torch.Tensor:
        of_all = torch.cat([norm.get_submodule("linear")(activated) for norm in norms], dim=1)
        return of_all.view(steps, batch, -1)

    return Modulation(
        double=[told(block.norm1, block.norm1_context) for block in transformer.transformer_blocks],
        single=[told(block.norm) for block in transformer.single_transformer_blocks],
        last=told(transformer.norm_out),
    )
