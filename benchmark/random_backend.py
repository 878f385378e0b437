"""The local backend with FLUX.1 at full size, its weights invented on the device.

Timing does not depend on the values, so whoever has a card can measure it before accepting a licence.
"""

from pathlib import Path
from typing import Any, Final, Protocol

import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from catalog.entries import Adapter
from inference import fullsize
from inference.local.adapters import AdapterSwitch
from inference.local.backend import LocalBackend, LocalConfig, Resident
from inference.local.devices import AUTO, Offload, place
from inference.silence import silence_libraries
from inference.weights.locations import PipelineWeights

_SEED: Final = 1
_ADAPTER_DEVIATION: Final = 0.01  # enough that it is not nothing, too little to make numbers overflow


class MakePipeline(Protocol):
    """What makes a pipeline with fresh weights."""

    def __call__(self, device: torch.device, *, dev: bool) -> FluxPipeline:
        """Make dev's pipeline, or schnell's, on a device."""
        ...


class RandomBackend(LocalBackend):
    """Draws noise with the kernels, the memory and the time of the real model."""

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
        # What is offloaded waits in the host's memory: there is no room for it on the device to be made in.
        made_on = self._device if self._offload is Offload.NONE else torch.device("cpu")
        torch.manual_seed(_SEED)
        pipeline = self._make(made_on, dev="schnell" not in model_id.lower())
        pipeline.set_progress_bar_config(disable=True)
        place(pipeline, self._device, self._offload)
        return Resident(pipeline, AdapterSwitch(pipeline))


class _RandomAdapter:
    """The one adapter there is, in a file as the real one, so that it is checked and attached as that is."""

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
