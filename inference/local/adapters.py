"""Reads a LoRA, and checks key by key that all of it fits its transformer.

diffusers loads a malformed LoRA without an error, and then applies it in part or not at all. So this module
passes only fitting LoRAs to its converters, and compares what they return with what the file adapts.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from inference.errors import AdapterMismatch
from inference.local.adapter_keys import Part, read_keys
from inference.local.safetensors_header import HeaderRejected, TensorHeader, read_header

MAX_RANK: Final = 256  # the Realism LoRA has 16
DTYPES: Final = frozenset({"BF16", "F16", "F32"})

# Source: diffusers 0.42, loaders/lora_base.py; peft's config as JSON.
_CONFIG: Final = "lora_adapter_metadata"
_OTHER_SUMS: Final = ("use_dora", "use_rslora", "lora_bias", "alpha_pattern")
"""What a config may ask for that adds something else to the weights than scale * B A with one scale."""

_CONVERTED: Final = re.compile(r"transformer\.(?P<module>.+)\.lora_(?P<half>[AB])\.weight")


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to a weight (out, in) at scale 1: scale * up @ down.

    down: (rank, in), also called A. up: (out, rank), also called B. Both in float32.
    """

    down: torch.Tensor
    up: torch.Tensor
    scale: float


@dataclass(frozen=True)
class CheckedAdapter:
    """A LoRA that fits: what it adds to each module, by the modules' names in the transformer."""

    model_id: str
    modules: Mapping[str, LowRank]


def read_adapter(path: Path, model_id: str, transformer: FluxTransformer2DModel) -> CheckedAdapter:
    """Read a LoRA and check that all of it fits the transformer.

    Raises:
        AdapterMismatch: a key, shape, type or value does not fit, or the file is not a safetensors file.

    """
    try:
        parts = _check_header(read_header(path), transformer)
        tensors = load_file(path)
        _check_values(tensors)
        modules = _convert(tensors, _config(path))
    except (HeaderRejected, SafetensorError) as error:
        raise AdapterMismatch(model_id, str(error)) from error
    expected = {module for part in parts for module in part.modules}
    if modules.keys() != expected:
        converted = len(modules.keys() & expected)
        raise AdapterMismatch(
            model_id, f"diffusers converts {converted} of the {len(expected)} modules that it adapts"
        )
    if not any(bool(low_rank.up.any()) for low_rank in modules.values()):
        raise AdapterMismatch(model_id, "all its values are zero: it would have no effect")
    return CheckedAdapter(model_id, modules)


def _check_header(header: Mapping[str, TensorHeader], transformer: FluxTransformer2DModel) -> Iterable[Part]:
    """Check keys, shapes and types; return the parts."""
    keys = read_keys(header, transformer)
    unknown = [key for key, read in keys.items() if read is None]
    if unknown or not header:
        first = f", the first that does not is {_short(unknown[0])}" if unknown else ""
        raise HeaderRejected(
            f"{len(header) - len(unknown)} of its {len(header)} keys name a part of the transformer{first}"
        )
    parts: dict[Part, dict[str, str]] = {}
    for key, read in keys.items():
        if read is not None:
            parts.setdefault(read.part, {})[read.role] = key
    unpaired = [key for part in parts.values() if not {"down", "up"} <= part.keys() for key in part.values()]
    if unpaired:
        raise HeaderRejected(f"{len(unpaired)} keys lack their partner, the first is {_short(unpaired[0])}")
    _check_adapted_once(parts)
    _check_blocks_equal(parts)
    mismatched = [
        key for part, of_part in parts.items() for key in _mismatched(part, of_part, header, transformer)
    ]
    if mismatched:
        key = mismatched[0]
        raise HeaderRejected(
            f"{len(mismatched)} of its {len(header)} tensors have another shape or type than the transformer "
            f"needs, the first is {_short(key)} of {header[key].dtype} {list(header[key].shape)}"
        )
    return parts.keys()


