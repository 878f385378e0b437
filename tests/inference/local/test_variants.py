from copy import deepcopy

import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import load_file, save_file

from inference import fullsize
from inference.local.adapters import read_adapter
from inference.local.variants import fuse, variant_of
from inference.weights.locations import ADAPTER_FILE, DEV

SCALE = 0.9


@pytest.fixture(scope="module")
def pipeline(miniature):
    pipeline = FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def base(pipeline):
    return pipeline.transformer


@pytest.fixture(scope="module")
def checked(miniature, base):
    return read_adapter(miniature / ADAPTER_FILE, "XLabs-AI/flux-RealismLora", base)


@pytest.fixture(scope="module")
def variant(base, checked):
    return variant_of(base, fuse(base, checked, SCALE))


@pytest.fixture
def attached(miniature, pipeline):
    """A pipeline with a copy of the base's transformer, and the adapter attached by peft."""
    other = FluxPipeline(**pipeline.components | {"transformer": deepcopy(pipeline.transformer)})
    other.set_progress_bar_config(disable=True)
    other.load_lora_weights(load_file(miniature / ADAPTER_FILE), adapter_name="lora")
    other.set_adapters(["lora"], [SCALE])
    return other


def latents(pipeline, transformer, steps=28):
    """Draw with a transformer in place of the pipeline's own."""
    drawing = FluxPipeline(**pipeline.components | {"transformer": transformer})
    drawing.set_progress_bar_config(disable=True)
    return drawing(
        "portrait of an old man",
        width=512,
        height=512,
        num_inference_steps=steps,
        max_sequence_length=64,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    ).images


def own_bytes(variant, base):
    """Return the bytes of a variant's tensors that are not the base's, and of all its tensors."""
    shared = {id(tensor) for tensor in base.parameters()}
    sizes = [(id(tensor) in shared, tensor.nbytes) for tensor in variant.parameters()]
    return sum(size for is_shared, size in sizes if not is_shared), sum(size for _, size in sizes)


class TestVariant:
    def test_only_adapted_weights_are_its_own(self, variant, base, checked):
        """All tensors but the adapted weights are the same objects as the base's, and no module is."""
        tensors = dict(base.named_parameters()) | dict(base.named_buffers())
        own = {
            name
            for name, tensor in (*variant.named_parameters(), *variant.named_buffers())
            if tensor is not tensors[name]
        }
        assert own == {f"{module}.weight" for module in checked.modules}
        assert not {id(module) for module in variant.modules()} & {id(module) for module in base.modules()}

    def test_the_share_at_full_size(self, tmp_path):
        """At full size, 12.1 % of the variant is its own: 2.87 GB in bfloat16."""
        base = fullsize.transformer(torch.device("meta"), guidance_embeds=True)
        values = {
            key: torch.full(shape, 0.01, dtype=torch.bfloat16)
            for key, shape in fullsize.lora_shapes().items()
        }
        save_file(values, tmp_path / "lora.safetensors")
        checked = read_adapter(tmp_path / "lora.safetensors", "an/adapter", base)
        own, whole = own_bytes(variant_of(base, fuse(base, checked, SCALE)), base)
        assert 100 * own / whole == pytest.approx(12.1, abs=0.1)
        assert own / 1e9 == pytest.approx(2.87, abs=0.005)

    def test_it_draws_as_diffusers_fuses(self, pipeline, variant, attached):
        """In float32 its latents equal those of diffusers' fuse_lora, bit for bit."""
        attached.fuse_lora(components=["transformer"])
        fused = latents(pipeline, attached.transformer)
        assert torch.equal(latents(pipeline, variant), fused)

    def test_it_draws_as_peft_attaches(self, pipeline, variant, attached):
        """After 28 steps its latents differ from those of attached layers by 1e-5 of the largest at most."""
        expected = latents(pipeline, attached.transformer)
        difference = (latents(pipeline, variant) - expected).abs().max()
        assert difference <= 1e-5 * expected.abs().max()
        assert difference < (latents(pipeline, pipeline.transformer) - expected).abs().max() / 1000

    def test_the_base_stays(self, pipeline, base, checked):
        """Making a variant and drawing with it changes no bit of what the base draws."""
        before = latents(pipeline, base, steps=4)
        latents(pipeline, variant_of(base, fuse(base, checked, SCALE)), steps=4)
        assert torch.equal(latents(pipeline, base, steps=4), before)


class TestFuse:
    def test_it_is_summed_in_float32(self, base, checked):
        """A weight in bfloat16 is rounded once, after the sum."""
        half = deepcopy(base).to(torch.bfloat16)
        name, low_rank = next(iter(checked.modules.items()))
        weight = half.get_submodule(name).weight
        exact = weight.double() + SCALE * low_rank.up.double() @ low_rank.down.double()
        fused = fuse(half, checked, SCALE)[name]
        assert fused.dtype is torch.bfloat16
        assert (
            fused != exact.float().to(torch.bfloat16)
        ).float().mean() < 1e-3  # ties of the last bit of float32
