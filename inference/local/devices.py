"""The device of the weights, their number format, their offloading, and the release of memory."""

import gc
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import torch

from inference.backend import Device
from inference.errors import DeviceUnfit

if TYPE_CHECKING:
    from diffusers import FluxPipeline

AUTO: Final = "auto"

# In errors that are not torch.OutOfMemoryError. Sources, in torch's repository: alloc_cpu.cpp,
# CUDAException.cpp (cudaErrorMemoryAllocation), driver_api.h, CUDABlas.cpp and cudnn/Exceptions.h.
_EXHAUSTED: Final = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


class Offload(StrEnum):
    """What stays in the host's memory until it is needed."""

    AUTO = "auto"  # what the plan for the card leaves there; without a plan, nothing
    NONE = "none"  # nothing: fastest, needs 34 GB in bf16
    MODEL = "model"  # whole models: only the transformer must fit, 24 GB
    SEQUENTIAL = "sequential"  # single layers: slow, but fits on nearly any device


def choose_device(name: str) -> torch.device:
    """Return the named device, or for `auto` the best one: CUDA, else Apple's MPS, else the CPU.

    Raises:
        DeviceUnfit: torch knows no device of this name.

    """
    if name != AUTO:
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise DeviceUnfit(name, "DEVICE must be auto, cpu, cuda, cuda:1 or mps") from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def require_fit(device: torch.device, *, full: bool) -> None:
    """Check that a device can draw: FLUX.1 if `full`, else the miniature.

    Raises:
        DeviceUnfit: it is no card that answers, or a CPU that is to draw FLUX.1.

    """
    if device.type != "cpu":
        cause = _failure_of(lambda: torch.zeros(1, device=device).add_(1).item())
        if cause is not None:
            raise DeviceUnfit(str(device), cause)
    elif full:
        cause = _failure_of(torch.cuda.init) or "DEVICE names the CPU"
        raise DeviceUnfit("cpu", f"FLUX.1 needs a card, and none can be used: {cause}")


def _failure_of(first_call: Callable[[], object]) -> str | None:
    """Return why a first call on a card fails, in its driver's words or in torch's; None if it does not."""
    try:
        first_call()
    except (AssertionError, NotImplementedError, RuntimeError, torch.cuda.DeferredCudaCallError) as error:
        # An AssertionError says that torch was built without CUDA.
        return str(error).partition("\n")[0]
    return None


def use(device: torch.device) -> None:
    """Make a CUDA device the current one: events and streams are created there by default."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def describe(device: torch.device) -> Device:
    """Return a device in words with its memory: a card's own, else what this process has of the machine's."""
    if device.type != "cuda":
        return Device(str(device), psutil.Process().memory_info().rss, psutil.virtual_memory().total)
    name = f"{device} {torch.cuda.get_device_name(device)}"
    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    except torch.AcceleratorError:  # a device that has failed says so when it is to draw
        return Device(name)
    return Device(name, total_bytes - free_bytes, total_bytes)


def choose_dtype(device: torch.device, *, full: bool) -> torch.dtype:
    """Return bfloat16 for the full model and for CUDA, float32 for the miniature elsewhere."""
    return torch.bfloat16 if full or device.type == "cuda" else torch.float32


def place(pipeline: "FluxPipeline", device: torch.device, offload: Offload) -> None:
    """Move a pipeline to its device, or enable offloading. May be called again."""
    if device.type == "cpu" or offload in (Offload.AUTO, Offload.NONE):
        pipeline.to(device)  # on a CPU there is no other memory to offload to
    elif offload is Offload.MODEL:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)


def free_memory() -> None:
    """Return unused memory to the device."""
    gc.collect()  # a pipeline's hooks and adapters refer back to it, so reference counting frees nothing
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that the device or the host has run out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _EXHAUSTED)


def is_device_broken(error: BaseException) -> bool:
    """Whether the process can use its device no longer, as after an illegal access to its memory."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


class StepThrottle:
    """Keeps the host at most one step ahead of a CUDA device, so that reported steps are really computed.

    The host queues kernels without waiting. Without this class it would report the last step while the device
    still computes the first. To wait for the previous step keeps the queue filled; to wait for the current
    step would empty it.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._previous: Any = None

    def step_queued(self) -> None:
        """Record a queued step, and wait for the previous one."""
        if not self._cuda:
            return
        # Blocking: waiting for it takes no core from the threads that store images and keep leases.
        queued = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # not annotated in torch 2.13
        queued.record()
        if self._previous is not None:
            self._previous.synchronize()
        self._previous = queued
