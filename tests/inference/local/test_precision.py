import pytest
import torch
from torch import nn

from inference import fullsize
from inference.local.precision import is_quantised, largest_layer_bytes, tensor_bytes

META = torch.device("meta")


@pytest.fixture(scope="module")
def transformer():
    return fullsize.transformer(META, guidance_embeds=True)


class TestRule:
    @pytest.mark.parametrize(
        ("name", "quantised"),
        [
            ("transformer_blocks.0.attn.to_q", True),
            ("single_transformer_blocks.37.proj_out", True),
            ("encoder.block.23.layer.1.DenseReluDense.wo", True),
            ("encoder.layers.0.mlp.fc1", False),  # CLIP's
            ("context_embedder", False),
            ("proj_out", False),
        ],
    )
    def test_blocks_alone(self, name, quantised):
        """The matrices of the blocks of the transformer and of T5 are quantised, and no others."""
        assert is_quantised(nn.Linear(32, 32), name) is quantised

    def test_kernels_need_multiples(self):
        """A matrix whose sides are no multiples of 16 stays as it is: no kernel multiplies it in fp8."""
        assert not is_quantised(nn.Linear(32, 24), "transformer_blocks.0.attn.to_q")
        assert not is_quantised(nn.LayerNorm(32), "transformer_blocks.0.norm")

    def test_nearly_all_is_quantised(self, transformer):
        """Of FLUX.1's transformer 99 % of the weights have eight bits."""
        modules = dict(transformer.named_modules())
        quantised = sum(
            module.weight.numel() for name, module in modules.items() if is_quantised(module, name)
        )
        assert quantised / fullsize.parameters(transformer) == pytest.approx(0.994, abs=0.001)


class TestCounts:
    def test_bf16_is_what_the_model_holds(self, transformer):
        """The sum of all tensors is the model's bytes in bf16, also where two names share a tensor."""
        own = sum(tensor.numel() * 2 for tensor in transformer.parameters())
        assert sum(tensor_bytes(transformer, eight_bit=False).values()) == own
        t5 = fullsize.t5(META)
        assert sum(tensor_bytes(t5, eight_bit=False).values()) == fullsize.parameters(t5) * 2

    def test_eight_bits_have_scales(self):
        """A quantised matrix takes a byte a value and four a row; its bias stays."""
        model = nn.Module()
        model.transformer_blocks = nn.ModuleList([nn.Linear(32, 48, dtype=torch.bfloat16)])
        assert tensor_bytes(model, eight_bit=True) == {
            "transformer_blocks.0.weight": 48 * 32 + 48 * 4,
            "transformer_blocks.0.bias": 48 * 2,
        }

    def test_the_largest_layer_of_t5_is_its_embedding(self):
        """T5's embedding, 32,128 vectors of 4096 in bf16, is larger than one of its blocks in eight bits."""
        assert largest_layer_bytes(fullsize.t5(META)) == 32_128 * 4096 * 2
