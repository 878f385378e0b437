"""The profiles of drawing: how much of the exact computation each gives up for speed."""

from enum import StrEnum
from typing import Final

import torch

from inference.errors import DeviceUnfit
from inference.local.devices import AUTO, Offload


class Profile(StrEnum):
    """How an image is computed. Each profile but `exact` is the one before it, and one thing more."""

    EXACT = "exact"  # eager, one image at a time: equal to diffusers' pipeline, bit for bit
    FAST = "fast"  # compiled, with what is equal at every step computed once: equal up to rounding
    TURBO = "turbo"  # the blocks' matrices have eight bits
    DRAFT = "draft"  # dev computes about half of its steps, and extrapolates the others

    @property
    def hoists(self) -> bool:
        """Whether blocks are compiled and what is equal at every step is computed before the first."""
        return self is not Profile.EXACT

    @property
    def batches(self) -> bool:
        """Whether several images may be drawn together: a row of a batch differs from the row alone."""
        return self is not Profile.EXACT

    @property
    def quantises(self) -> bool:
        """Whether the blocks' matrices have eight bits."""
        return self in (Profile.TURBO, Profile.DRAFT)


CUDNN: Final = "_native_cudnn"
NATIVE: Final = "native"
_CUDNN_IS_FASTEST: Final = ((9, 0), (10, 0))  # Hopper and Blackwell; elsewhere FlashAttention 2 is as fast


def wanted_eight_bit(name: str) -> bool | None:
    """Return whether a profile needs transformers in eight bits, or in 16; None: either will do."""
    return None if name == AUTO else Profile(name).quantises


def choose_profile(name: str, device: torch.device, offload: Offload, *, eight_bit: bool = False) -> Profile:
    """Return the named profile; for `auto` on CUDA the fastest that loses nothing more than the plan does.

    eight_bit: whether the plan has transformers in eight bits.

    Raises:
        DeviceUnfit: the profile needs all of a transformer on the device, and it is offloaded.

    """
    offloaded = offload in (Offload.MODEL, Offload.SEQUENTIAL) and device.type != "cpu"
    if name == AUTO:
        if device.type != "cuda" or offloaded:
            return Profile.EXACT
        return Profile.TURBO if eight_bit else Profile.FAST
    profile = Profile(name)
    if profile.hoists and offloaded:
        raise DeviceUnfit(str(device), f"DRAW_PROFILE={name} needs OFFLOAD=auto or none, and it is {offload}")
    return profile


def choose_attention(device: torch.device) -> str:
    """Return the name of diffusers' attention backend that is fastest on a device, of those in torch."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) in _CUDNN_IS_FASTEST:
        return CUDNN
    return NATIVE
