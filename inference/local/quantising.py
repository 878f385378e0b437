"""Quantises models to eight bits with torchao, by the rule that the plan counts with."""

from collections.abc import Callable, Container
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import transform_subclass

from inference.errors import DeviceUnfit
from inference.local.parts import Precision
from inference.local.precision import is_quantised


def quantise(
    model: nn.Module, precision: Precision, device: torch.device, only: Container[str] | None = None
) -> None:
    """Give a model's matrices a precision, or of these `only` those of the named modules.

    Each is quantised on the device and then lies where it was, so that the device holds one at a time.
    """
    if precision is Precision.BF16:
        return
    from torchao.quantization import quantize_  # noqa: PLC0415 - the extra `turbo`

    config = _config(precision)
    for name, module in list(model.named_modules()):
        if is_quantised(module, name) and (only is None or name in only):
            home = module.weight.device
            # The weight alone: the bias of a variant's module is the base's as well.
            module.weight = _moved(module.weight, device)
            quantize_(module, config)
            module.weight = _moved(module.weight, home)


def require_torchao(device: torch.device) -> None:
    """Check that torchao is installed.

    Raises:
        DeviceUnfit: it is not, in a sentence that names the extra.

    """
    if find_spec("torchao") is None:
        cause = "eight bits need torchao, which is missing: pip install 'avatar-creator[turbo]'"
        raise DeviceUnfit(str(device), cause)


def converted(tensor: torch.Tensor, convert: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return a tensor converted, or of a quantised one its values and scales; a parameter stays one.

    torchao's tensors ignore `copy` and `non_blocking` when they are moved whole.
    """
    data = tensor.detach()
    if hasattr(data, "__tensor_flatten__"):  # torch's protocol of a tensor that wraps others
        result = transform_subclass(data, lambda _, inner: convert(inner))  # type: ignore[no-untyped-call]
    else:
        result = convert(data)
    return nn.Parameter(result, requires_grad=False) if isinstance(tensor, nn.Parameter) else result


def _moved(weight: torch.Tensor, device: torch.device) -> torch.Tensor:
    return converted(weight, lambda inner: inner.to(device))


def _config(precision: Precision) -> Any:
    """Return torchao's config: fp8 with a scale for each row of weights and activations, or int8 weights."""
    from torchao.quantization import (  # noqa: PLC0415 - the extra `turbo`
        Float8DynamicActivationFloat8WeightConfig,
        Int8WeightOnlyConfig,
        PerRow,
    )

    if precision is Precision.FP8:
        return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    return Int8WeightOnlyConfig()
