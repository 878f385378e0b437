import sys

import pytest
import torch
from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, Int8WeightOnlyConfig, PerRow

from inference.errors import DeviceUnfit
from inference.local import quantising
from inference.local.precision import is_quantised
from inference.local.quantising import quantise, require_torchao
from inference.miniature import architecture

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def quantised(model):
    """Return the names of the modules whose weights torchao holds."""
    return {
        name.removesuffix(".weight")
        for name, weight in model.named_parameters()
        if type(weight).__module__.startswith("torchao")
    }


@pytest.fixture
def transformer():
    return architecture.transformer(guidance_embeds=True)


class TestQuantise:
    def test_the_plan_s_rule_chooses(self, transformer):
        """Exactly those matrices are quantised that the plan counts with eight bits."""
        expected = {name for name, module in transformer.named_modules() if is_quantised(module, name)}
        quantise(transformer, CPU)
        assert quantised(transformer) == expected
        assert "transformer_blocks.0.norm1.linear" in expected
        assert "norm_out.linear" not in expected

    def test_only_named_ones(self, transformer):
        """Of named modules, those are quantised that the rule allows."""
        quantise(transformer, CPU, {"proj_out", "transformer_blocks.0.attn.to_q"})
        assert quantised(transformer) == {"transformer_blocks.0.attn.to_q"}


class TestFormat:
    @pytest.mark.parametrize(
        ("capability", "expected"),
        [
            ((8, 6), Int8WeightOnlyConfig),
            ((8, 9), Float8DynamicActivationFloat8WeightConfig),
            ((9, 0), Float8DynamicActivationFloat8WeightConfig),
        ],
    )
    def test_fp8_where_cards_multiply_it(self, monkeypatch, capability, expected):
        """From compute capability 8.9 on both operands are fp8, scaled by row; below, weights are int8."""
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        config = quantising._format(CUDA)
        assert type(config) is expected
        if expected is Float8DynamicActivationFloat8WeightConfig:
            assert config.granularity == [PerRow(), PerRow()]

    def test_a_cpu_has_int8(self):
        """On a CPU weights are int8, so that the profiles can be tested there."""
        assert type(quantising._format(CPU)) is Int8WeightOnlyConfig


class TestRequireTorchao:
    def test_the_extra_is_named(self, monkeypatch):
        """Without torchao a sentence says what to install, and with it none."""
        require_torchao(CPU)
        monkeypatch.setitem(sys.modules, "torchao.quantization", None)
        with pytest.raises(DeviceUnfit, match=r"pip install 'avatar-creator\[turbo\]'"):
            require_torchao(CPU)
