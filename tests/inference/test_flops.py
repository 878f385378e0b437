"""The counted operations, compared with torch's own count and with known values of FLUX.1."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from inference import flops, fullsize
from inference.flops import TransformerShape
from inference.miniature import architecture


def counted_by_torch(transformer, text_tokens: int, image_tokens: int) -> int:
    """Run a forward pass and count its operations, with the plain attention kernel, which torch can count."""
    config, device, dtype = transformer.config, transformer.device, transformer.dtype

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    inputs = {
        "hidden_states": noise(1, image_tokens, config.in_channels),
        "encoder_hidden_states": noise(1, text_tokens, config.joint_attention_dim),
        "pooled_projections": noise(1, config.pooled_projection_dim),
        "timestep": torch.ones(1, device=device, dtype=dtype),
        "guidance": torch.ones(1, device=device, dtype=dtype) if config.guidance_embeds else None,
        "img_ids": torch.zeros(image_tokens, 3, device=device),
        "txt_ids": torch.zeros(text_tokens, 3, device=device),
    }
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        transformer(**inputs)
    return counter.get_total_flops()


class TestMiniature:
    @pytest.mark.parametrize("dev", [True, False])
    def test_whole_transformer(self, dev):
        """The count from the miniature's config equals torch's count of the whole transformer within 2 %."""
        transformer = architecture.transformer(guidance_embeds=dev).eval()
        counted = flops.forward(TransformerShape.of_config(transformer.config), 64, 144)
        assert counted.total == pytest.approx(counted_by_torch(transformer, 64, 144), rel=0.02)


class TestFullSize:
    @pytest.mark.parametrize(
        ("size_px", "linear", "attention"), [(512, 19.8, 1.7), (768, 36.4, 5.6), (1024, 59.5, 14.9)]
    )
    def test_known_values(self, size_px, linear, attention):
        """A forward pass of FLUX.1-dev has the known TFLOP in its linear layers and in attention."""
        shape = TransformerShape.of_config(fullsize.TRANSFORMER | {"guidance_embeds": True})
        counted = flops.forward(shape, fullsize.MAX_TEXT_TOKENS, (size_px // fullsize.TOKEN_PX) ** 2)
        # The source of these values rounds to one decimal and omits what is computed once per image.
        assert counted.linear / 1e12 == pytest.approx(linear, abs=0.1)
        assert counted.attention / 1e12 == pytest.approx(attention, abs=0.05)

    @pytest.mark.parametrize(("dev", "text_tokens"), [(True, 512), (False, 256)])
    def test_whole_transformer(self, dev, text_tokens):
        """The count from FLUX.1's config equals torch's count on the meta device within 0.1 %."""
        transformer = fullsize.transformer(torch.device("meta"), guidance_embeds=dev)
        counted = flops.forward(TransformerShape.of_config(transformer.config), text_tokens, 1024)
        assert counted.total == pytest.approx(counted_by_torch(transformer, text_tokens, 1024), rel=0.001)
