"""The local backend with FLUX.1 at full size, with random weights made on the device.

Timing does not depend on the values, so the owner of a card can measure it before accepting a licence.
"""

from pathlib import Path
from typing import Any, Final, Protocol

import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from catalog.entries import Adapter, shipped_entries
from inference import fullsize
from inference.backend import Backend
from inference.local.backend import LocalBackend, LocalConfig
from inference.local.devices import AUTO, Offload
from inference.local.plan import MAX_BATCH
from inference.local.resident import Resident
from inference.local.shared_parts import SHARED
from inference.silence import silence_libraries
from inference.weights.locations import PipelineWeights
from server.settings import Settings
from server.worker.backends import make_backend

_SEED: Final = 1
_PIPELINE_BYTES: Final = 34e9  # of a whole one in bf16
_WHOLE: Final = {Offload.AUTO, Offload.NONE}
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
        offload: Offload = Offload.AUTO,
        make: MakePipeline = fullsize.pipeline,
        lora_shapes: dict[str, tuple[int, int]] | None = None,
        draw_profile: str = AUTO,
    ) -> None:
        """Write a random adapter into the folder. Makes no pipeline yet."""
        super().__init__(
            LocalConfig(
                "full",
                device=device,
                offload=offload,
                entries=shipped_entries(),
                max_batch=MAX_BATCH,
                draw_profile=draw_profile,
            )
        )
        # Where the device has no room for a whole pipeline in bf16, it is made in the host's memory.
        self._made_on = self._device if self._has_room(offload) else torch.device("cpu")
        self._make = make
        self._weights = _RandomAdapter(folder / "lora.safetensors", lora_shapes or fullsize.lora_shapes())

    def _has_room(self, offload: Offload) -> bool:
        if self.plan is None:
            return offload in _WHOLE
        return self.plan.card.usable_bytes >= self.plan.device_bytes + _PIPELINE_BYTES

    def _load(self, model_id: str, revision: str | None) -> Resident:
        silence_libraries()
        torch.manual_seed(_SEED)
        pipeline = self._make(self._made_on, dev="schnell" not in model_id.lower())
        pipeline.set_progress_bar_config(disable=True)
        if self._placement.parts is not None:
            self._placement.parts.share(pipeline, dict.fromkeys(SHARED, "random"))
        transformer = pipeline.transformer
        return self._take_over(
            (model_id, revision),
            pipeline,
            lambda modules: {
                name: transformer.get_submodule(name).weight.detach().dequantize() for name in modules
            },
        )


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


def open_backend(kind: str, folder: Path, settings: Settings) -> Backend:
    """Make the backend that the settings describe, or for `random` one with random weights.

    folder: for what random weights have on the disk.
    """
    if kind != "random":
        return make_backend(settings, "local")
    worker = settings.worker
    return RandomBackend(folder, worker.device, Offload(worker.offload), draw_profile=worker.draw_profile)
