"""A LoRA in the format of XLabs: checked key by key against its transformer, attached and switched.

diffusers loads a malformed LoRA without an error, and then applies it in part or not at all. So this module
passes only fitting LoRAs to diffusers, and counts the modules that diffusers attached.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file

from catalog.entries import Adapter
from inference.errors import AdapterMismatch
from inference.local.safetensors_header import HeaderRejected, TensorHeader, read_header

MAX_RANK: Final = 256  # the Realism LoRA has 16
DTYPES: Final = frozenset({"BF16", "F16", "F32"})

_KEY: Final = re.compile(
    r"(?:diffusion_model\.)?(?P<kind>double|single)_blocks\.(?P<block>0|[1-9]\d{0,3})\.processor\."
    r"(?P<part>\w+)\.(?P<half>down|up)\.weight"
)

# The modules of a block that a part adapts. A part with three modules has one `down` for all three, and one
# `up` that is split in three.
# Source: diffusers 0.42, loaders/lora_conversion_utils.py, _convert_xlabs_flux_lora_to_diffusers.
_TARGETS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("double", "qkv_lora1"): ("attn.to_q", "attn.to_k", "attn.to_v"),
    ("double", "qkv_lora2"): ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    ("double", "proj_lora1"): ("attn.to_out.0",),
    ("double", "proj_lora2"): ("attn.to_add_out",),
    ("single", "qkv_lora"): ("attn.to_q", "attn.to_k", "attn.to_v"),
    ("single", "proj_lora"): ("proj_out",),
}
_BLOCKS: Final = {"double": "transformer_blocks", "single": "single_transformer_blocks"}


@dataclass(frozen=True)
class Part:
    """A pair of `down` and `up` tensors in the file; hashable, to pair the two by it."""

    kind: str
    block: int
    name: str

    @property
    def key(self) -> str:
        """The prefix of this part's keys in the file."""
        return f"{self.kind}_blocks.{self.block}.processor.{self.name}"

    def modules(self) -> tuple[str, ...]:
        """Return the names of the transformer's modules that this part adapts; none for an unknown part."""
        block = f"{_BLOCKS[self.kind]}.{self.block}"
        return tuple(f"{block}.{module}" for module in _TARGETS.get((self.kind, self.name), ()))


def parts_of(transformer: FluxTransformer2DModel) -> list[Part]:
    """Return all parts that an adapter of this transformer may have."""
    return [
        Part(kind, block, name)
        for kind, name in _TARGETS
        for block in range(len(getattr(transformer, _BLOCKS[kind])))
    ]


@dataclass(frozen=True)
class CheckedAdapter:
    """A LoRA that fits: its tensors by the file's keys, and the number of modules that it adapts."""

    model_id: str
    tensors: Mapping[str, torch.Tensor]
    modules: int


def read_adapter(path: Path, model_id: str, transformer: FluxTransformer2DModel) -> CheckedAdapter:
    """Read a LoRA and check that all of it fits the transformer.

    Raises:
        AdapterMismatch: a key, shape, type or value does not fit, or the file is not a safetensors file.

    """
    try:
        header = read_header(path)
        modules = _check_header(header, transformer)
        tensors = load_file(path)
    except (HeaderRejected, SafetensorError) as error:
        raise AdapterMismatch(model_id, str(error)) from error
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterMismatch(model_id, f"{key} holds values that are not finite")
    if not any(bool(tensor.any()) for key, tensor in tensors.items() if key.endswith(".up.weight")):
        raise AdapterMismatch(model_id, "all its values are zero: it would have no effect")
    return CheckedAdapter(model_id, tensors, modules)


def _check_header(header: Mapping[str, TensorHeader], transformer: FluxTransformer2DModel) -> int:
    """Check keys, shapes and types; return the number of adapted modules."""
    unknown = [key for key in header if _part(key, transformer) is None]
    if unknown or not header:
        first = f", the first that does not is {_short(unknown[0])}" if unknown else ""
        raise HeaderRejected(
            f"{len(header) - len(unknown)} of its {len(header)} keys name a part of the transformer{first}"
        )
    pairs: dict[Part, dict[str, str]] = {}
    for key in header:
        part = _part(key, transformer)
        if part is not None:
            pairs.setdefault(part, {})[key.split(".")[-2]] = key
    unpaired = [key for pair in pairs.values() if len(pair) == 1 for key in pair.values()]
    if unpaired:
        raise HeaderRejected(f"{len(unpaired)} keys lack their partner, the first is {_short(unpaired[0])}")
    _check_blocks_equal(pairs)
    mismatched = [key for part, pair in pairs.items() for key in _mismatched(part, pair, header, transformer)]
    if mismatched:
        key = mismatched[0]
        raise HeaderRejected(
            f"{len(mismatched)} of its {len(header)} tensors have another shape or type than the transformer "
            f"needs, the first is {_short(key)} of {header[key].dtype} {list(header[key].shape)}"
        )
    return sum(len(part.modules()) for part in pairs)


