"""FLUX.1's blocks at their real width, on a sequence short enough for a test."""

import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxSingleTransformerBlock, FluxTransformerBlock

from benchmark.blocks import Tokens, seen_flop, time_block, weights_gb
from benchmark.full_width import block_figures, size_figures
from inference import flops, fullsize

SHORT = Tokens(size_px=64, text=16, runs=1)


class TestBlocks:
    @pytest.mark.parametrize(
        ("name", "kind", "count"),
        [
            ("double", FluxTransformerBlock, flops.double_block),
            ("single", FluxSingleTransformerBlock, flops.single_block),
        ],
    )
    def test_the_counts_of_operations_agree(self, name, kind, count):
        """A block of real width runs on a CPU in bf16, and torch's count agrees with ours to 2 %."""
        counted = count(fullsize.WIDTH, SHORT.text + SHORT.image)
        timing = time_block(name, kind, counted, SHORT, torch.device("cpu"))
        assert timing.seen_flop == pytest.approx(timing.counted_flop, rel=0.02)
        assert timing.seconds > 0

    def test_the_default_precision_is_restored(self):
        """Making bf16 modules leaves torch's default dtype and device unchanged."""
        with fullsize.fresh(torch.device("meta")):
            assert torch.empty(1).dtype == torch.bfloat16
        assert torch.empty(1).dtype == torch.float32
        assert torch.empty(1).device.type == "cpu"


class TestSeen:
    def test_attention_is_counted_on_a_cpu(self):
        """Attention is counted with the CPU's kernel: two products of the sequence with itself."""
        heads = torch.randn(1, 2, 32, 64)
        seen = seen_flop(lambda: torch.nn.functional.scaled_dot_product_attention(heads, heads, heads))
        assert seen == 2 * 2 * 32 * 32 * (2 * 64)


class TestSizes:
    def test_weights_have_their_published_size(self):
        """FLUX.1-dev has 33.7 GB in bf16, and its transformer 23.8 GB."""
        sizes = weights_gb()
        assert sizes["transformer"] == pytest.approx(23.8, abs=0.05)
        assert sum(sizes.values()) == pytest.approx(33.7, abs=0.1)


class TestFigures:
    def test_a_larger_difference_misses_the_target(self):
        """A difference of 2 % between both counts meets the target, and 3 % misses it."""
        block = {"name": "double", "size_px": 64, "text_tokens": 16, "seconds": 2.0, "parameters": 5e6}
        for counted, met in ((102, True), (103, False)):
            figures = block_figures(block | {"counted_flop": counted, "seen_flop": 100})
            assert [figure.met for figure in figures if figure.unit == "%"] == [met]

    def test_memory_has_a_target(self):
        """Memory of more than 8 GiB misses the target."""
        (figure,) = size_figures({"peak_mib": 9000, "weights_gb": {}})
        assert not figure.met
