from dataclasses import replace

import pytest
import torch

from inference.local.adapters import LowRank, read_adapter
from inference.local.engine import Engine
from inference.local.parts import Precision
from inference.local.profiles import Profile
from inference.local.quantising import quantise
from inference.local.variants import fuse, variant_of
from inference.weights.locations import ADAPTER_FILE, DEV, SCHNELL
from tests.inference.local import drawing
from tests.inference.local.drawing import CPU


def eager(model, _inputs):
    """Compile nothing: a backend of torch.compile."""
    return model.forward


@pytest.fixture
def make_engine(monkeypatch):
    """A function that makes an engine which does not compile: other tests do."""
    monkeypatch.setattr("inference.local.compiling.Compilation.compile", lambda *_: None)
    return lambda profile: Engine(profile, CPU)


class TestFast:
    @pytest.mark.parametrize(("model_id", "steps"), [(DEV, 28), (SCHNELL, 4)], ids=["dev", "schnell"])
    @pytest.mark.parametrize("batch", [1, 3])
    def test_hoisting_changes_nothing(self, miniature, make_engine, model_id, steps, batch):
        """In float32, latents after all steps differ from `exact` by 1e-5 of the largest at most."""
        expected = drawing.latents(drawing.load(miniature, model_id), steps=steps, batch=batch)
        resident = drawing.load(miniature, model_id, make_engine(Profile.FAST))
        difference = (drawing.latents(resident, steps=steps, batch=batch) - expected).abs().max()
        assert difference <= 1e-5 * expected.abs().max()

    def test_the_variant(self, miniature, make_engine, realism):
        """A variant draws as without hoisting, and the base after it what it drew before."""
        plain, hoisted = (
            drawing.load(miniature, DEV, engine) for engine in (None, make_engine(Profile.FAST))
        )
        base = drawing.latents(hoisted)
        for resident in (plain, hoisted):
            drawing.add(resident, miniature, realism)
            resident.switch(realism)
        expected, found = drawing.latents(plain), drawing.latents(hoisted)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
        hoisted.switch(None)
        assert torch.equal(drawing.latents(hoisted), base)

    def test_an_adapter_of_norms(self, miniature, make_engine):
        """An adapter may change the layers that compute the modulation, as kohya's do."""
        name = "transformer_blocks.0.norm1.linear"
        plain, hoisted = (
            drawing.load(miniature, DEV, engine) for engine in (None, make_engine(Profile.FAST))
        )
        checked = read_adapter(miniature / ADAPTER_FILE, "a/lora", plain.base)
        rows, columns = plain.base.get_submodule(name).weight.shape
        low_rank = LowRank(torch.full((4, columns), 0.02), torch.full((rows, 4), 0.02), 1.0)
        checked = replace(checked, modules={name: low_rank})
        base, drawn = drawing.latents(plain), []
        for resident in (plain, hoisted):
            variant = variant_of(resident.base, fuse(resident.base, checked, 1.0))
            resident.pipeline.register_modules(transformer=variant)
            drawn.append(drawing.latents(resident))
        assert (drawn[0] - drawn[1]).abs().max() <= 1e-5 * drawn[0].abs().max()
        assert (drawn[0] - base).abs().max() > 1e-3 * base.abs().max()

    def test_a_row_that_leaves(self, miniature, make_engine):
        """When the first of three rows is cancelled, the others are drawn as in a batch without it."""

        class Cancelled(Exception):
            pass

        def cancel(step, _):
            if step == 2:
                raise Cancelled

        engine = make_engine(Profile.DRAFT)
        resident = drawing.load(miniature, DEV, engine)
        rest = drawing.latents(resident, batch=3, steps=8, step_ended=cancel)
        whole = drawing.latents(resident, batch=3, steps=8)
        assert len(rest) == 2
        assert (rest - whole[1:]).abs().max() < 1e-4

    def test_what_steps_share_is_computed_once(self, miniature, make_engine):
        """The rotary tables, the modulation and the first layer of the text run once an image."""
        resident = drawing.load(miniature, DEV, make_engine(Profile.FAST))
        transformer, ran = resident.base, []
        for name in ("pos_embed", "time_text_embed", "context_embedder", "norm_out.linear", "proj_out"):
            transformer.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
        drawing.latents(resident, steps=3)
        assert sorted(ran) == sorted(
            ["pos_embed", "time_text_embed", "context_embedder", "norm_out.linear", *["proj_out"] * 3]
        )


class TestTurbo:
    def test_the_variant_is_fused_before_it_is_quantised(self, miniature, make_engine, realism):
        """Base and variant draw what whole transformers draw that were fused first and quantised then."""
        resident = drawing.load(miniature, DEV, make_engine(Profile.TURBO))
        base = drawing.latents(resident)
        drawing.add(resident, miniature, realism)
        resident.switch(realism)
        variant = drawing.latents(resident)

        whole = drawing.load(miniature, DEV)
        checked = read_adapter(miniature / ADAPTER_FILE, "a/lora", whole.base)
        fused = variant_of(whole.base, fuse(whole.base, checked, realism.scale))
        for expected, transformer in ((base, whole.base), (variant, fused)):
            engine = make_engine(Profile.TURBO)
            quantise(transformer, Precision.INT8, CPU)
            engine.prepare(transformer)
            resident.pipeline.register_modules(transformer=transformer)
            assert torch.equal(drawing.latents(resident), expected)
        assert (variant - base).abs().max() > 1e-2

    def test_it_is_near_exact(self, miniature, make_engine):
        """Eight bits change the latents, by less than a twentieth of their spread."""
        exact = drawing.latents(drawing.load(miniature, DEV), steps=8)
        turbo = drawing.latents(drawing.load(miniature, DEV, make_engine(Profile.TURBO)), steps=8)
        assert 0 < (turbo - exact).std() < 0.05 * exact.std()


class TestDraft:
    @pytest.mark.parametrize(
        ("model_id", "computed", "profile"),
        [(DEV, 6, "draft"), (SCHNELL, 8, "turbo")],
        ids=["dev", "schnell"],
    )
    def test_only_dev_leaves_out_steps(self, miniature, make_engine, model_id, computed, profile):
        """Of eight steps dev computes six and schnell all, and the provenance says so."""
        engine = make_engine(Profile.DRAFT)
        resident = drawing.load(miniature, model_id, engine)
        ran = []
        resident.base.proj_out.register_forward_hook(lambda *_: ran.append(1))
        drawing.latents(resident, steps=8)
        assert len(ran) == computed
        assert engine.provenance(resident.base) == profile

    def test_it_repeats(self, miniature, make_engine):
        """The same order twice gives the same latents, bit for bit, whatever was drawn between."""
        resident = drawing.load(miniature, DEV, make_engine(Profile.DRAFT))
        first = drawing.latents(resident, steps=8)
        drawing.latents(resident, steps=5, batch=2)
        assert torch.equal(drawing.latents(resident, steps=8), first)
