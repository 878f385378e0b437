"""Trains the VAE: the decoder on crops and then on whole drawings, the encoder to reproduce the code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional

from inference.miniature import architecture
from inference.miniature.architecture import SPATIAL_FACTOR
from scripts.miniature.code import Code
from scripts.miniature.pictures import Drawing, DrawingSet, as_input, as_is, draw_sets, part_of
from scripts.miniature.training import train

CROP: Final = 6
"""The side of a crop in latents. Crops keep the scale of real use, which GroupNorm depends on."""

_BATCH: Final = 8
_NOISE: Final = 0.12
"""The maximum, as a fraction of the latents' deviation: the decoder learns to tolerate such errors of the
transformer."""


_SETS: Final = tuple(
    DrawingSet(count, size, size, shaded, seed=100 + number)
    for number, (count, size, shaded) in enumerate(
        [
            (400, 512, False),
            (150, 768, False),
            (100, 1024, False),
            (300, 512, True),
            (120, 768, True),
            (80, 1024, True),
        ]
    )
)


class Pair:
    """A drawing and its latents."""

    def __init__(self, drawing: Drawing, code: Code) -> None:
        self.pixels, self.latents = drawing.pixels, code.encode(drawing.pixels)


def draw_pairs(code: Code, part: float) -> list[Pair]:
    """Draw the training data of the VAE. part: the fraction of the full number of drawings."""
    return [
        Pair(drawing, code) for drawings in draw_sets(part_of(_SETS, part), as_is) for drawing in drawings
    ]


def train_decoder(folder: Path, pairs: Sequence[Pair], *, crop_steps: int, whole_steps: int) -> AutoencoderKL:
    """Train the decoder, first on crops because they are cheap."""
    torch.manual_seed(1)
    vae = architecture.autoencoder()
    _initialise_as_blur(vae)
    vae.encoder.requires_grad_(requires_grad=False)
    vae = train(
        "decoder-crops", folder, vae, lambda step: _crop_loss(vae, pairs, step), steps=crop_steps, rate=2e-3
    )
    vae.decoder.requires_grad_(requires_grad=True)
    return train(
        "decoder-whole", folder, vae, lambda step: _whole_loss(vae, pairs, step), steps=whole_steps, rate=8e-4
    )


def _initialise_as_blur(vae: AutoencoderKL) -> None:
    """Initialise the VAE as a blur that keeps colours, and every residual block as zero.

    torch's default initialisation shrinks the signal in each layer but not the biases: after six levels the
    colours are lost.
    """
    blur = torch.tensor([1.0, 2.0, 1.0])
    blur = torch.outer(blur, blur) / 16
    for name, module in vae.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if name.endswith("conv2"):
            nn.init.zeros_(module.weight)
        elif not name.endswith("conv1"):
            mixing = torch.empty(module.out_channels, module.in_channels)
            nn.init.orthogonal_(mixing)
            kernel = blur if module.kernel_size == (3, 3) else torch.ones(1, 1)
            with torch.no_grad():
                module.weight.mul_(0.3).add_(mixing[..., None, None] * kernel)


def train_encoder(folder: Path, vae: AutoencoderKL, pairs: Sequence[Pair], *, steps: int) -> AutoencoderKL:
    """Train the encoder to find a drawing's latents: no pipeline here uses it, but a VAE has an encoder."""
    vae.requires_grad_(requires_grad=False)
    vae.encoder.requires_grad_(requires_grad=True)

    def loss(step: int) -> torch.Tensor:
        latents, pixels = _crops(pairs, torch.Generator().manual_seed(5_000_000 + step))
        return (encode(vae, as_input(pixels)) - latents).square().mean()

    return train("encoder", folder, vae, loss, steps=steps, rate=2e-3)


def encode(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Encode pixels (B, 3, H, W) from -1 to 1 as the transformer's latents (B, 16, H/32, W/32)."""
    mean: torch.Tensor = vae.encode(pixels).latent_dist.mean
    scaled: torch.Tensor = (mean - vae.config.shift_factor) * vae.config.scaling_factor
    return scaled


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Decode the transformer's latents (B, 16, h, w), scaled as the pipeline scales them."""
    drawn: torch.Tensor = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
    return drawn


def _crop_loss(vae: AutoencoderKL, pairs: Sequence[Pair], step: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(step)
    latents, pixels = _crops(pairs, rng)
    return difference(decode(vae, _noisy(latents, rng)), as_input(pixels))


def _crops(pairs: Sequence[Pair], rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    crops = [_crop(pairs[_random_below(len(pairs), rng)], rng) for _ in range(_BATCH)]
    latents, pixels = (torch.stack(tensors) for tensors in zip(*crops, strict=True))
    return latents, pixels


def _crop(pair: Pair, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut out a square; 65 % of the squares are near the face, which has the small details."""
    _, rows, columns = pair.latents.shape
    if torch.rand((), generator=rng) < 0.65:
        centre = torch.tensor([0.47 * rows, 0.5 * columns]) + 0.11 * rows * torch.randn(2, generator=rng)
        top, left = ((centre - CROP / 2).round().int()).tolist()
    else:
        top, left = _random_below(rows - CROP + 1, rng), _random_below(columns - CROP + 1, rng)
    top, left = min(max(top, 0), rows - CROP), min(max(left, 0), columns - CROP)
    y, x, size = top * SPATIAL_FACTOR, left * SPATIAL_FACTOR, CROP * SPATIAL_FACTOR
    return pair.latents[:, top : top + CROP, left : left + CROP], pair.pixels[:, y : y + size, x : x + size]


def _whole_loss(vae: AutoencoderKL, pairs: Sequence[Pair], step: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1_000_000 + step)
    batch = [pairs[_random_below(len(pairs), rng)]]
    while sum(pair.latents[0].numel() for pair in batch) < 2 * 16 * 16:
        other = pairs[_random_below(len(pairs), rng)]
        if other.latents.shape == batch[0].latents.shape:
            batch.append(other)
    latents = torch.stack([pair.latents for pair in batch])
    target = as_input(torch.stack([pair.pixels for pair in batch]))
    return difference(decode(vae, _noisy(latents, rng)), target)


def _noisy(latents: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    amount = _NOISE * torch.rand(len(latents), 1, 1, 1, generator=rng)
    return latents + amount * torch.randn(latents.shape, generator=rng)


def difference(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the L1 error of pixels, weighted towards edges, plus that of means over 4 and 16 pixels."""
    with torch.no_grad():
        edges = (target - functional.avg_pool2d(target, 9, 1, 4)).abs().mean(1, keepdim=True)
        weight = 1 + 6 * edges
    loss = ((drawn - target).abs() * weight).mean()
    for size in (4, 16):
        loss = loss + functional.l1_loss(
            functional.avg_pool2d(drawn, size), functional.avg_pool2d(target, size)
        )
    return loss


def _random_below(end: int, rng: torch.Generator) -> int:
    return int(torch.randint(end, (), generator=rng))
