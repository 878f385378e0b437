"""Variants of a base that torchao has quantised: how a card with less memory holds both."""

from copy import deepcopy

import pytest
import torch
from diffusers import FluxPipeline
from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

from inference.local.adapters import read_adapter
from inference.local.variants import fuse, variant_of
from inference.weights.locations import ADAPTER_FILE, DEV

FORMATS = {"int8": Int8WeightOnlyConfig(), "fp8": Float8WeightOnlyConfig()}


def velocity(transformer):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return transformer(
            hidden_states=torch.randn(1, 16, 64, generator=generator),
            timestep=torch.tensor([0.5]),
            guidance=torch.tensor([3.5]),
            pooled_projections=torch.randn(1, 128, generator=generator),
            encoder_hidden_states=torch.randn(1, 8, 128, generator=generator),
            txt_ids=torch.zeros(8, 3),
            img_ids=torch.zeros(16, 3),
            return_dict=False,
        )[0]


class TestQuantised:
    @pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
    def test_it_equals_a_quantised_full_copy(self, miniature, form):
        """Fused first and quantised alone, it equals a quantised whole copy, bit for bit."""
        base = FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.float32).transformer
        checked = read_adapter(miniature / ADAPTER_FILE, "a/lora", base)
        weights = fuse(base, checked, 0.9)
        whole = deepcopy(variant_of(base, weights))
        quantize_(whole, form)
        quantize_(base, form)
        before = velocity(base)
        variant = variant_of(base, weights)
        quantize_(variant, form, filter_fn=lambda _, name: name in weights)
        assert torch.equal(velocity(variant), velocity(whole))
        assert torch.equal(velocity(base), before)
        assert not torch.equal(velocity(variant), before)
        shared = {id(tensor) for tensor in base.parameters()}
        own = {name for name, tensor in variant.named_parameters() if id(tensor) not in shared}
        assert own == {f"{module}.weight" for module in weights}
