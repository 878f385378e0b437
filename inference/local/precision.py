"""Which weights have eight bits when a model is quantised, and how many bytes it takes then.

The plan counts by this rule, and a model is to be quantised by it: `is_quantised` has the signature of the
filter that torchao's `quantize_` takes.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

BLOCKS: Final = ("transformer_blocks.", "single_transformer_blocks.", "encoder.block.")
"""The prefixes of the blocks of FLUX.1's transformer and of T5.

All else stays in bf16: the layers at both ends, half a percent of the transformer's weights, on which an
image depends most; T5's embeddings; CLIP and the VAE, which are small.
"""

_MULTIPLE: Final = 16  # Source: torch._scaled_mm, whose operands have sides that are multiples of 16
_SCALE_BYTES: Final = 4  # a float32 for each row of a matrix


def is_quantised(module: nn.Module, name: str) -> bool:
    """Whether a module of that name has an eight-bit weight when its model is quantised."""
    if not isinstance(module, nn.Linear) or not name.startswith(BLOCKS):
        return False
    return module.in_features % _MULTIPLE == 0 and module.out_features % _MULTIPLE == 0


def tensor_bytes(model: nn.Module, *, eight_bit: bool) -> Mapping[str, int]:
    """Return the bytes of each of a model's tensors, by its name.

    eight_bit: as if the model were quantised. A tensor that several names share has only the first of them.
    """
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: _bytes(tensor, eight_bit and _is_quantised_weight(model, name)) for name, tensor in tensors}


def layer_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a model's layers, which have all of its tensors: blocks, and what is in none."""
    tensors = [
        *model.named_parameters(remove_duplicate=False),  # two layers may share a weight
        *model.named_buffers(remove_duplicate=False),
    ]
    return tuple(dict.fromkeys(_layer(name) for name, _ in tensors))


def largest_layer_bytes(model: nn.Module) -> int:
    """Return the bytes of the largest layer of a quantised model: a block, or a module that is in none."""
    layers: dict[str, int] = {}
    for name, count in tensor_bytes(model, eight_bit=True).items():
        layers[_layer(name)] = layers.get(_layer(name), 0) + count
    return max(layers.values())


def _layer(name: str) -> str:
    block = next((prefix for prefix in BLOCKS if name.startswith(prefix)), None)
    return name.rpartition(".")[0] if block is None else block + name.removeprefix(block).partition(".")[0]


def _is_quantised_weight(model: nn.Module, name: str) -> bool:
    module, _, tensor = name.rpartition(".")
    return tensor == "weight" and is_quantised(model.get_submodule(module), module)


def _bytes(tensor: Tensor, quantised: bool) -> int:
    if quantised:  # a matrix (rows, columns) of a byte a value
        return tensor.numel() + tensor.shape[0] * _SCALE_BYTES
    return tensor.numel() * tensor.element_size()
