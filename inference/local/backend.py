"""The backend that draws on this machine with diffusers."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import platformdirs
import torch
from diffusers import FluxPipeline
from PIL import Image

from catalog.entries import Adapter, Entry
from catalog.orders import Order, Provenance
from inference.backend import BatchRow, Device, Phase, Picture, Progress, Report, RowOutcome, picture_of
from inference.errors import DeviceBroken, InferenceError, OutOfMemory
from inference.local import devices
from inference.local.adapters import read_adapter
from inference.local.arrangements import ModelKey
from inference.local.batch import Row, draw_latents
from inference.local.canvas import Canvas, canvas_for
from inference.local.decoding import decode_checked, to_image
from inference.local.devices import AUTO, Offload, StepThrottle
from inference.local.encoding import EncodedPrompt
from inference.local.engine import Engine
from inference.local.phases import Phases
from inference.local.pipelines import load_pipeline, locate, read_weights
from inference.local.placement import Placement, Planned, ReadWeights, Whole, plan_for, precision_of
from inference.local.previews import Previewer
from inference.local.profiles import Profile, choose_profile, wanted_eight_bit
from inference.local.residency import Residency
from inference.local.resident import Resident
from inference.miniature.building import build_miniature
from inference.row_reports import AllRowsEnded, RowReports
from inference.weights.locations import FullWeights, MiniatureWeights, WeightSource

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalConfig:
    """Configuration of the local backend. The profiles differ only in weights and number format.

    profile: `full` is FLUX.1; `miniature` is the same pipelines in small, for machines without a GPU.
    models_dir: the folder with weights, as ORG/NAME; the miniature is built there, or in the user's cache.
    device: `auto`, or torch's name of a device, such as `cuda:1`.
    offload: see `inference.local.devices.Offload`; it has no effect on a CPU.
    entries: what a plan for a card is made for.
    workers: how many share the host's memory.
    max_batch: how many rows are drawn together, if the memory suffices; 1 for none.
    draw_profile: `auto`, or the name of an `inference.local.profiles.Profile`.
    """

    profile: Literal["miniature", "full"]
    models_dir: Path | None = None
    device: str = AUTO
    offload: Offload = Offload.AUTO
    entries: Sequence[Entry] = ()
    workers: int = 1
    max_batch: int = 1
    draw_profile: str = AUTO
    hf_token: str | None = field(default=None, repr=False)


class LocalBackend:
    """Draws with FLUX.1 pipelines that stay resident. See `inference.backend.Backend`."""

    def __init__(self, config: LocalConfig) -> None:
        """Choose the device, plan for its card, and build a missing miniature. Loads no pipeline.

        Raises:
            DeviceUnfit: no plan fits FLUX.1 to the card, or the profile lacks what it needs.

        """
        self._device = devices.choose_device(config.device)
        devices.use(self._device)
        self._fitting: dict[str, int] = {}
        """The largest batch of a batch key for which the memory may suffice, where it has not."""
        self._dtype = devices.choose_dtype(self._device, full=config.profile == "full")
        self._weights = _weights(config)
        planned = config.profile == "full" and self._device.type == "cuda" and config.offload is Offload.AUTO
        wanted = wanted_eight_bit(config.draw_profile)
        self.plan = (
            plan_for(self._device, config.entries, config.workers, eight_bit=wanted) if planned else None
        )
        eight_bit = self.plan.arrangement.eight_bit if self.plan else bool(wanted)
        self._placement: Placement = (
            Planned(self.plan, self._device)
            if self.plan
            else Whole(self._device, config.offload, precision_of(self._device, eight_bit=eight_bit))
        )
        profile = choose_profile(config.draw_profile, self._device, config.offload, eight_bit=eight_bit)
        self._engine = Engine(profile, self._device)
        self._max_batch = config.max_batch if profile.batches else 1
        self._residents: Residency[ModelKey, Resident] = Residency(
            self._placement.limit_bytes, devices.free_memory, devices.is_out_of_memory, Resident.leave
        )
        self._waiting: dict[ModelKey, Resident] = {}
        self._full = config.profile == "full"
        self._previewer: Previewer | None = None

    @property
    def resident(self) -> frozenset[str]:
        """The ids of the models whose pipelines are ready in memory."""
        return frozenset(model_id for model_id, _ in self._residents.keys)

    @property
    def device(self) -> Device:
        """The card or the processor, and its memory."""
        return devices.describe(self._device)

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
        [outcome] = self.generate_batch([BatchRow(order, report)])
        return picture_of(outcome)

    def largest_batch(self, order: Order) -> int:
        """Return the configured size, or a smaller one by the plan or after exhausted memory."""
        most = self._fitting.get(order.batch_key, self._max_batch)
        if self.plan is None:
            return most
        return min(most, self.plan.largest_batch(order.model_id, order.width_px * order.height_px))

    def generate_batch(self, rows: Sequence[BatchRow]) -> list[RowOutcome]:
        """Draw orders of one batch key in one denoising loop. Each picture's seconds are its share of them.

        Raises:
            WeightsMissing, AdapterMismatch, OutOfMemory, DeviceBroken: as for `generate`, for all rows.

        """
        reports = RowReports(rows)
        pictures: dict[int, Picture] = {}
        try:
            with suppress(AllRowsEnded):
                pictures = self._on_device(lambda: self._draw(rows, reports))
        except OutOfMemory:
            self._fitting[rows[0].order.batch_key] = max(1, len(rows) // 2)
            raise
        return [pictures[n] if n in pictures else reports.ended[n] for n in range(len(rows))]

    def close(self) -> None:
        """Evict all pipelines and return their memory to the device, if it still answers."""
        with suppress(torch.AcceleratorError):
            self._waiting.clear()
            self._residents.clear()

    def _draw(self, rows: Sequence[BatchRow], reports: RowReports) -> dict[int, Picture]:
        """Return the pictures of the rows that have not ended, by their numbers."""
        phases, order = Phases(reports.to_all), rows[0].order
        resident = self._prepare(order.model_id, order.revision, order.adapter, phases)
        pipeline = resident.pipeline
        canvas = canvas_for(order.width_px, order.height_px, 2 * pipeline.vae_scale_factor)
        images: dict[int, Image.Image] = {}
        try:
            phases.begin(Phase.ENCODE)
            prompts = {
                number: resident.prompts.encode(rows[number].order.prompt, order.max_text_tokens)
                for number in reports.running
            }
            phases.begin_steps()
            finished = self._denoise(pipeline, rows, prompts, canvas, reports)
            phases.begin(Phase.DECODE)
            for number, latents in finished.items():
                if images:  # the rows wait for each other, and their leases must last as long
                    reports.to_all(Progress(Phase.DECODE))
                if number not in reports.ended:
                    try:
                        images[number] = self._decoded(pipeline, latents, canvas)
                    except InferenceError as error:
                        reports.ended[number] = error
        finally:
            # A pipeline that was interrupted, or has decoded, keeps offloaded parts on the device.
            pipeline.maybe_free_model_hooks()
        seconds = {phase: spent / max(1, len(images)) for phase, spent in phases.seconds().items()}
        drawn_by = self._engine.provenance(pipeline.transformer)
        box = canvas.box(order.width_px, order.height_px)
        return {
            number: Picture(
                image.crop(box),
                Provenance.of_order("local", rows[number].order, drawn_by),
                seconds,
                prompts[number].warnings,
            )
            for number, image in images.items()
            if number not in reports.ended
        }

    def _decoded(self, pipeline: FluxPipeline, latents: torch.Tensor, canvas: Canvas) -> Image.Image:
        """Decode a row, checked. Row by row: all at once would take the memory of several decodings."""
        return to_image(decode_checked(pipeline, latents, canvas, self._residents.evict_others))

    def _denoise(
        self,
        pipeline: FluxPipeline,
        rows: Sequence[BatchRow],
        prompts: Mapping[int, EncodedPrompt],
        canvas: Canvas,
        reports: RowReports,
    ) -> dict[int, torch.Tensor]:
        """Run the steps. Returns the packed latents (1, T, 64) of the rows that have not ended."""
        order, patch_px = rows[0].order, 2 * pipeline.vae_scale_factor
        tokens = canvas.height_px // patch_px, canvas.width_px // patch_px

        def row_of(number: int, prompt: EncodedPrompt) -> Row:
            def step_ended(step: int, estimate: Callable[[], torch.Tensor]) -> None:
                def preview() -> Image.Image:
                    return self._previewer_of(pipeline).picture(estimate(), *tokens)

                reports.to_one(number, Progress(Phase.STEP, step, order.steps, preview))

            return Row(prompt, rows[number].order.seed, step_ended)

        outcomes = draw_latents(
            pipeline,
            [row_of(number, prompt) for number, prompt in prompts.items()],
            canvas,
            steps=order.steps,
            guidance_scale=order.guidance_scale,
            step_queued=StepThrottle(self._device).step_queued,
            engine=self._engine,
        )
        finished = {}
        for number, outcome in zip(prompts, outcomes, strict=True):
            if isinstance(outcome, Exception):
                reports.ended[number] = outcome
            else:
                finished[number] = outcome
        if not finished:
            raise AllRowsEnded
        return finished

    def _previewer_of(self, pipeline: FluxPipeline) -> Previewer:
        if self._previewer is None:
            self._previewer = Previewer.of_flux() if self._full else Previewer.fitted(pipeline.vae)
        return self._previewer

    def _prepare(
        self, model_id: str, revision: str | None, adapter: Adapter | None, phases: Phases
    ) -> Resident:
        """Return the resident pipeline with the adapter's variant in it; load and fuse what is missing."""
        key = (model_id, revision)
        resident = self._residents.get(key)
        if resident is None:
            phases.begin(Phase.LOAD)
            size_bytes = self._placement.model_bytes(key)
            resident = self._residents.admit(
                key, lambda: self._waiting.get(key) or self._load(*key), size_bytes
            )
        if adapter is not None and not resident.has(adapter):
            phases.begin(Phase.LOAD)
            file = self._weights.adapter_file(adapter)
            resident.add(adapter, read_adapter(file, adapter.model_id, resident.base))
        resident.switch(adapter)
        return resident

    def _load(self, model_id: str, revision: str | None) -> Resident:
        """Load a pipeline into the host's memory, and what it shares to where that stays."""
        folder = locate(model_id, self._weights.pipeline(model_id, revision))
        pipeline = load_pipeline(model_id, folder, self._dtype, self._placement.parts)
        return self._take_over(
            (model_id, revision), pipeline, lambda modules: read_weights(folder, modules, self._dtype)
        )

    def _take_over(self, key: ModelKey, pipeline: FluxPipeline, read: ReadWeights) -> Resident:
        placer = self._placement.placer(key, pipeline.transformer, read)
        resident = Resident(pipeline, placer, self._engine)
        if self._placement.waits(key):
            self._waiting[key] = resident
        return resident

    def _on_device(self, work: Callable[[], T]) -> T:
        """Return what the work returns, and tell exhausted memory and a failed device from other errors.

        If the memory is exhausted beside other pipelines, these are evicted, and the work is done once more.
        """
        for _ in range(2):
            try:
                return work()
            except Exception as error:
                if devices.is_device_broken(error):
                    raise DeviceBroken(str(self._device), str(error).partition("\n")[0]) from error
                if not devices.is_out_of_memory(error):
                    raise
            # Outside the handler: inside it, the error's traceback would keep the tensors in memory.
            if not self._residents.evict_others():
                break
            log.warning("memory.exhausted: the other pipelines are evicted, and it is tried once more")
        self._residents.clear()
        raise OutOfMemory(str(self._device))


def _weights(config: LocalConfig) -> WeightSource:
    if config.profile == "full":
        return FullWeights(config.models_dir, config.hf_token)
    folder = config.models_dir or platformdirs.user_cache_path("avatar-creator")
    return MiniatureWeights(build_miniature(folder))
