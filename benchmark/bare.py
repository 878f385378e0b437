"""The worker's own backend without the server around it: loaded, drawn with, and what it takes."""

import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import torch

from benchmark.memory import ProcessPeak
from benchmark.random_backend import RandomBackend
from catalog.orders import Order
from inference import flops, fullsize
from inference.backend import Backend, Phase
from inference.flops import Flop, TransformerShape
from inference.local import devices
from inference.local.canvas import canvas_for
from inference.local.devices import Offload
from inference.miniature import architecture
from inference.miniature.vocabulary import MAX_TEXT_TOKENS
from server.settings import Settings
from server.worker.backends import make_backend

_MIB: Final = 2**20


class BarePipeline:
    """One backend, asked by the benchmark's words."""

    def __init__(self, kind: str, folder: Path) -> None:
        """Make the backend of this environment's settings; with random weights, the one that invents them."""
        settings = Settings.from_environment()
        self._torch_device = devices.choose_device(settings.worker.device)
        self._kind = kind
        self._backend: Backend = (
            RandomBackend(folder, str(self._torch_device), Offload(settings.worker.offload))
            if kind == "random"
            else make_backend(settings, "local")
        )
        self._process = ProcessPeak()

    @property
    def device(self) -> str:
        """The accelerator's name, or `cpu`."""
        cuda = self._torch_device.type == "cuda"
        return torch.cuda.get_device_name(self._torch_device) if cuda else self._torch_device.type

    def do(self, what: str, told: Any) -> dict[str, Any]:
        """Do what is asked and return what there is to tell of it.

        Raises:
            InferenceError: the backend cannot.

        """
        if what == "close":
            return self.close()
        order = Order.from_json(told)
        return self._warm_up(order) if what == "warm_up" else self._draw(order)

    def close(self) -> dict[str, Any]:
        """Let all pipelines go, and forget how much memory they took."""
        self._backend.close()
        self._process.forget()
        if self._torch_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._torch_device)
        return {}

    def _warm_up(self, order: Order) -> dict[str, Any]:
        began = time.perf_counter()
        self._backend.warm_up(order.model_id, order.revision, order.adapter)
        self._synchronise()
        load_s = time.perf_counter() - began
        return {"load_s": load_s, "tflop_per_step": step_flop(self._kind, order).total / 1e12}

    def _draw(self, order: Order) -> dict[str, Any]:
        began = time.perf_counter()
        picture = self._backend.generate(order, lambda _: None)
        drawn = time.perf_counter()
        picture.image.save(BytesIO(), "PNG")
        encoded = time.perf_counter()
        return {
            "draw_s": drawn - began,
            "steps_s": picture.seconds[Phase.STEP],
            "encode_s": encoded - drawn,
            "peak_mib": self._peak_mib(),
        }

    def _peak_mib(self) -> float:
        if self._torch_device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._torch_device) / _MIB
        return self._process.mib()

    def _synchronise(self) -> None:
        if self._torch_device.type == "cuda":
            torch.cuda.synchronize(self._torch_device)


def step_flop(kind: str, order: Order) -> Flop:
    """Count one step of an order from the config of the transformer that draws it."""
    dev = "schnell" not in order.model_id.lower()
    config, limit, token_px = _miniature(dev=dev) if kind == "miniature" else _full(dev=dev)
    canvas = canvas_for(order.width_px, order.height_px, token_px)
    image_tokens = (canvas.width_px // token_px) * (canvas.height_px // token_px)
    shape = TransformerShape.of_config(config)
    return flops.forward(shape, min(order.max_text_tokens, limit), image_tokens)


def _miniature(*, dev: bool) -> tuple[Mapping[str, Any], int, int]:
    """Return the miniature's config, how many tokens it reads, and the side of an image token in pixels."""
    with torch.device("meta"):
        config = architecture.transformer(guidance_embeds=dev).config
    return config, MAX_TEXT_TOKENS, 2 * architecture.SPATIAL_FACTOR


def _full(*, dev: bool) -> tuple[Mapping[str, Any], int, int]:
    return fullsize.TRANSFORMER | {"guidance_embeds": dev}, fullsize.MAX_TEXT_TOKENS, fullsize.TOKEN_PX
