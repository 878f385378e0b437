"""Where the weights live, how wide their numbers are, and how their memory is given back."""

import gc
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from diffusers import FluxPipeline

AUTO: Final = "auto"


class Offload(StrEnum):
    """What waits in the host's memory until it is needed."""

    NONE = "none"  # nothing: fastest, 34 GB in bf16
    MODEL = "model"  # whole models: the transformer alone must fit, 24 GB
    SEQUENTIAL = "sequential"  # single layers: fits nearly anywhere, and is slow


def choose_device(name: str) -> torch.device:
    """Return the named device, or for `auto` the best one: CUDA, else Apple's MPS, else the CPU."""
    if name != AUTO:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_dtype(device: torch.device, *, full: bool) -> torch.dtype:
    """Return bfloat16 for the full model and for CUDA, float32 for the miniature elsewhere."""
    return torch.bfloat16 if full or device.type == "cuda" else torch.float32


def place(pipeline: "FluxPipeline", device: torch.device, offload: Offload) -> None:
    """Put a pipeline on its device, or arrange for its parts to come and go. May be called again."""
    if device.type == "cpu" or offload is Offload.NONE:
        pipeline.to(device)  # there is nowhere to offload from a CPU
    elif offload is Offload.MODEL:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)


def free_memory() -> None:
    """Return to the device what no pipeline uses any more."""
    gc.collect()  # a pipeline's hooks and adapters refer back to it: counting references frees nothing
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that the device's memory, or the host's, does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # Source: c10/core/impl/alloc_cpu.cpp, which throws a plain RuntimeError
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


class Pace:
    """Keeps the host at most one step ahead of a CUDA device, so that progress reported is progress made.

    Kernels are queued, not awaited: without this the last step would be reported while the first is still
    being computed. Waiting for the step before keeps the queue full; waiting for this one would drain it.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._previous: Any = None

    def step_queued(self) -> None:
        """Note a step that has been queued, and wait for the one before it."""
        if not self._cuda:
            return
        queued = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch 2.13 left it without annotations
        queued.record()
        if self._previous is not None:
            self._previous.synchronize()
        self._previous = queued
