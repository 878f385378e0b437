"""A pipeline that is ready in memory, its cached prompts, and the variants of its transformer."""

from typing import Final

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from catalog.entries import Adapter
from inference.local import devices
from inference.local.adapters import CheckedAdapter
from inference.local.devices import Offload
from inference.local.encoding import PromptEncoder
from inference.local.residency import Residency
from inference.local.variants import fuse, variant_of

MAX_VARIANTS: Final = 2  # of 2.9 GB each; the catalogue needs one


class Resident:
    """A pipeline on its device, and one transformer for each adapter and scale beside the base's own."""

    def __init__(self, pipeline: FluxPipeline, device: torch.device, offload: Offload) -> None:
        """Take over a pipeline that has been placed."""
        self.pipeline = pipeline
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
        self._variants.admit(
            adapter, lambda: variant_of(self._base, fuse(self._base, checked, adapter.scale))
        )

    def switch(self, adapter: Adapter | None) -> None:
        """Let the pipeline draw with the variant of this adapter, or with the base for None."""
        transformer = self._base if adapter is None else self._variants.get(adapter)
        if transformer is None:
            raise KeyError(adapter)
        if transformer is not self._placed:
            self._unplace(transformer)
            devices.place(self.pipeline, self._device, self._offload)
            self._placed = transformer

    def _unplace(self, transformer: FluxTransformer2DModel) -> None:
        """Give the pipeline this transformer and no offloading. If interrupted, `switch` begins again."""
        self._placed = None
        self.pipeline.remove_all_hooks()
        self.pipeline.register_modules(transformer=transformer)
