"""Counts what each entry needs of FLUX.1, on the meta device."""

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from catalog.entries import Adapter, Entry
from inference import fullsize
from inference.local.adapter_keys import parts_of
from inference.local.arrangements import key_of
from inference.local.parts import Needs, Part
from inference.local.precision import largest_layer_bytes, tensor_bytes

_META: Final = torch.device("meta")


def count_needs(entries: Iterable[Entry]) -> tuple[Needs, ...]:
    """Count the parts of each entry, as if every base model had FLUX.1's sizes.

    The text models and the VAE are the same for all, as in the repositories of FLUX.1-dev and FLUX.1-schnell,
    which have them in equal files. Every adapter is counted like the Realism LoRA.
    """
    shared = {
        "t5": _part("T5", fullsize.t5(_META), fullsize.T5),
        "clip": _part("CLIP", fullsize.clip(_META), fullsize.CLIP),
        "vae": _part("VAE", fullsize.autoencoder(_META), fullsize.AUTOENCODER),
    }
    return tuple(
        Needs(entry, _base(*key_of(entry)), _adapted(*key_of(entry), entry.adapter), **shared)
        for entry in entries
    )


def adapted_weights(transformer: Any) -> list[str]:
    """Return the names of the weights that the Realism LoRA changes: 152 of FLUX.1-dev's."""
    keys = fullsize.lora_shapes()
    parts = [part for part in parts_of(transformer) if f"{part.key}.up.weight" in keys]
    return [f"{module}.weight" for part in parts for module in part.modules]


def _transformer(model_id: str) -> FluxTransformer2DModel:
    return fullsize.transformer(_META, guidance_embeds="schnell" not in model_id.lower())


@cache
def _base(model_id: str, revision: str | None) -> Part:
    return _part(model_id, _transformer(model_id), [model_id, revision])


@cache
def _adapted(model_id: str, revision: str | None, adapter: Adapter | None) -> Part | None:
    if adapter is None:
        return None
    transformer = _transformer(model_id)
    names = adapted_weights(transformer)
    sizes, quantised = (tensor_bytes(transformer, eight_bit=eight_bit) for eight_bit in (False, True))
    return Part(
        name=f"{adapter.model_id} on {model_id}",
        digest=_digest([model_id, revision, adapter.model_id, adapter.revision, adapter.scale]),
        bf16_bytes=sum(sizes[name] for name in names),
        eight_bit_bytes=sum(quantised[name] for name in names),
        largest_layer_bytes=max(quantised[name] for name in names),
    )


def _part(name: str, model: nn.Module, identity: Any) -> Part:
    return Part(
        name=name,
        digest=_digest(identity),
        bf16_bytes=sum(tensor_bytes(model, eight_bit=False).values()),
        eight_bit_bytes=sum(tensor_bytes(model, eight_bit=True).values()),
        largest_layer_bytes=largest_layer_bytes(model),
    )


def _digest(identity: Any) -> str:
    """Identify content that is not here: by its repository and revision, or by its config."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
