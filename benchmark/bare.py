"""Times the worker's backend without the server: loading, drawing, encoding and peak memory."""

import time
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from benchmark.memory import ProcessPeak
from benchmark.random_backend import open_backend
from catalog.orders import Order
from inference import flops, fullsize
from inference.backend import BatchRow, Phase, picture_of
from inference.flops import Flop, TransformerShape
from inference.local import devices
from inference.local.canvas import canvas_for
from inference.miniature import architecture
from inference.miniature.vocabulary import MAX_TEXT_TOKENS
from server.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

_MIB: Final = 2**20


class BarePipeline:
    """One backend, driven by the benchmark's commands."""

    def __init__(self, kind: str, folder: Path) -> None:
        """Make the backend for the environment's settings. For `kind` and `folder` see `open_backend`."""
        settings = Settings.from_environment()
        self._torch_device = devices.choose_device(settings.worker.device)
        self._kind = kind
        self._backend = open_backend(kind, folder, settings)
        self._process = ProcessPeak()
        self._last: Image | None = None

    @property
    def device(self) -> str:
        """The accelerator's name, or `cpu`."""
        cuda = self._torch_device.type == "cuda"
        return torch.cuda.get_device_name(self._torch_device) if cuda else self._torch_device.type

    def run(self, command: str, argument: Any) -> dict[str, Any]:
        """Run one command and return its measurements.

        `close` takes no argument; `warm_up` and `draw` take an order as JSON; `save` takes a file, into
        which the last picture is written as PNG; `batch` takes an order and a number of rows, which differ by
        their seeds.

        Raises:
            InferenceError: the backend cannot load or draw.

        """
        if command == "close":
            return self.close()
        if command == "save":
            return self._save(Path(argument))
        if command == "batch":
            return self._draw_batch(Order.from_json(argument["order"]), argument["rows"])
        order = Order.from_json(argument)
        return self._warm_up(order) if command == "warm_up" else self._draw(order)

    def close(self) -> dict[str, Any]:
        """Unload all pipelines and reset the peak of memory."""
        self._backend.close()
        self._process.reset()
        if self._torch_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._torch_device)
        return {}

    def _warm_up(self, order: Order) -> dict[str, Any]:
        began = time.perf_counter()
        self._backend.warm_up(order.model_id, order.revision, order.adapter)
        self._synchronise()
        load_s = time.perf_counter() - began
        return {
            "load_s": load_s,
            "tflop_per_step": step_flop(self._kind, order).total / 1e12,
            "planned_mib": self._planned_mib(order),
        }

    def _planned_mib(self, order: Order) -> float | None:
        """Return what the backend's plan foresees for the order's entry; None without a plan."""
        plan = getattr(self._backend, "plan", None)
        planned = [] if plan is None else plan.entries
        of_order = (order.model_id, order.adapter, order.width_px, order.height_px)
        for each in planned:
            entry = each.entry
            if (entry.model_id, entry.adapter, entry.width_px, entry.height_px) == of_order:
                return float(each.peak_bytes) / _MIB
        return None

    def _draw(self, order: Order) -> dict[str, Any]:
        began = time.perf_counter()
        picture = self._backend.generate(order, lambda _: None)
        drawn = time.perf_counter()
        self._last = picture.image
        picture.image.save(BytesIO(), "PNG")
        encoded = time.perf_counter()
        return {
            "draw_s": drawn - began,
            "load_s": picture.seconds.get(Phase.LOAD, 0.0),
            "steps_s": picture.seconds[Phase.STEP],
            "encode_s": encoded - drawn,
            "peak_mib": self._peak_mib(),
        }

    def _draw_batch(self, order: Order, rows: int) -> dict[str, Any]:
        batch = [BatchRow(replace(order, seed=seed), lambda _: None) for seed in range(rows)]
        began = time.perf_counter()
        for outcome in self._backend.generate_batch(batch):
            picture_of(outcome)
        return {"draw_s": time.perf_counter() - began}

    def _save(self, file: Path) -> dict[str, Any]:
        if self._last is None:
            raise RuntimeError("nothing has been drawn")
        self._last.save(file, "PNG")
        return {}

    def _peak_mib(self) -> float:
        if self._torch_device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._torch_device) / _MIB
        return self._process.mib()

    def _synchronise(self) -> None:
        if self._torch_device.type == "cuda":
            torch.cuda.synchronize(self._torch_device)


def step_flop(kind: str, order: Order) -> Flop:
    """Count the operations of one denoising step from the config of the order's transformer."""
    dev = "schnell" not in order.model_id.lower()
    config, limit, token_px = _miniature(dev=dev) if kind == "miniature" else _full(dev=dev)
    canvas = canvas_for(order.width_px, order.height_px, token_px)
    image_tokens = (canvas.width_px // token_px) * (canvas.height_px // token_px)
    shape = TransformerShape.of_config(config)
    return flops.forward(shape, min(order.max_text_tokens, limit), image_tokens)


def _miniature(*, dev: bool) -> tuple[Mapping[str, Any], int, int]:
    """Return the miniature's config, its limit of text tokens and the side of an image token in pixels."""
    with torch.device("meta"):
        config = architecture.transformer(guidance_embeds=dev).config
    return config, MAX_TEXT_TOKENS, 2 * architecture.SPATIAL_FACTOR


def _full(*, dev: bool) -> tuple[Mapping[str, Any], int, int]:
    return fullsize.TRANSFORMER | {"guidance_embeds": dev}, fullsize.MAX_TEXT_TOKENS, fullsize.TOKEN_PX
