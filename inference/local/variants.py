"""A variant of a transformer: an adapter is fused into the weights that it adapts, the rest is the base's.

Attached layers would cost time at each step, and a copy of the whole would cost 23.8 GB. The Realism LoRA
adapts 12 % of the weights.
"""

from collections.abc import Mapping
from copy import deepcopy
from itertools import chain

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from inference.local.adapters import CheckedAdapter


def fuse(
    base: FluxTransformer2DModel,
    adapter: CheckedAdapter,
    scale: float,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Return the weights W + scale * B A of the adapted modules, by the modules' names.

    The sum is made in float32 on the base's device, and cast back to the format of W.
    weights: W by module, if the base is quantised; else they are the base's own.
    """
    fused = {}
    for name, low_rank in adapter.modules.items():
        own = base.get_submodule(name).weight.detach()  # (out, in)
        weight = own if weights is None else weights[name].to(own.device)
        down, up = (factor.to(weight.device) for factor in (low_rank.down, low_rank.up))
        delta = (up.float() @ down.float()) * (scale * low_rank.scale)
        fused[name] = (weight.float() + delta).to(weight.dtype)
    return fused


def variant_of(base: FluxTransformer2DModel, weights: Mapping[str, torch.Tensor]) -> FluxTransformer2DModel:
    """Return a transformer with these weights, by module, that shares all other tensors with the base."""
    memo: dict[int, object] = {id(tensor): tensor for tensor in chain(base.parameters(), base.buffers())}
    for name, weight in weights.items():
        memo[id(base.get_submodule(name).weight)] = nn.Parameter(weight, requires_grad=False)
    return deepcopy(base, memo)
