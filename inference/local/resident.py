"""A pipeline that is ready in memory, its cached prompts, and the variants of its transformer."""

from typing import Final

from diffusers import FluxPipeline, FluxTransformer2DModel

from catalog.entries import Adapter
from inference.local import devices
from inference.local.adapters import CheckedAdapter
from inference.local.encoding import PromptEncoder
from inference.local.engine import Engine
from inference.local.placement import Placer
from inference.local.residency import Residency

MAX_VARIANTS: Final = 2  # of 2.9 GB each; the catalogue needs one


class Resident:
    """A pipeline, and one transformer for each adapter and scale beside the base's own."""

    def __init__(self, pipeline: FluxPipeline, placer: Placer, engine: Engine | None = None) -> None:
        """Take over a pipeline that has not been placed: put it on the device, and prepare its transformer.

        engine: by default one that draws exactly.
        """
        self.pipeline = pipeline
        self.engine = engine or Engine()
        self.prompts = PromptEncoder(pipeline)
        self._base: FluxTransformer2DModel = pipeline.transformer
        self._placed: FluxTransformer2DModel | None = None
        self._placer = placer
        self._variants: Residency[Adapter, FluxTransformer2DModel] = Residency(
            MAX_VARIANTS, devices.free_memory, devices.is_out_of_memory, placer.forget
        )
        self.switch(None)
        self.engine.prepare(self._base)

    @property
    def base(self) -> FluxTransformer2DModel:
        """The transformer without an adapter."""
        return self._base

    def has(self, adapter: Adapter) -> bool:
        """Whether there is a variant for this adapter at its scale."""
        return self._variants.get(adapter) is not None

    def add(self, adapter: Adapter, checked: CheckedAdapter) -> None:
        """Make the variant of an adapter that fits the base. Before the next image, call `switch`."""
        self.leave()
        self._variants.admit(adapter, lambda: self._variant(checked, adapter.scale))

    def switch(self, adapter: Adapter | None) -> None:
        """Let the pipeline draw with the variant of this adapter, or with the base for None."""
        transformer = self._base if adapter is None else self._variants.get(adapter)
        if transformer is None:
            raise KeyError(adapter)
        if transformer is not self._placed:
            self._placed = None  # if it is interrupted, the next switch begins again
            self._placer.place(self.pipeline, transformer)
            self._placed = transformer

    def _variant(self, checked: CheckedAdapter, scale: float) -> FluxTransformer2DModel:
        variant = self._placer.variant(self._base, checked, scale)
        self.engine.prepare_variant(variant)
        return variant

    def leave(self) -> None:
        """Free what the device can have again. Before the next image, call `switch`."""
        self._placed = None
        self._placer.leave(self.pipeline)
        self.pipeline.register_modules(transformer=self._base)  # an evicted variant must not stay
