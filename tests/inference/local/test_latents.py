import torch
from diffusers import FluxPipeline

from inference.local.latents import image_ids, noise, pack, unpack

ROWS, COLUMNS, CHANNELS = 3, 5, 16


class TestPack:
    def test_as_the_pipeline_does(self):
        """Packed latents and their positions equal those of diffusers, and unpacking returns the latents."""
        latents = torch.randn(2, CHANNELS, 2 * ROWS, 2 * COLUMNS)
        packed = pack(latents)
        theirs = FluxPipeline._pack_latents(latents, 2, CHANNELS, 2 * ROWS, 2 * COLUMNS)
        ids = FluxPipeline._prepare_latent_image_ids(2, ROWS, COLUMNS, "cpu", torch.float32)
        assert packed.shape == (2, ROWS * COLUMNS, 4 * CHANNELS)
        assert torch.equal(packed, theirs)
        assert torch.equal(image_ids(ROWS, COLUMNS), ids)
        assert torch.equal(unpack(packed, ROWS, COLUMNS), latents)


class TestNoise:
    def test_a_row_depends_on_its_seed_alone(self):
        """Each row of a batch has the noise that its seed has alone, in each number format."""
        for dtype in (torch.float32, torch.bfloat16):
            batch = noise([7, 8, 7], CHANNELS, ROWS, COLUMNS, dtype)
            [alone] = noise([8], CHANNELS, ROWS, COLUMNS, dtype)
            assert batch.dtype is dtype
            assert torch.equal(batch[1], alone)
            assert torch.equal(batch[0], batch[2])
            assert not torch.equal(batch[0], batch[1])
