"""Where the models of pipelines lie on one device: as planned for its card, or as OFFLOAD says."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import nn

from catalog.entries import Entry
from inference.errors import DeviceUnfit
from inference.local import devices
from inference.local.activations import measure_activations
from inference.local.adapters import CheckedAdapter
from inference.local.arrangements import ModelKey, key_of
from inference.local.devices import Offload
from inference.local.footprint import count_needs
from inference.local.host_weights import HostMemory, HostWeights, stream
from inference.local.parts import Place, Precision
from inference.local.plan import CardTooSmall, Plan, make_plan
from inference.local.quantising import quantise, require_torchao
from inference.local.shared_parts import SharedParts
from inference.local.this_machine import card_of, host_of
from inference.local.variants import fuse, variant_of

_T5: Final = "text_encoder_2"
HOOKED: Final = (Offload.MODEL, Offload.SEQUENTIAL)
"""What accelerate's hooks offload."""

ReadWeights = Callable[[Iterable[str]], Mapping[str, torch.Tensor]]
"""Returns the weights of a transformer's modules as they were before it was quantised."""


class Placer(Protocol):
    """Puts the transformers of one pipeline on the device, and takes them off."""

    def place(self, pipeline: FluxPipeline, transformer: FluxTransformer2DModel) -> None:
        """Let a pipeline draw with a transformer: the base, or a variant."""
        ...

    def leave(self, pipeline: FluxPipeline) -> None:
        """Free what the device can have again. A variant can be made then."""
        ...

    def variant(
        self, base: FluxTransformer2DModel, adapter: CheckedAdapter, scale: float
    ) -> FluxTransformer2DModel:
        """Make a variant, after `leave`."""
        ...

    def forget(self, variant: FluxTransformer2DModel) -> None:
        """Hold nothing for a variant any more."""
        ...


class Placement(Protocol):
    """What all pipelines of a device have in common.

    limit_bytes: what base models may take of the device together; infinite if only exhaustion limits them.
    parts: what pipelines share; None if each has its own.
    """

    limit_bytes: float
    parts: SharedParts | None

    def model_bytes(self, key: ModelKey) -> int:
        """Return what a base model takes of the device, with its variants."""
        ...

    def waits(self, key: ModelKey) -> bool:
        """Whether a base model stays in the host's memory while another has its place."""
        ...

    def placer(self, key: ModelKey, base: FluxTransformer2DModel, read: ReadWeights) -> Placer:
        """Prepare a base model that lies in the host's memory."""
        ...


class Planned:
    """Follows a plan."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.limit_bytes: float = plan.models_limit_bytes
        self.parts: SharedParts | None = SharedParts(self._place_part)
        self._device = device
        self._plan = plan
        self._precision, self._t5_precision = plan.precisions
        self._models = {key_of(planned.entry): planned for planned in plan.entries}
        self._pinned = HostMemory(pinned=device.type == "cuda")

    def model_bytes(self, key: ModelKey) -> int:
        """Return the planned bytes; for a model that came into the catalogue later, those of the largest."""
        planned = self._models.get(key)
        return planned.model_bytes if planned else max(each.model_bytes for each in self._models.values())

    def waits(self, key: ModelKey) -> bool:
        """Whether the plan has it in pinned memory."""
        return key in self._models and self._models[key].reloaded_from is Place.PINNED

    def placer(self, key: ModelKey, base: FluxTransformer2DModel, read: ReadWeights) -> Placer:
        """Quantise a base model; if it will wait on the host, pin it."""
        making = VariantMaking(self._precision, self._device, read)
        making.quantise(base)
        return _PlannedPlacer(base, self._device, self._pinned if self.waits(key) else None, making)

    def _place_part(self, name: str, part: nn.Module) -> None:
        if name == _T5:
            quantise(part, self._t5_precision, self._device)
        if name == _T5 and self._plan.arrangement.streamed:
            # Without room to pin it the host keeps it nevertheless: from the disk it would be quantised anew
            # for each prompt.
            pinned = any(each.streamed and each.place is Place.PINNED for each in self._plan.parts)
            stream(part, self._device, self._pinned if pinned else HostMemory(pinned=False))
        else:
            part.to(self._device)


class _PlannedPlacer:
    def __init__(
        self,
        base: FluxTransformer2DModel,
        device: torch.device,
        memory: HostMemory | None,
        making: "VariantMaking",
    ) -> None:
        self._device = device
        self._making = making
        self._waiting = HostWeights(memory) if memory else None
        self._on_device = False  # the base and its variants together
        if self._waiting:
            self._waiting.add(base)

    def place(self, pipeline: FluxPipeline, transformer: FluxTransformer2DModel) -> None:
        if not self._on_device:
            if self._waiting:
                self._waiting.copy_to(self._device)
            else:  # only the base, once: variants are made where it lies
                transformer.to(self._device)
            self._on_device = True
        pipeline.register_modules(transformer=transformer)

    def leave(self, pipeline: FluxPipeline) -> None:
        del pipeline
        if self._waiting:
            self._waiting.drop_copies()
            self._on_device = False

    def variant(
        self, base: FluxTransformer2DModel, adapter: CheckedAdapter, scale: float
    ) -> FluxTransformer2DModel:
        variant = self._making.variant(base, adapter, scale)
        if self._waiting:
            self._waiting.add(variant)
        return variant

    def forget(self, variant: FluxTransformer2DModel) -> None:
        if self._waiting:
            self._waiting.discard(variant)


class Whole:
    """Puts whole pipelines on the device, or has accelerate's hooks offload them."""

    limit_bytes: float = math.inf

    def __init__(self, device: torch.device, offload: Offload, precision: Precision = Precision.BF16) -> None:
        """offload: has no effect on a CPU. precision: of transformers; in 16 bits they stay as loaded."""
        hooked = device.type != "cpu" and offload in HOOKED
        # Hooks belong to one pipeline: another that shares a part would lose them.
        self.parts = None if hooked else SharedParts(lambda _name, _part: None)
        self._device = device
        self._offload = offload if hooked else Offload.NONE
        self._precision = precision

    def model_bytes(self, _: ModelKey) -> int:
        """Return nothing: what a pipeline takes is not counted."""
        return 0

    def waits(self, _: ModelKey) -> bool:
        """Say that an evicted pipeline leaves the host's memory, too."""
        return False

    def placer(self, key: ModelKey, base: FluxTransformer2DModel, read: ReadWeights) -> Placer:
        """Quantise a base model."""
        del key
        making = VariantMaking(self._precision, self._device, read)
        making.quantise(base)
        return WholePlacer(self._device, self._offload, making)


