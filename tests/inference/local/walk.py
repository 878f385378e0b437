"""Watches every operator of a walk on the meta device, as a GPU would run it.

A walk computes no values. What the host reads is made up: a scalar is one, an image is black.
"""

from contextlib import ExitStack
from typing import Any, Self

import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inference.local.activations import FusedAttention, PeakMemory

aten = torch.ops.aten
PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.convolution.default}
IN_FLOAT32 = {"Timesteps", "FluxPosEmbed"}
"""The modules that return float32: the embeddings of time and position, which are cast or applied in it."""


class Walk(TorchDispatchMode):
    """Collects what would be wrong on a GPU, and what the host reads from it.

    wrong: sentences. read_scalars, read_tensors: dtypes and shapes that were read.
    """

    def __init__(self, largest_on_host: int) -> None:
        """Allow floats of up to so many elements on the host: noise, positions and the schedule."""
        super().__init__()
        self._largest_on_host = largest_on_host
        self._others = ExitStack()
        self.wrong: list[str] = []
        self.read_scalars: list[torch.dtype] = []
        self.read_tensors: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def __enter__(self) -> Self:
        hook = register_module_forward_hook(self._check_module)
        self._others.callback(hook.remove)
        self._others.enter_context(_Attention(self))
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._others.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = _tensors((args, kwargs))
        if func is aten._local_scalar_dense.default and inputs[0].is_meta:
            self.read_scalars.append(inputs[0].dtype)
            return True if inputs[0].dtype is torch.bool else 1.0
        to_host = func is aten._to_copy.default and str(kwargs.get("device")) == "cpu"
        if to_host and inputs[0].is_meta:
            self.read_tensors.append((inputs[0].dtype, tuple(inputs[0].shape)))
            return torch.zeros(inputs[0].shape, dtype=kwargs.get("dtype") or inputs[0].dtype)
        result = func(*args, **kwargs)
        self._check(func, inputs, _tensors(result))
        return result

    def _check(self, func: Any, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        on_host = [tensor for tensor in (*inputs, *outputs) if not tensor.is_meta and tensor.dim()]
        on_device = [tensor for tensor in (*inputs, *outputs) if tensor.is_meta]
        if on_host and on_device and func is not aten._to_copy.default:
            self.wrong.append(f"{func} mixes the host and the device")
        if func in PRODUCTS and on_host:
            self.wrong.append(f"{func} runs on the host")
        if any(tensor.is_floating_point() and tensor.numel() > self._largest_on_host for tensor in on_host):
            self.wrong.append(f"{func} has a large tensor on the host")
        if func in PRODUCTS:
            self.check_dtypes(func, inputs)

    def check_dtypes(self, where: object, tensors: list[torch.Tensor]) -> None:
        """Note tensors of another number format than bfloat16."""
        formats = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
        if formats - {torch.bfloat16}:
            self.wrong.append(f"{where} has {sorted(map(str, formats))}")

    def _check_module(self, module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        del inputs
        name = type(module).__name__
        if name not in IN_FLOAT32:
            self.check_dtypes(name, _tensors(outputs))


class DevicePeak(PeakMemory):
    """The most that lies on the meta device, as a card's memory would be filled."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Module())

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage.device.type == "meta":
            super()._count(storage)


class _Attention(FusedAttention):
    """Fused attention, whose queries, keys and values are checked."""

    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self._walk = walk

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            self._walk.check_dtypes(func.__name__, _tensors((args, kwargs)))
        return super().__torch_function__(func, types, args, kwargs)


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
