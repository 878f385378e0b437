import numpy as np
import torch
from diffusers import FluxPipeline

from inference.local.canvas import canvas_for
from inference.local.decoding import decode, to_image

DEV = "black-forest-labs/FLUX.1-dev"


class TestDecode:
    def test_half_precision_ends_at_the_vae(self, miniature):
        """What a VAE in bfloat16 draws is brought to 0 to 1 in float32, and nothing is rounded once more."""
        pipeline = FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.bfloat16)
        drawn, vae = [], pipeline.vae
        vae.decoder.register_forward_hook(lambda _module, _arguments, output: drawn.append(output))
        patch_px = 2 * pipeline.vae_scale_factor
        canvas = canvas_for(3 * patch_px, 2 * patch_px, patch_px)
        channels = pipeline.transformer.config.in_channels
        latents = torch.randn(1, 6, channels, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
        pixels = decode(pipeline, latents, canvas)
        assert pixels.dtype is torch.float32
        assert pixels.shape == (2 * patch_px, 3 * patch_px, 3)
        [output] = drawn
        expected = (output[0].double().permute(1, 2, 0) + 1) / 2
        assert torch.equal(pixels.double(), expected)


class TestToImage:
    def test_every_level(self):
        """Each level comes back as itself, and values beyond black or white become black or white."""
        levels = torch.arange(256).float().reshape(16, 16, 1).expand(16, 16, 3)
        assert np.array_equal(np.asarray(to_image(levels / 255)), levels.numpy().astype(np.uint8))
        beyond = torch.tensor([-0.5, 1.5]).reshape(1, 2, 1).expand(1, 2, 3)
        assert np.asarray(to_image(beyond)).tolist() == [[[0] * 3, [255] * 3]]
