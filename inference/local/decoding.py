"""Decodes latents, and converts pixels to 8-bit levels on the device, before they are copied to the host."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from diffusers import AutoencoderKL, FluxPipeline
from diffusers.utils.torch_utils import get_module_execution_device
from PIL import Image

from inference.errors import ImageNotFinite
from inference.local.canvas import Canvas
from inference.local.checks import check_pixels
from inference.local.devices import free_memory, is_out_of_memory
from inference.local.latents import unpack

log = logging.getLogger(__name__)


@torch.no_grad()
def decode(pipeline: FluxPipeline, latents: torch.Tensor, canvas: Canvas) -> torch.Tensor:
    """Decode the packed latents (1, T, 64) of a canvas to pixels (H, W, 3) in float32, on the VAE's device.

    Black is 0 and white is 1; the VAE may draw values beyond them.
    """
    vae, patch_px = pipeline.vae, 2 * pipeline.vae_scale_factor
    unpacked = unpack(latents, canvas.height_px // patch_px, canvas.width_px // patch_px)
    scaled = unpacked / vae.config.scaling_factor + vae.config.shift_factor
    scaled = scaled.to(get_module_execution_device(vae), vae.dtype)
    decoded: torch.Tensor = vae.decode(scaled, return_dict=False)[0]
    # float32 first: in bfloat16 a quarter of all levels would be one off.
    return decoded[0].float().mul(0.5).add(0.5).permute(1, 2, 0)  # (3, H, W) to (H, W, 3)


def decode_checked(
    pipeline: FluxPipeline, latents: torch.Tensor, canvas: Canvas, make_room: Callable[[], bool]
) -> torch.Tensor:
    """Decode finite latents as `decode` does, and check the pixels; if not finite, once more in float32.

    make_room: called if memory is exhausted; says whether there may be more now.

    Raises:
        ImageNotFinite, ImageFlat: the pixels are not a valid image.

    """
    pixels = _decode_somehow(pipeline, latents, canvas, make_room)
    try:
        check_pixels(pixels)
    except ImageNotFinite:
        log.warning("decode.not_finite: once more, with the VAE in float32")
    else:
        return pixels
    with _in_float32(pipeline.vae):
        pixels = _decode_somehow(pipeline, latents, canvas, make_room)
    check_pixels(pixels)
    return pixels


def _decode_somehow(
    pipeline: FluxPipeline, latents: torch.Tensor, canvas: Canvas, make_room: Callable[[], bool]
) -> torch.Tensor:
    """Decode the whole image; without memory for that, again with more room, then in tiles."""
    pixels = _unless_exhausted(lambda: decode(pipeline, latents, canvas))
    if pixels is None and make_room():
        log.warning("decode.exhausted: once more, without the other pipelines")
        pixels = _unless_exhausted(lambda: decode(pipeline, latents, canvas))
    if pixels is None:
        log.warning("decode.exhausted: once more, in tiles")
        latent_px = pipeline.vae_scale_factor
        with _in_tiles(pipeline.vae, max(canvas.width_px, canvas.height_px) // latent_px // 2, latent_px):
            pixels = decode(pipeline, latents, canvas)
    return pixels


def _unless_exhausted(work: Callable[[], torch.Tensor]) -> torch.Tensor | None:
    """Return what the work returns, or None if memory does not suffice for it."""
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler: inside it, the error's traceback would keep the tensors in memory.
    free_memory()
    return None


@contextmanager
def _in_tiles(vae: AutoencoderKL, side: int, latent_px: int) -> Iterator[None]:
    """Decode in overlapping squares of so many latents, whose seams are blended and may still be seen."""
    sides = vae.tile_latent_min_size, vae.tile_sample_min_size
    vae.enable_tiling()
    vae.tile_latent_min_size, vae.tile_sample_min_size = side, side * latent_px
    try:
        yield
    finally:
        vae.disable_tiling()
        vae.tile_latent_min_size, vae.tile_sample_min_size = sides


@contextmanager
def _in_float32(vae: AutoencoderKL) -> Iterator[None]:
    """Let the VAE compute in float32. Its weights are afterwards what they were, bit for bit."""
    dtype = vae.dtype
    try:
        vae.to(torch.float32)
        yield
    finally:
        vae.to(dtype)


def to_image(pixels: torch.Tensor) -> Image.Image:
    """Return the image of pixels (H, W, 3). Values below 0 become black, values above 1 white."""
    levels = pixels.clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(levels.cpu().numpy())
