"""Plans for the miniature on a card that is as small as a test needs it."""

import math
from dataclasses import replace

import torch
from diffusers import FluxPipeline

from catalog.entries import shipped_entries
from inference.local.adapters import read_adapter
from inference.local.cards import CONTEXT_BYTES, UNUSABLE_SHARE, Card, Host
from inference.local.parts import Activations, Line, Needs, Part
from inference.local.plan import make_plan
from inference.local.precision import largest_layer_bytes, tensor_bytes
from inference.weights.locations import ADAPTER_FILE, DEV, SCHNELL

BASE, REALISM, _, FAST = shipped_entries()
ENTRIES = (BASE, REALISM, FAST)
NOTHING = Activations(0, Line(0, 0), Line(0, 0))


def count_needs(miniature):
    """Count the parts of three entries in float32, as `inference.local.footprint` counts FLUX.1's."""
    dev, schnell = (
        FluxPipeline.from_pretrained(miniature / name, dtype=torch.float32) for name in (DEV, SCHNELL)
    )
    adapted = read_adapter(miniature / ADAPTER_FILE, "a/lora", dev.transformer).modules
    parts = {
        "t5": _part("T5", dev.text_encoder_2),
        "clip": _part("CLIP", dev.text_encoder),
        "vae": _part("VAE", dev.vae),
    }
    base, fast = _part("dev", dev.transformer), _part("schnell", schnell.transformer)
    variant = _part("variant", dev.transformer, {f"{module}.weight" for module in adapted})
    return tuple(
        Needs(entry, fast if entry is FAST else base, variant if entry is REALISM else None, **parts)
        for entry in ENTRIES
    )


def plan_of(needs, usable_bytes, *, eight_bit=True):
    """Plan for a card of which so many bytes can be used; it knows int8 and no fp8.

    Without `eight_bit` nothing is quantised, whatever the plan's arrangement says of that.
    """
    if not eight_bit:
        needs = [_in_16_bits(need) for need in needs]
    memory_bytes = math.ceil((usable_bytes + CONTEXT_BYTES) / (1 - UNUSABLE_SHARE))
    plan = make_plan(Card("Small", memory_bytes, (8, 0), 25e9), Host(64_000_000_000), needs, NOTHING)
    if eight_bit:
        return plan
    return replace(plan, arrangement=replace(plan.arrangement, eight_bit=False, eight_bit_t5=False))


def _part(name, model, tensors=None):
    sizes, quantised = (tensor_bytes(model, eight_bit=eight_bit) for eight_bit in (False, True))
    counted = tensors or sizes.keys()
    return Part(
        name,
        digest=name,
        bf16_bytes=sum(sizes[tensor] for tensor in counted),
        eight_bit_bytes=sum(quantised[tensor] for tensor in counted),
        largest_layer_bytes=largest_layer_bytes(model),
    )


def _in_16_bits(need):
    parts = ("transformer", "adapted", "t5", "clip", "vae")
    whole = {
        name: part and replace(part, eight_bit_bytes=part.bf16_bytes)
        for name in parts
        for part in [getattr(need, name)]
    }
    return replace(need, **whole)
