import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from diffusers import FluxPipeline

from inference.errors import ImageNotFinite
from inference.local.canvas import canvas_for
from inference.local.decoding import decode, decode_checked, to_image

DEV = "black-forest-labs/FLUX.1-dev"


@pytest.fixture
def pipeline(miniature):
    """A pipeline in bfloat16, which the test may damage."""
    return FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.bfloat16)


@pytest.fixture
def canvas(pipeline):
    patch_px = 2 * pipeline.vae_scale_factor
    return canvas_for(4 * patch_px, 4 * patch_px, patch_px)


@pytest.fixture
def latents(pipeline):
    shape = 1, 16, pipeline.transformer.config.in_channels
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)


def failing(pipeline, fails):
    """Let the decoder call `fails` with the number of each try; return the inputs of the tries."""
    inputs = []

    def before(_, arguments):
        inputs.append(arguments[0])
        fails(len(inputs))

    pipeline.vae.decoder.register_forward_pre_hook(before)
    return inputs


def exhaust(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


class TestExhaustion:
    def test_others_make_room(self, pipeline, latents, canvas, caplog):
        """If memory is exhausted, the whole image is decoded again with more room, and is the usual one."""
        usual = decode(pipeline, latents, canvas)
        room = []
        failing(pipeline, lambda number: exhaust() if number == 1 else None)
        pixels = decode_checked(pipeline, latents, canvas, lambda: room.append(1) or True)
        assert torch.equal(pixels, usual)
        assert room == [1]
        assert "without the other pipelines" in caplog.text

    def test_then_it_is_decoded_in_tiles(self, pipeline, latents, canvas, caplog):
        """If that does not suffice, this image is decoded in tiles, and the next one whole again."""
        whole = decode(pipeline, latents, canvas)
        inputs = failing(pipeline, lambda number: exhaust() if number < 3 else None)
        tiled = decode_checked(pipeline, latents, canvas, lambda: True)
        assert {tuple(each.shape[-2:]) for each in inputs[:2]} == {(8, 8)}
        assert max(max(each.shape[-2:]) for each in inputs[2:]) == 4
        assert tiled.shape == whole.shape
        assert 0 < (tiled - whole).abs().mean() < 0.1
        assert "in tiles" in caplog.text
        assert torch.equal(decode_checked(pipeline, latents, canvas, lambda: True), whole)

    def test_without_others_the_tiles_come_second(self, pipeline, latents, canvas):
        """If nothing makes room, the whole image is not tried twice."""
        inputs = failing(pipeline, lambda number: exhaust() if number == 1 else None)
        decode_checked(pipeline, latents, canvas, lambda: False)
        assert max(max(each.shape[-2:]) for each in inputs[1:]) == 4

    def test_tiles_may_be_too_large_as_well(self, pipeline, latents, canvas):
        """If memory does not suffice for a tile either, it is an error, and the next image is whole."""
        whole = decode(pipeline, latents, canvas)
        failing(pipeline, lambda number: exhaust() if number < 4 else None)
        with pytest.raises(torch.OutOfMemoryError):
            decode_checked(pipeline, latents, canvas, lambda: True)
        assert torch.equal(decode_checked(pipeline, latents, canvas, lambda: True), whole)
        assert not pipeline.vae.use_tiling


class TestNotFinite:
    @staticmethod
    def overflow_in_half(pipeline):
        """Let the decoder return infinity unless it computes in float32."""
        pipeline.vae.decoder.register_forward_hook(
            lambda _module, _inputs, output: output if output.dtype is torch.float32 else output * torch.inf
        )

    def test_it_is_decoded_in_float32(self, pipeline, latents, canvas, caplog):
        """Pixels that are not finite are decoded once more in float32; the VAE's weights stay the same."""
        before = {name: weight.clone() for name, weight in pipeline.vae.named_parameters()}
        self.overflow_in_half(pipeline)
        pixels = decode_checked(pipeline, latents, canvas, lambda: False)
        assert bool(torch.isfinite(pixels).all())
        assert "VAE in float32" in caplog.text
        assert pipeline.vae.dtype is torch.bfloat16
        assert all(torch.equal(weight, before[name]) for name, weight in pipeline.vae.named_parameters())

    def test_layers_may_be_offloaded(self, pipeline, latents, canvas):
        """It works with sequential offloading, whose weights are not in the modules."""
        self.overflow_in_half(pipeline)
        expected = decode_checked(pipeline, latents, canvas, lambda: False)
        cpu_offload(pipeline.vae, torch.device("cpu"))
        assert torch.equal(decode_checked(pipeline, latents, canvas, lambda: False), expected)

    def test_an_error_restores_the_vae(self, pipeline, latents, canvas):
        """If decoding in float32 fails, the VAE is in its own format again."""
        self.overflow_in_half(pipeline)
        failing(pipeline, lambda number: exhaust() if number > 1 else None)
        with pytest.raises(torch.OutOfMemoryError):
            decode_checked(pipeline, latents, canvas, lambda: False)
        assert pipeline.vae.dtype is torch.bfloat16

    def test_it_is_tried_once(self, pipeline, latents, canvas):
        """What is not finite in float32 either is an error after two decodings."""
        with torch.no_grad():
            pipeline.vae.decoder.conv_out.bias[0] = float("nan")
        inputs = failing(pipeline, lambda _: None)
        with pytest.raises(ImageNotFinite, match="decoded pixels"):
            decode_checked(pipeline, latents, canvas, lambda: True)
        assert [each.dtype for each in inputs] == [torch.bfloat16, torch.float32]


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
