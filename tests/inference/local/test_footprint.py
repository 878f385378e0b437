from dataclasses import replace

import pytest
import torch
from diffusers import FluxTransformer2DModel

from catalog.entries import shipped_entries
from inference import fullsize
from inference.local import footprint
from inference.local.footprint import adapted_weights, count_needs

META = torch.device("meta")
GB = 1e9


@pytest.fixture(scope="module")
def needs():
    return count_needs(shipped_entries())


class TestSizes:
    def test_parts_have_the_known_sizes(self, needs):
        """Each part is within one percent of its known gigabytes, in bf16 and in eight bits."""
        base, realism, _, schnell = needs
        assert realism.adapted is not None
        known_gb = {
            base.transformer: (23.8, 11.95),
            schnell.transformer: (23.8, 11.95),
            realism.adapted: (2.87, 1.43),
            base.t5: (9.52, 4.89),
        }
        for part, (bf16_gb, eight_bit_gb) in known_gb.items():
            assert part.bf16_bytes / GB == pytest.approx(bf16_gb, rel=0.01), part.name
            assert part.eight_bit_bytes / GB == pytest.approx(eight_bit_gb, rel=0.01), part.name

    def test_clip_and_the_vae_are_never_quantised(self, needs):
        """CLIP and the VAE, 0.41 GB together, have the same size in every precision."""
        parts = (needs[0].clip, needs[0].vae)
        assert sum(part.bf16_bytes for part in parts) / GB == pytest.approx(0.41, rel=0.01)
        assert all(part.eight_bit_bytes == part.bf16_bytes for part in parts)

    def test_the_realism_lora_adapts_an_eighth(self):
        """The variant owns 152 weights, 12.1 % of the transformer's parameters."""
        transformer = fullsize.transformer(META, guidance_embeds=True)
        names = adapted_weights(transformer)
        own = sum(transformer.get_parameter(name).numel() for name in names)
        assert len(set(names)) == 152
        assert own / fullsize.parameters(transformer) == pytest.approx(0.121, abs=0.001)


class TestCounting:
    def test_a_base_model_is_counted_once(self, monkeypatch):
        """However many entries use a base model or a variant, its tensors are counted once a precision."""
        footprint._base.cache_clear()
        footprint._adapted.cache_clear()
        counted = []
        real = footprint.tensor_bytes
        monkeypatch.setattr(
            footprint, "tensor_bytes", lambda model, **how: counted.append(model) or real(model, **how)
        )
        base, realism, hd, schnell = shipped_entries()
        count_needs([base, realism, hd, schnell, replace(base, key="another")])
        transformers = [model for model in counted if isinstance(model, FluxTransformer2DModel)]
        assert len(transformers) == 2 * (2 + 1)


class TestIdentity:
    def test_models_share_what_is_equal(self, needs):
        """All entries have one T5, one CLIP and one VAE; dev and schnell have transformers of their own."""
        assert len({(need.t5, need.clip, need.vae) for need in needs}) == 1
        assert len({need.transformer.digest for need in needs}) == 2
        assert len({need.adapted.digest for need in needs if need.adapted}) == 1

    def test_another_scale_is_another_variant(self):
        """An adapter at another scale is other weights, so it has another digest."""
        realism = shipped_entries()[1]
        assert realism.adapter is not None
        weaker = replace(realism, adapter=replace(realism.adapter, scale=0.5))
        first, second = count_needs([realism, weaker])
        assert first.adapted is not None
        assert second.adapted is not None
        assert first.adapted.digest != second.adapted.digest
        assert first.transformer == second.transformer