def _part(key: str, transformer: FluxTransformer2DModel) -> Part | None:
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    part = Part(match["kind"], int(match["block"]), match["part"])
    blocks = getattr(transformer, _BLOCKS[part.kind])
    return part if part.modules() and part.block < len(blocks) else None


def _check_blocks_equal(parts: Iterable[Part]) -> None:
    """Check that all blocks of a kind have the same parts, since a block with fewer parts has lost some."""
    for kind in _BLOCKS:
        of_kind = [part for part in parts if part.kind == kind]
        names = {part.name for part in of_kind}
        for block, count in Counter(part.block for part in of_kind).items():
            if count < len(names):
                raise HeaderRejected(
                    f"{kind}_blocks.{block} has {count} of the {len(names)} parts that others have"
                )


def _mismatched(
    part: Part,
    pair: Mapping[str, str],
    header: Mapping[str, TensorHeader],
    transformer: FluxTransformer2DModel,
) -> Iterable[str]:
    """Yield each key of a pair whose tensor has a wrong shape or type."""
    down, up = header[pair["down"]], header[pair["up"]]
    linears = [_linear(transformer, name) for name in part.modules()]
    rank = down.shape[0] if down.shape else 0
    fits_rank = 1 <= rank <= MAX_RANK
    if not fits_rank or down.dtype not in DTYPES or down.shape != (rank, linears[0].in_features):
        yield pair["down"]
    if up.dtype not in DTYPES or up.shape != (sum(linear.out_features for linear in linears), rank):
        yield pair["up"]


def _linear(transformer: FluxTransformer2DModel, name: str) -> Any:
    """Return the linear layer of that name: the base layer, if adapters wrap it already."""
    module = transformer.get_submodule(name)
    return module.base_layer if isinstance(module, LoraLayer) else module


def _short(key: str) -> str:
    return repr(key[:100])  # a file from elsewhere may have a key as long as its whole header


class AdapterSwitch:
    """The adapters of one pipeline: each is attached once, then switched on at a scale, or off."""

    def __init__(self, pipeline: FluxPipeline) -> None:
        self._pipeline = pipeline
        self._names: dict[tuple[str, str | None, str], str] = {}

    def attached(self, adapter: Adapter) -> bool:
        """Whether the adapter's weights are attached to the pipeline, at any scale."""
        return _identity(adapter) in self._names

    def attach(self, adapter: Adapter, checked: CheckedAdapter) -> None:
        """Attach a checked adapter to the pipeline. If this raises, discard the pipeline.

        Raises:
            AdapterMismatch: diffusers did not attach the adapter to all its modules.

        """
        name = f"adapter_{len(self._names)}"
        self._pipeline.load_lora_weights(dict(checked.tensors), adapter_name=name)
        attached = _count_attached(self._pipeline.transformer, name)
        if attached != checked.modules:
            raise AdapterMismatch(
                adapter.model_id,
                f"{attached} of the {checked.modules} modules that it adapts have it attached",
            )
        self._names[_identity(adapter)] = name

    def switch(self, adapter: Adapter | None) -> None:
        """Enable this attached adapter at its scale, or None for the base model alone."""
        if adapter is not None:
            self._pipeline.enable_lora()
            self._pipeline.set_adapters([self._names[_identity(adapter)]], [adapter.scale])
        elif self._names:
            self._pipeline.disable_lora()


def _identity(adapter: Adapter) -> tuple[str, str | None, str]:
    return adapter.model_id, adapter.revision, adapter.weight_name


def _count_attached(transformer: FluxTransformer2DModel, name: str) -> int:
    return sum(isinstance(module, LoraLayer) and name in module.lora_A for module in transformer.modules())
