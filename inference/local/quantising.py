"""Quantises the matrices of a transformer's blocks to eight bits, with torchao."""

from collections.abc import Collection
from typing import Any, Final

import torch
from torch import nn

from inference.errors import DeviceUnfit
from inference.local.precision import is_quantised

FP8_CAPABILITY: Final = (8, 9)  # Ada; Source: torch._scaled_mm


def require_torchao(device: torch.device) -> None:
    """Check that torchao is installed.

    Raises:
        DeviceUnfit: it is not, in a sentence that names the extra.

    """
    try:
        import torchao.quantization  # noqa: F401, PLC0415  # takes a second, and only some profiles need it
    except ImportError as error:
        cause = "DRAW_PROFILE turbo and draft need torchao: pip install 'avatar-creator[turbo]'"
        raise DeviceUnfit(str(device), cause) from error


def quantise(model: nn.Module, device: torch.device, names: Collection[str] | None = None) -> None:
    """Quantise the matrices of a model's blocks.

    names: of the only modules to quantise, which are on the device; None for all. Then each is moved there
    just before, so that a model fits which would not fit unquantised.
    """
    from torchao.quantization import quantize_  # noqa: PLC0415  # see above

    def chosen(module: nn.Module, name: str) -> bool:
        return is_quantised(module, name) and (names is None or name in names)

    quantize_(model, _format(device), chosen, device if names is None else None)


def _format(device: torch.device) -> Any:
    """Return torchao's config: fp8 per row with products in fp8, or where there are none, int8 weights."""
    from torchao.quantization import (  # noqa: PLC0415  # see above
        Float8DynamicActivationFloat8WeightConfig,
        Int8WeightOnlyConfig,
        PerRow,
    )

    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP8_CAPABILITY:
        return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    return Int8WeightOnlyConfig()
