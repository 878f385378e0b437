"""Weights that lie in the host's memory, and of which the device has a copy while it needs them.

Weights never change: to free the device its copy is dropped, and nothing is copied back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import torch
from torch import Tensor, nn

from inference.local.precision import layer_names
from inference.local.quantising import converted

_SLAB_BYTES: Final = 2**30
"""torch rounds each pinned allocation up to a power of two: FLUX.1's tensors would take 1.6 times as much."""

_ALIGNMENT: Final = 256  # Source: CUDA's programming guide, the alignment of its own allocations


class HostMemory:
    """Memory of the host that a CUDA device copies from by itself; ordinary memory if not `pinned`."""

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._slab = torch.empty(0, dtype=torch.uint8)
        self._used_bytes = 0

    def copy_of(self, tensor: Tensor) -> Tensor:
        """Return a copy of a plain tensor in this memory, which is freed with the last tensor of its slab."""
        begin = -(-self._used_bytes // _ALIGNMENT) * _ALIGNMENT
        if begin + tensor.nbytes > len(self._slab):
            size_bytes = max(_SLAB_BYTES, tensor.nbytes)
            self._slab, begin = torch.empty(size_bytes, dtype=torch.uint8, pin_memory=self._pinned), 0
        self._used_bytes = begin + tensor.nbytes
        return self._slab[begin : self._used_bytes].view(tensor.dtype).view(tensor.shape).copy_(tensor)


@dataclass
class _Held:
    """A tensor on the host, and the modules that use it, each with the tensor's name there."""

    tensor: Tensor
    users: list[tuple[nn.Module, str]] = field(default_factory=list)

    def give(self, tensor: Tensor) -> None:
        """Let the modules use this tensor."""
        for module, name in self.users:
            setattr(module, name, tensor)


class HostWeights:
    """The weights of modules on the host. A tensor that several modules share is held and copied once."""

    def __init__(self, memory: HostMemory) -> None:
        self._memory = memory
        self._held: dict[int, _Held] = {}  # by the tensor's id

    def add(self, model: nn.Module) -> None:
        """Hold the weights of a model, which lie on the host; move what is new into this memory."""
        fresh: dict[int, _Held] = {}
        for module in model.modules():
            tensors = chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))
            for name, tensor in tensors:
                held = self._held.get(id(tensor)) or fresh.setdefault(id(tensor), _Held(tensor))
                held.users.append((module, name))
        while fresh:  # one by one, so that the host has no weight but this one twice
            _, held = fresh.popitem()
            held.tensor = converted(held.tensor, self._memory.copy_of)
            held.give(held.tensor)
            self._held[id(held.tensor)] = held

    def discard(self, model: nn.Module) -> None:
        """Hold nothing for a model any more; what others share with it stays."""
        gone = set(model.modules())
        self._held = _used_by(self._held, lambda module: module not in gone)

    def part(self, layer: nn.Module) -> "HostWeights":
        """Return the weights of a layer alone, in the same memory."""
        own = set(layer.modules())
        part = HostWeights(self._memory)
        part._held = _used_by(self._held, own.__contains__)
        return part

    def copy_to(self, device: torch.device) -> None:
        """Let the models use copies on the device. The copying may still go on; the device waits for it."""
        for held in self._held.values():
            held.give(converted(held.tensor, lambda inner: inner.to(device, non_blocking=True, copy=True)))

    def drop_copies(self) -> None:
        """Let the models use the weights on the host again."""
        for held in self._held.values():
            held.give(held.tensor)


def stream(model: nn.Module, device: torch.device, memory: HostMemory) -> None:
    """Let each layer of a model have its weights on the device only while it runs.

    The copies of a layer are freed in the order of the device's own work, so that it holds two at most.
    """
    whole = HostWeights(memory)
    whole.add(model)
    for name in layer_names(model):
        layer = model.get_submodule(name)
        weights = whole.part(layer)
        layer.register_forward_pre_hook(_before(weights, device))
        layer.register_forward_hook(_after(weights), always_call=True)


def _before(weights: HostWeights, device: torch.device) -> Any:
    return lambda _module, _inputs: weights.copy_to(device)


def _after(weights: HostWeights) -> Any:
    return lambda _module, _inputs, _output: weights.drop_copies()


def _used_by(held: Mapping[int, _Held], uses: Callable[[nn.Module], bool]) -> dict[int, _Held]:
    """Return what some modules use, with these alone as its users."""
    users = {key: [user for user in each.users if uses(user[0])] for key, each in held.items()}
    return {key: _Held(held[key].tensor, left) for key, left in users.items() if left}
