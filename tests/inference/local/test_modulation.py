from copy import deepcopy

import pytest
import torch

from inference.local.modulation import hoist, modulate
from inference.miniature import architecture

STEPS, BATCH, WIDTH = 5, 3, architecture.HEADS * architecture.HEAD_WIDTH


@pytest.fixture(scope="module", params=[True, False], ids=["dev", "schnell"])
def transformers(request):
    """A transformer with random weights and a hoisted copy of it, with or without a guidance embedding."""
    torch.manual_seed(1)
    plain = architecture.transformer(guidance_embeds=request.param).eval()
    hoisted = deepcopy(plain)
    hoist(hoisted)
    return plain, hoisted


def inputs(transformer):
    """Return the timesteps of all steps, the guidance or None, and the pooled prompts of three rows."""
    generator = torch.Generator().manual_seed(2)
    guidance = torch.tensor([3.5]) if transformer.config.guidance_embeds else None
    pooled = torch.randn(BATCH, architecture.CLIP_WIDTH, generator=generator)
    return torch.linspace(1, 0.1, STEPS), guidance, pooled


def embedded(transformer, step):
    """Return what diffusers gives to the norms at a step: (B, width)."""
    timesteps, guidance, pooled = inputs(transformer)
    scalars = [timesteps[step].expand(BATCH) * 1000]
    scalars += [] if guidance is None else [guidance.expand(BATCH) * 1000]
    return transformer.time_text_embed(*scalars, pooled)


class TestModulate:
    def test_it_has_a_tensor_for_each_block(self, transformers):
        """A double block has 12 widths for each step and row, a single block 3, and the last norm 2."""
        _, hoisted = transformers
        modulation = modulate(hoisted, *inputs(hoisted))
        assert [told.shape for told in modulation.double] == [
            (STEPS, BATCH, 12 * WIDTH)
        ] * architecture.DOUBLE_BLOCKS
        assert [told.shape for told in modulation.single] == [
            (STEPS, BATCH, 3 * WIDTH)
        ] * architecture.SINGLE_BLOCKS
        assert modulation.last.shape == (STEPS, BATCH, 2 * WIDTH)

    def test_norms_do_as_diffusers(self, transformers):
        """At each step and for each row, a norm that is told returns what diffusers' computes."""
        plain, hoisted = transformers
        hidden = torch.randn(BATCH, 7, WIDTH, generator=torch.Generator().manual_seed(3))
        modulation = modulate(hoisted, *inputs(hoisted))
        with torch.no_grad():
            for step in (0, STEPS - 1):
                told, emb = modulation.at(step), embedded(plain, step)
                for number, block in enumerate(hoisted.transformer_blocks):
                    theirs = plain.transformer_blocks[number]
                    for norm in ("norm1", "norm1_context"):
                        ours = getattr(block, norm)(hidden, emb=told.double[number])
                        torch.testing.assert_close(ours, getattr(theirs, norm)(hidden, emb=emb))
                for number, block in enumerate(hoisted.single_transformer_blocks):
                    theirs = plain.single_transformer_blocks[number]
                    ours = block.norm(hidden, emb=told.single[number])
                    torch.testing.assert_close(ours, theirs.norm(hidden, emb=emb))
                torch.testing.assert_close(
                    hoisted.norm_out(hidden, told.last), plain.norm_out(hidden, emb), rtol=1e-5, atol=1e-5
                )

    def test_rows_are_chosen(self, transformers):
        """The modulation of some rows is that of these rows alone."""
        _, hoisted = transformers
        timesteps, guidance, pooled = inputs(hoisted)
        some = modulate(hoisted, timesteps, guidance, pooled).at((slice(None), [2, 0]))
        alone = modulate(hoisted, timesteps, guidance, pooled[[2, 0]])
        torch.testing.assert_close(some.double, alone.double)
        torch.testing.assert_close(some.last, alone.last)


class TestHoist:
    def test_names_stay(self, transformers):
        """Every parameter keeps its name and value, so that adapters and quantisation find it."""
        plain, hoisted = transformers
        weights = dict(hoisted.named_parameters())
        assert weights.keys() == dict(plain.named_parameters()).keys()
        assert all(torch.equal(weights[name], weight) for name, weight in plain.named_parameters())
