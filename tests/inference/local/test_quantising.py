import pytest
import torch
from diffusers import FluxPipeline

from inference.local.parts import Precision
from inference.local.precision import is_quantised, tensor_bytes
from inference.local.quantising import quantise
from inference.weights.locations import DEV

CPU = torch.device("cpu")


@pytest.fixture
def transformer(miniature):
    return FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.bfloat16).transformer


def quantised(model):
    return {
        name for name, module in model.named_modules() if hasattr(getattr(module, "weight", None), "qdata")
    }


def own_bytes(tensor):
    """Return the bytes of a tensor, or of the values and scales of a quantised one."""
    names = tensor.__tensor_flatten__()[0] if hasattr(tensor, "__tensor_flatten__") else ()
    return sum(getattr(tensor, name).nbytes for name in names) or tensor.nbytes


class TestQuantise:
    def test_it_follows_the_plan_s_rule(self, transformer):
        """The matrices that the plan counts with eight bits have them, and no other."""
        expected = {name for name, module in transformer.named_modules() if is_quantised(module, name)}
        quantise(transformer, Precision.INT8, CPU)
        assert quantised(transformer) == expected != set()

    def test_it_takes_the_planned_bytes(self, transformer):
        """A quantised model takes what the plan counts, within five percent: its scales are small, too."""
        planned = sum(tensor_bytes(transformer, eight_bit=True).values())
        quantise(transformer, Precision.INT8, CPU)
        assert sum(map(own_bytes, transformer.parameters())) == pytest.approx(planned, rel=0.05)

    def test_named_modules_alone(self, transformer):
        """If modules are named, these alone are quantised."""
        names = {"transformer_blocks.0.attn.to_q", "proj_out"}
        quantise(transformer, Precision.INT8, CPU, only=names)
        assert quantised(transformer) == {"transformer_blocks.0.attn.to_q"}

    def test_bf16_changes_nothing(self, transformer):
        """In bf16 every weight stays the same object."""
        before = list(map(id, transformer.parameters()))
        quantise(transformer, Precision.BF16, CPU)
        assert list(map(id, transformer.parameters())) == before
