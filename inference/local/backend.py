"""The backend that draws on this machine with diffusers."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import platformdirs
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from catalog.entries import Adapter
from catalog.orders import Order, Provenance
from inference.backend import Phase, Picture, Report
from inference.errors import DeviceBroken, OutOfMemory
from inference.local import devices
from inference.local.adapters import read_adapter
from inference.local.batch import Row, draw_latents
from inference.local.canvas import Canvas, canvas_for
from inference.local.checks import check_pixels
from inference.local.decoding import decode, to_image
from inference.local.devices import AUTO, Offload, StepThrottle
from inference.local.encoding import EncodedPrompt
from inference.local.engine import Engine
from inference.local.phases import Phases
from inference.local.pipelines import load_pipeline, load_transformer
from inference.local.profiles import Profile, choose_profile
from inference.local.residency import Residency
from inference.local.resident import Resident
from inference.miniature.building import build_miniature
from inference.weights.locations import FullWeights, MiniatureWeights, WeightSource

T = TypeVar("T")


@dataclass(frozen=True)
class LocalConfig:
    """Configuration of the local backend. The profiles differ only in weights and number format.

    profile: `full` is FLUX.1; `miniature` is the same pipelines in small, for machines without a GPU.
    models_dir: the folder with weights, as ORG/NAME; the miniature is built there, or in the user's cache.
    device: `auto`, or torch's name of a device, such as `cuda:1`.
    offload: see `inference.local.devices.Offload`; it has no effect on a CPU.
    resident_pipelines: how many pipelines stay in memory; base and realism share one.
    draw_profile: `auto`, or the name of an `inference.local.profiles.Profile`.
    """

    profile: Literal["miniature", "full"]
    models_dir: Path | None = None
    device: str = AUTO
    offload: Offload = Offload.NONE
    resident_pipelines: int = 2
    draw_profile: str = AUTO
    hf_token: str | None = field(default=None, repr=False)


class LocalBackend:
    """Draws with FLUX.1 pipelines that stay resident. See `inference.backend.Backend`."""

    def __init__(self, config: LocalConfig) -> None:
        """Choose the device and locate the weights. Builds a missing miniature, but loads no pipeline.

        Raises:
            DeviceUnfit: the profile needs what this machine or the configuration lacks.

        """
        self._offload = Offload(config.offload)
        self._device = devices.choose_device(config.device)
        devices.use(self._device)
        self._dtype = devices.choose_dtype(self._device, full=config.profile == "full")
        self._engine = Engine(choose_profile(config.draw_profile, self._device, self._offload), self._device)
        self._weights = _weights(config)
        self._residents: Residency[tuple[str, str | None], Resident] = Residency(
            config.resident_pipelines, devices.free_memory, devices.is_out_of_memory
        )

    @property
    def resident(self) -> frozenset[str]:
        """The ids of the models whose pipelines are ready in memory."""
        return frozenset(model_id for model_id, _ in self._residents.keys)

    @property
    def profile(self) -> Profile:
        """The profile that orders are drawn with."""
        return self._engine.profile

    def warm_up(self, model_id: str, revision: str | None, adapter: Adapter | None) -> None:
        """Load a pipeline, and fuse an adapter into a variant of it, before the first order needs it.

        Raises:
            WeightsMissing, AdapterMismatch, OutOfMemory, DeviceBroken: as for `generate`.

        """
        phases = Phases(lambda _: None)
        self._on_device(lambda: self._prepare(model_id, revision, adapter, phases))

    def generate(self, order: Order, report: Report) -> Picture:
        """Draw the order.

        Raises:
            WeightsMissing: the model or its adapter is not on this machine and cannot be downloaded.
            AdapterMismatch: the adapter does not fit the model.
            OutOfMemory: the device's memory is too small; all pipelines have been evicted.
            DeviceBroken: the device has failed; only a new process can use it.
            ImageNotFinite, ImageFlat: the result is not a valid image.

        An exception from `report` passes through unchanged.
        """
        return self._on_device(lambda: self._draw(order, Phases(report)))

    def close(self) -> None:
        """Evict all pipelines and return their memory to the device, if it still answers."""
        with suppress(torch.AcceleratorError):
            self._residents.clear()

    def _draw(self, order: Order, phases: Phases) -> Picture:
        resident = self._prepare(order.model_id, order.revision, order.adapter, phases)
        pipeline = resident.pipeline
        canvas = canvas_for(order.width_px, order.height_px, 2 * pipeline.vae_scale_factor)
        try:
            phases.begin(Phase.ENCODE)
            prompt = resident.prompts.encode(order.prompt, order.max_text_tokens)
            phases.begin_steps()
            latents = self._denoise(pipeline, order, prompt, canvas, phases)
            pixels = decode(pipeline, latents, canvas)
            check_pixels(pixels)
            image = to_image(pixels).crop(canvas.box(order.width_px, order.height_px))
        finally:
            # A pipeline that was interrupted, or has decoded, keeps offloaded parts on the device.
            pipeline.maybe_free_model_hooks()
        provenance = Provenance.of_order("local", order, self._engine.provenance(pipeline.transformer))
        return Picture(image, provenance, phases.seconds(), prompt.warnings)

    def _denoise(
        self, pipeline: FluxPipeline, order: Order, prompt: EncodedPrompt, canvas: Canvas, phases: Phases
    ) -> torch.Tensor:
        """Run the steps. Returns the packed latents (1, T, 64) of the canvas."""

        def step_ended(step: int) -> None:
            phases.step_ended(step, order.steps)
            if step == order.steps:
                phases.begin(Phase.DECODE)

        [outcome] = draw_latents(
            pipeline,
            [Row(prompt, order.seed, step_ended)],
            canvas,
            steps=order.steps,
            guidance_scale=order.guidance_scale,
            step_queued=StepThrottle(self._device).step_queued,
            engine=self._engine,
        )
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _prepare(
        self, model_id: str, revision: str | None, adapter: Adapter | None, phases: Phases
    ) -> Resident:
        """Return the resident pipeline with the adapter's variant in it; load and fuse what is missing."""
        key = (model_id, revision)
        resident = self._residents.get(key)
        if resident is None:
            phases.begin(Phase.LOAD)
            resident = self._residents.admit(key, lambda: self._load(model_id, revision))
        if adapter is not None and not resident.has(adapter):
            phases.begin(Phase.LOAD)
            file = self._weights.adapter_file(adapter)
            resident.add(adapter, read_adapter(file, adapter.model_id, resident.base))
        resident.switch(adapter)
        return resident

    def _load(self, model_id: str, revision: str | None) -> Resident:
        weights = self._weights.pipeline(model_id, revision)
        pipeline = load_pipeline(model_id, weights, self._dtype)
        return self._placed(pipeline, lambda: load_transformer(model_id, weights, self._dtype))

    def _placed(self, pipeline: FluxPipeline, original: Callable[[], FluxTransformer2DModel]) -> Resident:
        """Put a pipeline on the device. original: reads its transformer again."""
        # Quantised first: a device may have no room for it before.
        self._engine.quantise(pipeline.transformer)
        devices.place(pipeline, self._device, self._offload)
        return Resident(pipeline, self._device, self._offload, self._engine, original)

    def _on_device(self, work: Callable[[], T]) -> T:
        """Return what the work returns, and tell exhausted memory and a failed device from other errors."""
        try:
            return work()
        except Exception as error:
            if devices.is_device_broken(error):
                raise DeviceBroken(str(self._device), str(error).partition("\n")[0]) from error
            if not devices.is_out_of_memory(error):
                raise
        # Outside the handler: inside it, the error's traceback would keep the tensors in memory.
        self._residents.clear()
        raise OutOfMemory(str(self._device))


def _weights(config: LocalConfig) -> WeightSource:
    if config.profile == "full":
        return FullWeights(config.models_dir, config.hf_token)
    folder = config.models_dir or platformdirs.user_cache_path("avatar-creator")
    return MiniatureWeights(build_miniature(folder))
