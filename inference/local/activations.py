"""The memory that FLUX.1 takes beside its weights, found by running it on the meta device.

A forward pass on `meta` allocates the same tensors as on a GPU, without their memory. The transformer's
blocks free what they allocate, so the peak of one block of each kind is the peak of all of them.

Not known here: workspaces of cuDNN and of attention kernels, and what a compiled graph saves.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from inference import fullsize
from inference.local.parts import Activations, Line

_META: Final = torch.device("meta")
_SIDES_PX: Final = (512, 1536)
"""The smallest and the largest image of the catalogue: the line of all sizes goes through these points."""


def measure_activations() -> Activations:
    """Run T5, one block of each kind of FLUX.1-dev and the VAE's decoder on meta, at T5's longest prompt.

    schnell reads half as much text, so that its step takes a little less.
    """
    transformer = fullsize.transformer(_META, guidance_embeds=True, num_layers=1, num_single_layers=1)
    vae = fullsize.autoencoder(_META)
    small, large = _SIDES_PX
    return Activations(
        encode_bytes=encode_bytes(fullsize.t5(_META)),
        step=Line.through(
            (small**2, step_bytes(transformer, small)), (large**2, step_bytes(transformer, large))
        ),
        decode=Line.through((small**2, decode_bytes(vae, small)), (large**2, decode_bytes(vae, large))),
    )


def encode_bytes(t5: nn.Module) -> int:
    """Return the peak of T5 for one prompt of 512 tokens."""
    tokens = torch.zeros(1, fullsize.MAX_TEXT_TOKENS, dtype=torch.long, device=_META)
    return _peak(t5, input_ids=tokens)


def step_bytes(transformer: nn.Module, side_px: int, batch: int = 1) -> int:
    """Return the peak of one step of a batch of square images, each with 512 tokens of text."""
    tokens = (side_px // fullsize.TOKEN_PX) ** 2
    config = fullsize.TRANSFORMER
    return _peak(
        transformer,
        hidden_states=_bf16(batch, tokens, config["in_channels"]),
        encoder_hidden_states=_bf16(batch, fullsize.MAX_TEXT_TOKENS, config["joint_attention_dim"]),
        pooled_projections=_bf16(batch, config["pooled_projection_dim"]),
        timestep=_bf16(batch),
        guidance=_bf16(batch),
        txt_ids=_bf16(fullsize.MAX_TEXT_TOKENS, 3),
        img_ids=_bf16(tokens, 3),
    )


def decode_bytes(vae: Any, side_px: int) -> int:
    """Return the peak of decoding one square image."""
    latent_px = fullsize.TOKEN_PX // 2
    latents = _bf16(1, fullsize.AUTOENCODER["latent_channels"], side_px // latent_px, side_px // latent_px)
    with _watched(vae) as memory:
        vae.decode(latents)
    return memory.peak_bytes


def _bf16(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.bfloat16, device=_META)


def _peak(model: nn.Module, **inputs: torch.Tensor) -> int:
    with _watched(model) as memory:
        model(**inputs, return_dict=False)
    return memory.peak_bytes


class FusedAttention(TorchFunctionMode):
    """Makes attention allocate only its result, as the kernels of a GPU do.

    On meta torch would choose the plain formula, whose matrix of tokens by tokens is larger than all else.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace attention, and pass all else on."""
        del types
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            query = args[0] if args else kwargs["query"]
            return torch.empty_like(query)
        return func(*args, **kwargs)


class PeakMemory(TorchDispatchMode):
    """Adds up the bytes of all living tensors but a model's own, and keeps the largest sum."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated in torch 2.13
        own = (*model.parameters(), *model.buffers())
        self._weights = {_key(tensor.untyped_storage()) for tensor in own}
        self._living: dict[int, int] = {}
        self._bytes = 0
        self.peak_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count the tensors that it returns."""
        del types
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = _key(storage)
        if key in self._weights or key in self._living:  # a view
            return
        self._living[key] = storage.nbytes()
        self._bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._bytes)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self._bytes -= self._living.pop(key)


@contextmanager
def _watched(model: nn.Module) -> Iterator[PeakMemory]:
    """Measure the peak of a model in the body, without gradients and with fused attention."""
    with torch.no_grad(), FusedAttention(), PeakMemory(model) as memory:
        yield memory


def _key(storage: torch.UntypedStorage) -> int:
    return int(storage._cdata)  # noqa: SLF001 - the address of data is 0 on meta; torch itself compares this
