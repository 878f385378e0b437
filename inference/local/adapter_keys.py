"""The keys of a LoRA's file in three formats: XLabs', kohya's (sd-scripts), and that of diffusers and peft.

A key names one tensor of a part: `down` (rank, in) and `up` (out, rank) of the product that is added to the
weights, and `alpha`, a number that scales it by alpha / rank.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from diffusers import FluxTransformer2DModel
from torch import nn

# The modules of a block that a part adapts. A part with several modules has one `down` for all of them, and
# one `up` that is split between them.
# Source: diffusers 0.42, loaders/lora_conversion_utils.py, _convert_xlabs_flux_lora_to_diffusers.
_XLABS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("double", "qkv_lora1"): ("attn.to_q", "attn.to_k", "attn.to_v"),
    ("double", "qkv_lora2"): ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    ("double", "proj_lora1"): ("attn.to_out.0",),
    ("double", "proj_lora2"): ("attn.to_add_out",),
    ("single", "qkv_lora"): ("attn.to_q", "attn.to_k", "attn.to_v"),
    ("single", "proj_lora"): ("proj_out",),
}

# Source: the same file, _convert_kohya_flux_lora_to_diffusers.
_KOHYA: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("double", "img_attn_qkv"): ("attn.to_q", "attn.to_k", "attn.to_v"),
    ("double", "img_attn_proj"): ("attn.to_out.0",),
    ("double", "img_mlp_0"): ("ff.net.0.proj",),
    ("double", "img_mlp_2"): ("ff.net.2",),
    ("double", "img_mod_lin"): ("norm1.linear",),
    ("double", "txt_attn_qkv"): ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    ("double", "txt_attn_proj"): ("attn.to_add_out",),
    ("double", "txt_mlp_0"): ("ff_context.net.0.proj",),
    ("double", "txt_mlp_2"): ("ff_context.net.2",),
    ("double", "txt_mod_lin"): ("norm1_context.linear",),
    ("single", "linear1"): ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    ("single", "linear2"): ("proj_out",),
    ("single", "modulation_lin"): ("norm.linear",),
}

BLOCKS: Final = {"double": "transformer_blocks", "single": "single_transformer_blocks"}
_KINDS: Final = {blocks: kind for kind, blocks in BLOCKS.items()}

_NUMBER: Final = r"(?P<block>0|[1-9]\d{0,3})"
_XLABS_KEY: Final = re.compile(
    rf"(?P<prefix>(?:diffusion_model\.)?(?P<kind>double|single)_blocks\.{_NUMBER}\.processor\.(?P<part>\w+))"
    r"\.(?P<role>down|up)\.weight"
)
_KOHYA_KEY: Final = re.compile(
    rf"(?P<prefix>lora_unet_(?P<kind>double|single)_blocks_{_NUMBER}_(?P<part>\w+))"
    r"\.(?P<role>lora_down\.weight|lora_up\.weight|alpha)"
)
_DIFFUSERS_KEY: Final = re.compile(
    rf"(?P<prefix>transformer\.(?:(?P<kind>transformer_blocks|single_transformer_blocks)\.{_NUMBER}\.)?"
    r"(?P<part>[\w.]+))\.(?P<role>lora_A\.weight|lora_B\.weight|alpha)"
)
_ROLES: Final = {
    "down": "down",
    "lora_down.weight": "down",
    "lora_A.weight": "down",
    "up": "up",
    "lora_up.weight": "up",
    "lora_B.weight": "up",
    "alpha": "alpha",
}


@dataclass(frozen=True)
class Part:
    """The tensors of a file that belong together; hashable, to collect them by it.

    key: the prefix of their keys. modules: the transformer's modules that they adapt.
    kind: `double` or `single`, with the number of the block; `outside` for modules of no block.
    """

    key: str
    kind: str
    block: int
    name: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class TensorKey:
    """The part that a key belongs to, and the tensor's role in it: `down`, `up` or `alpha`."""

    part: Part
    role: str


def read_keys(keys: Iterable[str], transformer: FluxTransformer2DModel) -> dict[str, TensorKey | None]:
    """Read all keys of a file in the format that most of them have; None for a key of no part."""
    keys = list(keys)
    readings = [{key: read(key, transformer) for key in keys} for read in (_xlabs, _kohya, _diffusers)]
    return max(readings, key=lambda reading: sum(part is not None for part in reading.values()))


def parts_of(transformer: FluxTransformer2DModel) -> list[Part]:
    """Return all parts that an adapter of this transformer may have in XLabs' format."""
    return [
        Part(f"{kind}_blocks.{block}.processor.{name}", kind, block, name, _in_block(kind, block, modules))
        for (kind, name), modules in _XLABS.items()
        for block in range(len(getattr(transformer, BLOCKS[kind])))
    ]


def _xlabs(key: str, transformer: FluxTransformer2DModel) -> TensorKey | None:
    return _in_table(_XLABS_KEY.fullmatch(key), _XLABS, transformer)


def _kohya(key: str, transformer: FluxTransformer2DModel) -> TensorKey | None:
    return _in_table(_KOHYA_KEY.fullmatch(key), _KOHYA, transformer)


def _in_table(
    match: re.Match[str] | None,
    table: Mapping[tuple[str, str], tuple[str, ...]],
    transformer: FluxTransformer2DModel,
) -> TensorKey | None:
    if match is None:
        return None
    kind, block, name = match["kind"], int(match["block"]), match["part"]
    modules = table.get((kind, name))
    if modules is None or block >= len(getattr(transformer, BLOCKS[kind])):
        return None
    part = Part(match["prefix"], kind, block, name, _in_block(kind, block, modules))
    return TensorKey(part, _ROLES[match["role"]])


def _diffusers(key: str, transformer: FluxTransformer2DModel) -> TensorKey | None:
    match = _DIFFUSERS_KEY.fullmatch(key)
    if match is None:
        return None
    module = match["prefix"].removeprefix("transformer.")
    try:
        adapted = transformer.get_submodule(module)
    except AttributeError:
        return None
    if not isinstance(adapted, nn.Linear):
        return None
    kind = _KINDS.get(match["kind"], "outside")
    part = Part(match["prefix"], kind, int(match["block"] or 0), match["part"], (module,))
    return TensorKey(part, _ROLES[match["role"]])


def _in_block(kind: str, block: int, modules: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{BLOCKS[kind]}.{block}.{module}" for module in modules)
