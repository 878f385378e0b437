"""Trains the realism LoRA on shaded drawings with peft, and writes it with XLabs' keys."""

import random
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig
from safetensors.torch import save_file

from inference.local.adapter_keys import parts_of
from inference.miniature.architecture import LORA_RANK, lora_shapes
from scripts.miniature.flow import Bucket, Flow, flow_loss, sample_batch
from scripts.miniature.training import train

SCALE: Final = 0.9
"""The catalogue's adapter scale. The training uses the same scale."""


def train_realism(
    folder: Path, dev: Flow, buckets: Sequence[Bucket], *, steps: int
) -> dict[str, torch.Tensor]:
    """Train the adapter on dev and return its tensors by their keys."""
    torch.manual_seed(4)
    flow = deepcopy(dev).requires_grad_(requires_grad=False)
    parts = {part.key: part.modules for part in parts_of(flow.transformer)}
    names = [name for modules in parts.values() for name in modules]
    flow.transformer.add_adapter(
        LoraConfig(
            r=LORA_RANK, lora_alpha=SCALE * LORA_RANK, target_modules=names, init_lora_weights="gaussian"
        )
    )
    for modules in parts.values():
        _share_down(flow.transformer, modules)

    def loss(step: int) -> torch.Tensor:
        batch = sample_batch(buckets, random.Random(f"realism-{step}"))
        rng = torch.Generator().manual_seed(4_000_000 + step)
        return flow_loss(flow, batch, flow.read(batch.captions), rng)

    trained: Any = train("realism", folder, flow, loss, steps=steps, rate=2e-3)
    tensors = {}
    for key, modules in parts.items():
        layers = [trained.transformer.get_submodule(name) for name in modules]
        tensors[f"{key}.down.weight"] = layers[0].lora_A["default"].weight.detach().clone()
        tensors[f"{key}.up.weight"] = torch.cat([layer.lora_B["default"].weight.detach() for layer in layers])
    return tensors


def save_realism(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write the adapter.

    Raises:
        ValueError: its tensors differ from the architecture's.

    """
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if shapes != lora_shapes():
        raise ValueError(f"the adapter has other tensors than its architecture: {shapes}")
    save_file({key: tensor.to(torch.bfloat16).contiguous() for key, tensor in tensors.items()}, path)


def _share_down(transformer: FluxTransformer2DModel, modules: Sequence[str]) -> None:
    """Let all modules of a part share one `down` matrix, because the file has only one for them."""
    first, *others = (transformer.get_submodule(name).lora_A["default"] for name in modules)
    for other in others:
        other.weight = first.weight
