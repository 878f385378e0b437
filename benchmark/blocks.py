"""Times one double and one single block of FLUX.1 at their real width in bfloat16, on any device.

FLUX.1 repeats these two kinds of block, so they show a machine's speed even where the whole does not fit.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from diffusers.models.transformers.transformer_flux import (
    FluxPosEmbed,
    FluxSingleTransformerBlock,
    FluxTransformerBlock,
)
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmark.memory import ProcessPeak
from inference import flops, fullsize
from inference.flops import Flop
from inference.local import devices

_MIB: Final = 2**20
_ROPE_THETA: Final = 10_000  # Source: diffusers 0.42, FluxTransformer2DModel


@dataclass(frozen=True)
class Tokens:
    """The length of the sequence, from the size of the image and the text, and the number of timed runs."""

    size_px: int
    text: int
    runs: int

    @property
    def image(self) -> int:
        """The number of image tokens."""
        return (self.size_px // fullsize.TOKEN_PX) ** 2


# A CPU without bfloat16 instructions takes a minute for a block that a GPU computes in a millisecond.
ON_CPU: Final = Tokens(size_px=256, text=128, runs=1)
ON_GPU: Final = Tokens(size_px=1024, text=fullsize.MAX_TEXT_TOKENS, runs=10)


@dataclass(frozen=True)
class BlockTiming:
    """The time of one block, and its operations: counted from the config and counted by torch as it runs."""

    name: str
    size_px: int
    text_tokens: int
    seconds: float
    counted_flop: int
    seen_flop: int
    parameters: int


def time_both(report: Callable[..., None]) -> None:
    """Time and report each block, then report the peak memory and the sizes of all FLUX.1 weights."""
    device = devices.choose_device(devices.AUTO)
    tokens = ON_CPU if device.type == "cpu" else ON_GPU
    width, peak = fullsize.WIDTH, ProcessPeak()
    total = tokens.text + tokens.image
    for name, kind, counted in (
        ("double", FluxTransformerBlock, flops.double_block(width, total)),
        ("single", FluxSingleTransformerBlock, flops.single_block(width, total)),
    ):
        report(block=asdict(time_block(name, kind, counted, tokens, device)))
    report(peak_mib=peak.mib(), weights_gb=weights_gb())


def time_block(
    name: str,
    kind: type[torch.nn.Module],
    counted: Flop,
    tokens: Tokens,
    device: torch.device,
) -> BlockTiming:
    """Make a block with random weights, count its operations with torch in one run, then time it."""
    heads, head_width = (fullsize.TRANSFORMER[key] for key in ("num_attention_heads", "attention_head_dim"))
    torch.manual_seed(1)
    with fullsize.fresh(device):
        block = kind(heads * head_width, heads, head_width).eval()
        inputs = _inputs(tokens, heads * head_width)
    seen = seen_flop(lambda: block(*inputs))
    seconds = [_timed(lambda: block(*inputs), device) for _ in range(tokens.runs)]
    return BlockTiming(
        name=name,
        size_px=tokens.size_px,
        text_tokens=tokens.text,
        seconds=statistics.median(seconds),
        counted_flop=counted.total,
        seen_flop=seen,
        parameters=fullsize.parameters(block),
    )


def seen_flop(run: Callable[[], object]) -> int:
    """Return the operations that torch counts while `run` runs, with any attention kernel."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001  # torch's own name
    # Source: torch 2.13 counts every attention kernel except the one for CPUs.
    mapping = {kernel: _attention_flop}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        run()
    return int(counter.get_total_flops())


def weights_gb() -> dict[str, float]:
    """Return the gigabytes of FLUX.1's parts in bfloat16, from their shapes on the meta device."""
    meta = torch.device("meta")
    parts: Sequence[tuple[str, torch.nn.Module]] = (
        ("transformer", fullsize.transformer(meta, guidance_embeds=True)),
        ("T5", fullsize.t5(meta)),
        ("CLIP", fullsize.clip(meta)),
        ("VAE", fullsize.autoencoder(meta)),
    )
    return {name: 2 * fullsize.parameters(part) / 1e9 for name, part in parts}  # two bytes each


def _inputs(tokens: Tokens, width: int) -> tuple[Any, ...]:
    """Return image (1, I, width), text (1, T, width), time (1, width) and both rotary tables (T + I, 128)."""
    rotary = FluxPosEmbed(_ROPE_THETA, list(fullsize.TRANSFORMER["axes_dims_rope"]))
    positions = torch.zeros(tokens.text + tokens.image, 3)
    image, text = torch.randn(1, tokens.image, width), torch.randn(1, tokens.text, width)
    return image, text, torch.randn(1, width), rotary(positions)


def _timed(run: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    with torch.no_grad():
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _attention_flop(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]  # untyped in torch 2.13
