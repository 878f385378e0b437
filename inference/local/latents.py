"""The layout of latents: noise of a seed, packing of 2x2 patches into tokens, and positions of tokens."""

from collections.abc import Sequence

import torch
from diffusers.utils.torch_utils import randn_tensor


def noise(seeds: Sequence[int], channels: int, rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    """Return packed noise (B, rows * columns, 4 * channels) on the host, each row from its own seed.

    A seed gives the same noise on every device and in every batch.
    """
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    shape = (len(generators), channels, 2 * rows, 2 * columns)
    unpacked: torch.Tensor = randn_tensor(shape, generator=generators, dtype=dtype)
    return pack(unpacked)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Return latents (B, C, 2 * rows, 2 * columns) as tokens (B, rows * columns, 4 * C) of 2x2 patches."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, (height // 2) * (width // 2), 4 * channels)


def unpack(latents: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Return tokens (B, rows * columns, 4 * C) of 2x2 patches as latents (B, C, 2 * rows, 2 * columns)."""
    batch, _, channels = latents.shape
    patches = latents.reshape(batch, rows, columns, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, 2 * rows, 2 * columns)


def image_ids(rows: int, columns: int) -> torch.Tensor:
    """Return the positions (rows * columns, 3) of image tokens: 0, row and column. Text is at 0, 0, 0."""
    ids = torch.zeros(rows, columns, 3)
    ids[..., 1] = torch.arange(rows)[:, None]
    ids[..., 2] = torch.arange(columns)[None, :]
    return ids.flatten(0, 1)
