"""Decodes latents, and converts pixels to 8-bit levels on the device, before they are copied to the host."""

import torch
from diffusers import FluxPipeline
from diffusers.utils.torch_utils import get_module_execution_device
from PIL import Image

from inference.local.canvas import Canvas
from inference.local.latents import unpack


@torch.no_grad()
def decode(pipeline: FluxPipeline, latents: torch.Tensor, canvas: Canvas) -> torch.Tensor:
    """Decode the packed latents (1, T, 64) of a canvas to pixels (H, W, 3) in float32, on the VAE's device.

    Black is 0 and white is 1; the VAE may draw values beyond them.
    """
    vae, patch_px = pipeline.vae, 2 * pipeline.vae_scale_factor
    unpacked = unpack(latents, canvas.height_px // patch_px, canvas.width_px // patch_px)
    scaled = unpacked / vae.config.scaling_factor + vae.config.shift_factor
    decoded: torch.Tensor = vae.decode(scaled.to(get_module_execution_device(vae)), return_dict=False)[0]
    # float32 first: in bfloat16 a quarter of all levels would be one off.
    return decoded[0].float().mul(0.5).add(0.5).permute(1, 2, 0)  # (3, H, W) to (H, W, 3)


def to_image(pixels: torch.Tensor) -> Image.Image:
    """Return the image of pixels (H, W, 3). Values below 0 become black, values above 1 white."""
    levels = pixels.clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(levels.cpu().numpy())