class WholePlacer:
    """See `Whole`."""

    def __init__(self, device: torch.device, offload: Offload, making: "VariantMaking | None" = None) -> None:
        """making: how variants are made; None if the base is not quantised."""
        self._device = device
        self._offload = offload
        self._making = making or VariantMaking(Precision.BF16, device, lambda _: {})
        self._placed = False

    def place(self, pipeline: FluxPipeline, transformer: FluxTransformer2DModel) -> None:
        """Move the pipeline the first time, or set its hooks up anew: what is compiled cannot be moved."""
        pipeline.remove_all_hooks()
        pipeline.register_modules(transformer=transformer)
        if not self._placed or self._offload in HOOKED:
            devices.place(pipeline, self._device, self._offload)
            self._placed = True

    def leave(self, pipeline: FluxPipeline) -> None:
        """Remove the hooks: with them, the weights are not in the modules."""
        pipeline.remove_all_hooks()

    def variant(
        self, base: FluxTransformer2DModel, adapter: CheckedAdapter, scale: float
    ) -> FluxTransformer2DModel:
        """Make a variant where the base lies."""
        return self._making.variant(base, adapter, scale)

    def forget(self, variant: FluxTransformer2DModel) -> None:
        """Hold nothing anyway."""


class VariantMaking:
    """Makes variants of a base in its precision, fused from the weights of before it was quantised."""

    def __init__(self, precision: Precision, device: torch.device, read: ReadWeights) -> None:
        self._precision = precision
        self._device = device
        self._read = read

    def quantise(self, base: FluxTransformer2DModel) -> None:
        """Give a base that was loaded its precision, where it lies."""
        quantise(base, self._precision, self._device)

    def variant(
        self, base: FluxTransformer2DModel, adapter: CheckedAdapter, scale: float
    ) -> FluxTransformer2DModel:
        """Return a variant that lies where the base lies."""
        weights = None if self._precision is Precision.BF16 else self._read(adapter.modules)
        variant = variant_of(base, fuse(base, adapter, scale, weights))
        quantise(variant, self._precision, self._device, only=adapter.modules)
        return variant


def plan_for(
    device: torch.device, entries: Sequence[Entry], workers: int, *, eight_bit: bool | None = None
) -> Plan:
    """Plan for a CUDA device and the host's free memory, which so many workers share.

    eight_bit: whether transformers must have eight bits, or 16; None if the plan decides.

    Raises:
        DeviceUnfit: the card is too small, or what quantises is not installed and the plan needs it.

    """
    needs, activations = count_needs(entries), measure_activations()
    try:
        plan = make_plan(card_of(device), host_of(workers), needs, activations, eight_bit=eight_bit)
    except CardTooSmall as error:
        advice = "" if eight_bit is not False else ", with this DRAW_PROFILE; auto and turbo take eight bits"
        raise DeviceUnfit(str(device), f"{error}{advice}") from error
    if set(plan.precisions) != {Precision.BF16}:
        require_torchao(device)
    return plan


def precision_of(device: torch.device, *, eight_bit: bool) -> Precision:
    """Return the precision of transformers on a device without a plan."""
    if not eight_bit:
        return Precision.BF16
    require_torchao(device)
    return card_of(device).eight_bit if device.type == "cuda" else Precision.INT8
