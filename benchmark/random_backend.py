"""The local backend with FLUX.1 at full size, with random weights made on the device.

Timing does not depend on the values, so the owner of a card can measure it before accepting a licence.
"""

from pathlib import Path
from typing import Any, Final, Protocol

import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from catalog.entries import Adapter
from inference import fullsize
from inference.local.backend import LocalBackend, LocalConfig
from inference.local.devices import AUTO, Offload
from inference.local.resident import Resident
from inference.silence import silence_libraries
from inference.weights.locations import PipelineWeights

_SEED: Final = 1
_ADAPTER_DEVIATION: Final = 0.01  # large enough to change the image, too small to overflow


class MakePipeline(Protocol):
    """Makes a pipeline with random weights."""

    def __call__(self, device: torch.device, *, dev: bool) -> FluxPipeline:
        """Make dev's pipeline, or schnell's, on a device."""
        ...


class RandomBackend(LocalBackend):
    """Draws noise with the same kernels, memory and time as the real model."""

    def __init__(
        self,
        folder: Path,
        device: str = AUTO,
        offload: Offload = Offload.NONE,
        make: MakePipeline = fullsize.pipeline,
        lora_shapes: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        """Write a random adapter into the folder. Makes no pipeline yet."""
        super().__init__(LocalConfig("full", device=device, offload=offload))
        self._make = make
        self._weights = _RandomAdapter(folder / "lora.safetensors", lora_shapes or fullsize.lora_shapes())

    def _load(self, model_id: str, revision: str | None) -> Resident:
        del revision
        silence_libraries()
        # Offloaded parts wait in the host's memory: the device has no room to make them all.
        target = self._device if self._offload is Offload.NONE else torch.device("cpu")
        torch.manual_seed(_SEED)
        dev = "schnell" not in model_id.lower()
        pipeline = self._make(target, dev=dev)
        pipeline.set_progress_bar_config(disable=True)
        return self._placed(pipeline, lambda: self._make(torch.device("cpu"), dev=dev).transformer)


class _RandomAdapter:
    """The only adapter, in a file like the real one, so that the same code checks and fuses it."""

    def __init__(self, file: Path, shapes: dict[str, tuple[int, int]]) -> None:
        generator = torch.Generator().manual_seed(_SEED)
        tensors: dict[str, Any] = {
            key: (torch.randn(shape, generator=generator) * _ADAPTER_DEVIATION).to(torch.bfloat16)
            for key, shape in shapes.items()
        }
        save_file(tensors, file)
        self._file = file

    def pipeline(self, model_id: str, revision: str | None) -> PipelineWeights:
        del revision
        raise NotImplementedError(f"{model_id} is made, not loaded")

    def adapter_file(self, adapter: Adapter) -> Path:
        del adapter
        return self._file
