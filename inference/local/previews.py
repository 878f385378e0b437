"""Small pictures of latents that are not finished, by a linear map from their channels to a colour."""

from typing import Final, Self

import torch
from diffusers import AutoencoderKL
from diffusers.utils.torch_utils import get_module_execution_device
from PIL import Image

from inference.local.latents import unpack

SAMPLE_SIDE: Final = 16  # 256 latents determine 17 numbers of each colour of each pixel
SCALE: Final = 8  # of an image to its preview: FLUX.1's VAE has one latent for so many pixels a side

# Red, green and blue of each channel of FLUX.1's latents. Source: ComfyUI, latent_formats.py, class Flux.
FLUX: Final = (
    (-0.0346, 0.0244, 0.0681),
    (0.0034, 0.0210, 0.0687),
    (0.0275, -0.0668, -0.0433),
    (-0.0174, 0.0160, 0.0617),
    (0.0859, 0.0721, 0.0329),
    (0.0004, 0.0383, 0.0115),
    (0.0405, 0.0861, 0.0915),
    (-0.0236, -0.0185, -0.0259),
    (-0.0245, 0.0250, 0.1180),
    (0.1008, 0.0755, -0.0421),
    (-0.0515, 0.0201, 0.0011),
    (0.0428, -0.0012, -0.0036),
    (0.0817, 0.0765, 0.0749),
    (-0.1264, -0.0522, -0.1103),
    (-0.0280, -0.0881, -0.0499),
    (-0.1262, -0.0982, -0.0778),
)
FLUX_BIAS: Final = (-0.0329, -0.0718, -0.0851)


class Previewer:
    """Turns each latent into k by k pixels, so that the picture has an eighth of the image's width.

    factors: (C, 3, k, k), of each channel. bias: (3, k, k). Black is -1 and white is 1.
    """

    def __init__(self, factors: torch.Tensor, bias: torch.Tensor) -> None:
        self._factors = factors
        self._bias = bias

    @classmethod
    def of_flux(cls) -> Self:
        """Return the previewer of FLUX.1's own latents."""
        return cls(torch.tensor(FLUX)[..., None, None], torch.tensor(FLUX_BIAS)[..., None, None])

    @classmethod
    @torch.no_grad()
    def fitted(cls, vae: AutoencoderKL) -> Self:
        """Return the previewer that comes nearest to a decoder, by what it makes of random latents."""
        channels = vae.config.latent_channels
        shape = (1, channels, SAMPLE_SIDE, SAMPLE_SIDE)
        latents = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(0))
        scaled = latents / vae.config.scaling_factor + vae.config.shift_factor
        pixels = vae.decode(scaled.to(get_module_execution_device(vae), vae.dtype), return_dict=False)[0]
        side = pixels.shape[-1] // SAMPLE_SIDE // SCALE  # k
        colours = torch.nn.functional.avg_pool2d(pixels.float().cpu(), SCALE)  # (1, 3, k * N, k * N)
        patches = torch.nn.functional.unfold(colours, side, stride=side)[0].T  # (N * N, 3 * k * k)
        known = torch.cat([latents[0].flatten(1).T, torch.ones(SAMPLE_SIDE**2, 1)], dim=1)  # (N * N, C + 1)
        solution = torch.linalg.lstsq(known, patches).solution.reshape(channels + 1, 3, side, side)
        return cls(solution[:-1], solution[-1])

    @torch.no_grad()
    def picture(self, latents: torch.Tensor, rows: int, columns: int) -> Image.Image:
        """Return the picture (2 * k * rows, 2 * k * columns). latents: (T, 4 * C), T = rows * columns."""
        unpacked = unpack(latents[None].float().cpu(), rows, columns)[0]  # (C, 2 * rows, 2 * columns)
        colours = torch.einsum("chw,crij->hiwjr", unpacked, self._factors)
        colours = colours + self._bias.permute(1, 2, 0)[None, :, None]  # (2 * rows, k, 2 * columns, k, 3)
        levels = colours.nan_to_num().mul(127.5).add(127.5).round().clamp(0, 255)
        side = self._bias.shape[-1]
        shape = (2 * rows * side, 2 * columns * side, 3)
        return Image.fromarray(levels.to(torch.uint8).reshape(shape).numpy())