def _check_adapted_once(parts: Iterable[Part]) -> None:
    """Check that no two parts adapt one module, since a converter would drop one of them."""
    counts = Counter(module for part in parts for module in part.modules)
    twice = [module for module, count in counts.items() if count > 1]
    if twice:
        raise HeaderRejected(f"it adapts {len(twice)} modules twice, the first is {twice[0]}")


def _check_blocks_equal(parts: Iterable[Part]) -> None:
    """Check that all blocks of a kind have the same parts, since a block with fewer parts has lost some."""
    for kind in ("double", "single"):
        of_kind = [part for part in parts if part.kind == kind]
        names = {part.name for part in of_kind}
        for block, count in Counter(part.block for part in of_kind).items():
            if count < len(names):
                raise HeaderRejected(
                    f"{kind}_blocks.{block} has {count} of the {len(names)} parts that others have"
                )


def _mismatched(
    part: Part,
    keys: Mapping[str, str],
    header: Mapping[str, TensorHeader],
    transformer: FluxTransformer2DModel,
) -> Iterable[str]:
    """Yield each key of a part whose tensor has a wrong shape or type. keys: by role."""
    down, up = header[keys["down"]], header[keys["up"]]
    linears = [transformer.get_submodule(name) for name in part.modules]
    rank = down.shape[0] if down.shape else 0
    fits_rank = 1 <= rank <= MAX_RANK
    if not fits_rank or down.dtype not in DTYPES or down.shape != (rank, linears[0].in_features):
        yield keys["down"]
    if up.dtype not in DTYPES or up.shape != (sum(linear.out_features for linear in linears), rank):
        yield keys["up"]
    if "alpha" in keys and (header[keys["alpha"]].dtype not in DTYPES or header[keys["alpha"]].shape != ()):
        yield keys["alpha"]


def _check_values(tensors: Mapping[str, torch.Tensor]) -> None:
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise HeaderRejected(f"{key} holds values that are not finite")
        # From an alpha below 0 diffusers' converter never returns.
        if key.endswith(".alpha") and not float(tensor) > 0:
            raise HeaderRejected(f"{key} is not positive")


def _config(path: Path) -> Mapping[str, Any]:
    """Return peft's config of the adapter, which diffusers saves in the file; empty if there is none."""
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_CONFIG, "{}")
    try:
        config = json.loads(text)
    except ValueError as error:
        raise HeaderRejected("its config is not JSON") from error
    if not isinstance(config, dict):
        raise HeaderRejected("its config is not an object")
    return {
        name.removeprefix("transformer."): value
        for name, value in config.items()
        if name.startswith("transformer.")
    }


def _convert(tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, LowRank]:
    """Return what the tensors add to each module, from any format that diffusers reads."""
    whole = {key: tensor.float() for key, tensor in tensors.items()}
    try:
        state, alphas = FluxPipeline.lora_state_dict(whole, return_alphas=True)
    except (AssertionError, ValueError) as error:
        raise HeaderRejected(f"diffusers cannot convert it: {error}") from error
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in state.items():
        match = _CONVERTED.fullmatch(key)
        if match is None:
            raise HeaderRejected(f"diffusers converts a key of it to {_short(key)}")
        halves.setdefault(match["module"], {})[match["half"]] = tensor
    return {
        module: LowRank(half["A"], half["B"], _scale(module, len(half["A"]), alphas or {}, config))
        for module, half in halves.items()
    }


def _scale(module: str, rank: int, alphas: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> float:
    """Return alpha / rank: alpha is beside the tensors or in the config, else it is the rank."""
    other = [name for name in _OTHER_SUMS if config.get(name)]
    if other:
        raise HeaderRejected(f"its config asks for {', '.join(other)}")
    if config and alphas:
        raise HeaderRejected("it has an alpha both beside its tensors and in its config")
    alpha = alphas.get(f"transformer.{module}.alpha", config.get("lora_alpha", rank))
    try:
        scale = float(alpha) / rank
    except (TypeError, ValueError, OverflowError):
        scale = math.nan
    if not math.isfinite(scale):
        raise HeaderRejected("the alpha in its config is not a finite number")
    return scale


def _short(key: str) -> str:
    return repr(key[:100])  # a file from elsewhere may have a key as long as its whole header
