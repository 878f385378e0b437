"""A pipeline that is ready in memory, its cached prompts, and the variants of its transformer."""

from collections.abc import Callable
from typing import Final

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from catalog.entries import Adapter
from inference.local import devices
from inference.local.adapters import CheckedAdapter
from inference.local.devices import Offload
from inference.local.encoding import PromptEncoder
from inference.local.engine import Engine
from inference.local.residency import Residency
from inference.local.variants import fuse, variant_of

MAX_VARIANTS: Final = 2  # of 2.9 GB each; the catalogue needs one


class Resident:
    """A pipeline on its device, and one transformer for each adapter and scale beside the base's own."""

    def __init__(
        self,
        pipeline: FluxPipeline,
        device: torch.device,
        offload: Offload,
        engine: Engine | None = None,
        original: Callable[[], FluxTransformer2DModel] | None = None,
    ) -> None:
        """Take over a pipeline that has been placed, and prepare its transformer.

        original: reads the base's transformer again; needed if the engine quantises.
        """
        self.pipeline = pipeline
        self.engine = engine or Engine()
        self.engine.prepare(pipeline.transformer)
        self._original = original
        self.prompts = PromptEncoder(pipeline)
        self._base: FluxTransformer2DModel = pipeline.transformer
        self._placed: FluxTransformer2DModel | None = self._base
        self._device = device
        self._offload = offload
        self._variants: Residency[Adapter, FluxTransformer2DModel] = Residency(
            MAX_VARIANTS, devices.free_memory, devices.is_out_of_memory
        )

    @property
    def base(self) -> FluxTransformer2DModel:
        """The transformer without an adapter."""
        return self._base

    def has(self, adapter: Adapter) -> bool:
        """Whether there is a variant for this adapter at its scale."""
        return self._variants.get(adapter) is not None

    def add(self, adapter: Adapter, checked: CheckedAdapter) -> None:
        """Make the variant of an adapter that fits the base. Before the next image, call `switch`."""
        # Offloaded weights are not in the modules, and an evicted variant must not stay.
        self._unplace(self._base)
        self._variants.admit(adapter, lambda: self._fused(checked, adapter.scale))

    def switch(self, adapter: Adapter | None) -> None:
        """Let the pipeline draw with the variant of this adapter, or with the base for None."""
        transformer = self._base if adapter is None else self._variants.get(adapter)
        if transformer is None:
            raise KeyError(adapter)
        if transformer is not self._placed:
            self._unplace(transformer)
            if (
                not self.engine.profile.hoists
            ):  # else nothing is offloaded, and what is compiled cannot be moved
                devices.place(self.pipeline, self._device, self._offload)
            self._placed = transformer

    def _fused(self, checked: CheckedAdapter, scale: float) -> FluxTransformer2DModel:
        if self.engine.profile.quantises and self._original is not None:
            # What is fused into a quantised weight would be rounded twice, so its original is read again.
            fused = fuse(self._original(), checked, scale)
            weights = {name: weight.to(self._device) for name, weight in fused.items()}
        else:
            weights = fuse(self._base, checked, scale)
        variant = variant_of(self._base, weights)
        self.engine.prepare_variant(variant, weights)
        return variant

    def _unplace(self, transformer: FluxTransformer2DModel) -> None:
        """Give the pipeline this transformer and no offloading. If interrupted, `switch` begins again."""
        self._placed = None
        self.pipeline.remove_all_hooks()
        self.pipeline.register_modules(transformer=transformer)
