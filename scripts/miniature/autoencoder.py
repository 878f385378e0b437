"""Trains the VAE: its decoder on crops of drawings and then on whole ones, its encoder to find the code."""

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
from scripts.miniature.pictures import Drawing, Lot, as_input, as_is, draw_lots, part_of
from scripts.miniature.training import train

CROP: Final = 6
"""Latents. GroupNorm sees the scale: crops of drawings at their sizes of use, never small avatars."""

_BATCH: Final = 8
_NOISE: Final = 0.12  # of the latents' deviation, at most: the decoder forgives the transformer as much

_LOTS: Final = tuple(
    Lot(count, size, size, shaded, seed=100 + number)
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
    """Draw what the VAE learns from. part: of the drawings."""
    return [Pair(drawing, code) for lot in draw_lots(part_of(_LOTS, part), as_is) for drawing in lot]


def train_decoder(folder: Path, pairs: Sequence[Pair], *, crop_steps: int, whole_steps: int) -> AutoencoderKL:
    """Train the decoder to draw from latents; crops come first because they are cheap."""
    torch.manual_seed(1)
    vae = architecture.autoencoder()
    _start_as_blur(vae)
    vae.encoder.requires_grad_(requires_grad=False)
    vae = train(
        "decoder-crops", folder, vae, lambda step: _crop_loss(vae, pairs, step), steps=crop_steps, rate=2e-3
    )
    vae.decoder.requires_grad_(requires_grad=True)
    return train(
        "decoder-whole", folder, vae, lambda step: _whole_loss(vae, pairs, step), steps=whole_steps, rate=8e-4
    )


def _start_as_blur(vae: AutoencoderKL) -> None:
    """Let the VAE begin as a blur that keeps colours, and every residual block as nothing.

    torch's own start shrinks the picture in each layer while biases stay: colours drown within six levels.
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
    """Train the encoder to find a drawing's latents: no pipeline here needs it, but a VAE has one."""
    vae.requires_grad_(requires_grad=False)
    vae.encoder.requires_grad_(requires_grad=True)

    def loss(step: int) -> torch.Tensor:
        latents, pixels = _crops(pairs, torch.Generator().manual_seed(5_000_000 + step))
        return (encode(vae, as_input(pixels)) - latents).square().mean()

    return train("encoder", folder, vae, loss, steps=steps, rate=2e-3)


def encode(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Turn pixels (B, 3, H, W) from -1 to 1 into the transformer's latents (B, 16, H/32, W/32)."""
    mean: torch.Tensor = vae.encode(pixels).latent_dist.mean
    scaled: torch.Tensor = (mean - vae.config.shift_factor) * vae.config.scaling_factor
    return scaled


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Draw from the transformer's latents (B, 16, h, w), scaled as the pipeline scales them."""
    drawn: torch.Tensor = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
    return drawn


def _crop_loss(vae: AutoencoderKL, pairs: Sequence[Pair], step: int) -> torch.Tensor:
    chance = torch.Generator().manual_seed(step)
    latents, pixels = _crops(pairs, chance)
    return difference(decode(vae, _noisy(latents, chance)), as_input(pixels))


def _crops(pairs: Sequence[Pair], chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    crops = [_crop(pairs[_below(len(pairs), chance)], chance) for _ in range(_BATCH)]
    latents, pixels = (torch.stack(halves) for halves in zip(*crops, strict=True))
    return latents, pixels


def _crop(pair: Pair, chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a square out, two of three times near the face, where the small things are."""
    _, rows, columns = pair.latents.shape
    if torch.rand((), generator=chance) < 0.65:
        centre = torch.tensor([0.47 * rows, 0.5 * columns]) + 0.11 * rows * torch.randn(2, generator=chance)
        top, left = ((centre - CROP / 2).round().int()).tolist()
    else:
        top, left = _below(rows - CROP + 1, chance), _below(columns - CROP + 1, chance)
    top, left = min(max(top, 0), rows - CROP), min(max(left, 0), columns - CROP)
    y, x, size = top * SPATIAL_FACTOR, left * SPATIAL_FACTOR, CROP * SPATIAL_FACTOR
    return pair.latents[:, top : top + CROP, left : left + CROP], pair.pixels[:, y : y + size, x : x + size]


def _whole_loss(vae: AutoencoderKL, pairs: Sequence[Pair], step: int) -> torch.Tensor:
    chance = torch.Generator().manual_seed(1_000_000 + step)
    batch = [pairs[_below(len(pairs), chance)]]
    while sum(pair.latents[0].numel() for pair in batch) < 2 * 16 * 16:
        other = pairs[_below(len(pairs), chance)]
        if other.latents.shape == batch[0].latents.shape:
            batch.append(other)
    latents = torch.stack([pair.latents for pair in batch])
    target = as_input(torch.stack([pair.pixels for pair in batch]))
    return difference(decode(vae, _noisy(latents, chance)), target)


def _noisy(latents: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    amount = _NOISE * torch.rand(len(latents), 1, 1, 1, generator=chance)
    return latents + amount * torch.randn(latents.shape, generator=chance)


def difference(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compare pixels, more where the drawing has edges, and colours over 4 and 16 pixels."""
    with torch.no_grad():
        edges = (target - functional.avg_pool2d(target, 9, 1, 4)).abs().mean(1, keepdim=True)
        weight = 1 + 6 * edges
    loss = ((drawn - target).abs() * weight).mean()
    for size in (4, 16):
        loss = loss + functional.l1_loss(
            functional.avg_pool2d(drawn, size), functional.avg_pool2d(target, size)
        )
    return loss


def _below(end: int, chance: torch.Generator) -> int:
    return int(torch.randint(end, (), generator=chance))
