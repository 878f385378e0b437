"""The plain tensors that a tensor consists of: itself, or for a quantised one its values and scales.

torchao's tensors ignore `copy` and `non_blocking` when they are moved whole.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.utils._python_dispatch import transform_subclass


def converted(tensor: Tensor, convert: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the tensor with all that it consists of converted; a parameter stays one."""
    data = tensor.detach()
    if hasattr(data, "__tensor_flatten__"):  # torch's protocol of a tensor that wraps others
        result = transform_subclass(data, lambda _, inner: convert(inner))  # type: ignore[no-untyped-call]
    else:
        result = convert(data)
    return nn.Parameter(result, requires_grad=False) if isinstance(tensor, nn.Parameter) else result
