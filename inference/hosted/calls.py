"""Translates an order into each provider's own fields, and computes its cost."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from catalog.entries import Adapter
from catalog.orders import Order

MICROUSD: Final = 1_000_000
"""Micro-dollars in a dollar; costs are whole micro-dollars, so that sums are exact."""

_MEGAPIXEL: Final = 1_000_000
_REPLICATE_SIDES_PX: Final = {"0.25": 512, "1": 1024}
"""The side of a square image for each value of `megapixels`. Source: its flux-dev and flux-schnell models."""

_TABLE: Final = tomllib.loads(files("inference.hosted").joinpath("providers.toml").read_text("utf-8"))


class OrderUnsupported(Exception):  # not an InferenceError: another provider may support the order
    """A provider cannot draw this order unchanged."""

    def __init__(self, provider: str, cause: str) -> None:
        super().__init__(f"{provider} {cause}")
        self.provider = provider
        self.cause = cause


@dataclass(frozen=True)
class Call:
    """One call of `InferenceClient.text_to_image`, with the expected image size and the cost.

    drawn_px: width and height of the provider's image. It may exceed the order's size, and is then reduced.
    """

    provider: str
    endpoint: str
    repository: str
    adapter: Adapter | None
    arguments: Mapping[str, Any]
    drawn_px: tuple[int, int]
    cost_microusd: int


def call_for(provider: str, order: Order) -> Call:
    """Return the call that draws an order at a provider.

    Raises:
        OrderUnsupported: the provider lacks the model, or cannot apply the adapter or draw the size.

    """
    model = _TABLE[provider].get(order.model_id)
    if model is None:
        raise OrderUnsupported(provider, f"is not known to have {order.model_id}")
    if order.adapter is not None:
        if "adapter" not in model:
            raise OrderUnsupported(provider, "cannot apply a LoRA")
        model = model["adapter"]
    drawn_px, arguments = _ARGUMENTS[provider](order)
    return Call(
        provider=provider,
        endpoint=model["endpoint"],
        repository=order.adapter.model_id if order.adapter else order.model_id,
        adapter=order.adapter,
        arguments={"num_inference_steps": order.steps, "seed": order.seed, **arguments},
        drawn_px=drawn_px,
        cost_microusd=_cost_microusd(model, drawn_px),
    )


def _cost_microusd(model: Mapping[str, Any], drawn_px: tuple[int, int]) -> int:
    usd: float = model.get("usd_per_image", 0)
    if not usd:
        usd = model["usd_per_megapixel"] * math.ceil(math.prod(drawn_px) / _MEGAPIXEL)
    return round(MICROUSD * usd)


Arguments = tuple[tuple[int, int], dict[str, Any]]


def _fal(order: Order) -> Arguments:
    size_px = (order.width_px, order.height_px)
    arguments: dict[str, Any] = {
        "width": order.width_px,
        "height": order.height_px,
        "extra_body": {"num_images": 1, "output_format": "png"},
    }
    if order.guidance_scale:  # fal-ai accepts 1 to 20; schnell has no guidance and a scale of 0
        arguments["guidance_scale"] = order.guidance_scale
    if order.adapter is not None:
        revision = order.adapter.revision or "main"
        path = (
            f"https://huggingface.co/{order.adapter.model_id}/resolve/{revision}/{order.adapter.weight_name}"
        )
        arguments["extra_body"]["loras"] = [{"path": path, "scale": order.adapter.scale}]
    return size_px, arguments


def _replicate(order: Order) -> Arguments:
    """Replicate's models have no width and height, but an aspect ratio and 0.25 or 1 megapixel."""
    if order.width_px != order.height_px:
        raise OrderUnsupported("replicate", "draws square images only")
    fitting = [(name, side) for name, side in _REPLICATE_SIDES_PX.items() if side >= order.width_px]
    if not fitting:
        raise OrderUnsupported("replicate", f"does not draw {order.width_px} px")
    megapixels, side_px = fitting[0]
    fields: dict[str, Any] = {
        "aspect_ratio": "1:1",
        "megapixels": megapixels,
        "num_outputs": 1,
        "output_format": "png",
        "go_fast": False,  # the fast mode computes in 8 bits
    }
    if order.guidance_scale:
        fields["guidance"] = order.guidance_scale
    if order.adapter is not None:
        fields["lora_scale"] = order.adapter.scale
    return (side_px, side_px), {"extra_body": fields}


def _hf_inference(order: Order) -> Arguments:
    arguments = {
        "width": order.width_px,
        "height": order.height_px,
        "guidance_scale": order.guidance_scale,
    }
    return (order.width_px, order.height_px), arguments


_ARGUMENTS: Final[Mapping[str, Callable[[Order], Arguments]]] = {
    "fal-ai": _fal,
    "replicate": _replicate,
    "hf-inference": _hf_inference,
}

PROVIDERS: Final = tuple(_ARGUMENTS)
"""The supported providers, by their names in the setting."""
