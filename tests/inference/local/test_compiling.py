import random
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from catalog.entries import shipped_entries
from inference.errors import DeviceBroken
from inference.local import compiling
from inference.local.compiling import Compilation
from inference.local.denoising import Conditioning
from inference.local.engine import Engine
from inference.local.profiles import Profile
from inference.local.velocity import PlainVelocity
from inference.miniature import architecture
from inference.weights.locations import DEV, SCHNELL
from tests.inference.local import drawing
from tests.inference.local.drawing import CPU
from tests.server.uploads.mutations import DEEP

GRAPHS = 8
SIZES, BATCHES = 20 if DEEP else 8, (1, 2, 3, 4)


def counting():
    """Return a backend of torch.compile that runs eagerly and counts the graphs that it is given."""
    torch._dynamo.reset()
    return CompileCounter()


def fail(_model, _inputs):
    """Fail as a backend without a compiler does."""
    raise FileNotFoundError("no C compiler")


def inputs(transformer):
    """Return the schedule, the conditioning and the latents of one step of one image."""
    generator, config = torch.Generator().manual_seed(1), transformer.config

    def noise(*shape):
        return torch.randn(shape, generator=generator)

    conditioning = Conditioning(
        embeds=noise(1, 24, config.joint_attention_dim),
        pooled=noise(1, config.pooled_projection_dim),
        guidance=torch.tensor([3.5]),
        text_ids=torch.zeros(24, 3),
        image_ids=noise(40, 3),
    )
    return [(torch.tensor(0.5), torch.tensor(-0.1))], conditioning, noise(1, 40, config.in_channels)


@pytest.fixture
def logged(monkeypatch):
    """The events that are logged as warnings."""
    events = []
    log = type("Log", (), {"warning": lambda _, event, **fields: events.append((event, fields["error"]))})()
    monkeypatch.setattr(compiling, "log", log)
    return events


class TestCompile:
    @pytest.mark.timeout(600)  # on one core beside another process
    def test_nothing_compiles_after_the_warm_up(self, miniature, realism):
        """Eight graphs, made while loading, serve all sizes, batches, texts, models and variants."""
        counter = counting()
        engine = Engine(Profile.FAST, CPU, counter)
        residents = {}
        for model_id in (DEV, SCHNELL):
            residents[model_id] = drawing.load(miniature, model_id, engine)
            assert counter.frame_count == GRAPHS
        drawing.add(residents[DEV], miniature, realism)
        chance = random.Random(15)
        drawn = {(entry.model_id, entry.adapter) for entry in shipped_entries()}
        assert len(drawn) == 3
        with torch._dynamo.config.patch(error_on_recompile=True):
            for _ in range(SIZES):
                size_px = (32 * chance.randint(1, 12), 32 * chance.randint(1, 12))
                for batch in BATCHES:
                    for model_id, adapter in drawn:
                        resident = residents[model_id]
                        resident.switch(adapter)
                        tokens = chance.choice([8, 16, 33, 64])
                        drawing.latents(resident, batch=batch, size_px=size_px, steps=1, tokens=tokens)
        # A graph that is compiled anew raises, and what raises runs eagerly from then on.
        assert engine.provenance(residents[DEV].base) == "fast"
        assert counter.frame_count == GRAPHS

    @pytest.mark.deep
    @pytest.mark.skipif(
        not DEEP, reason="half a minute: make test-deep, and make containers compiles as well"
    )
    @pytest.mark.timeout(3600)
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Inductor calls what torch has deprecated
    def test_inductor(self, monkeypatch, tmp_path):
        """Compiled by Inductor, a transformer computes the same, up to rounding."""
        torch._dynamo.reset()
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
        plain = architecture.transformer(guidance_embeds=True).eval()
        compiled, engine = deepcopy(plain), Engine(Profile.FAST, CPU)
        engine.prepare(compiled)
        schedule, conditioning, latents = inputs(plain)
        with torch.no_grad():
            expected = PlainVelocity(plain, schedule, conditioning)(1, latents)
            found = engine.velocity(compiled, schedule, conditioning)(1, latents)
        assert engine.provenance(compiled) == "fast"
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not torch.equal(found, expected)  # else nothing was compiled


class TestFailure:
    def test_the_image_is_drawn_all_the_same(self, miniature, logged):
        """If compiling fails while loading, all models draw eagerly, and it is logged once."""
        torch._dynamo.reset()
        engine = Engine(Profile.FAST, CPU, fail)
        for model_id in (DEV, SCHNELL):
            resident = drawing.load(miniature, model_id, engine)
            expected = drawing.latents(drawing.load(miniature, model_id), steps=2)
            found = drawing.latents(resident, steps=2)
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
            assert engine.provenance(resident.base) == "fast-eager"
        [(event, error)] = logged
        assert event == "compile.failed"
        assert "no C compiler" in error

    def test_its_provenance_says_so(self, make_backend, order, monkeypatch, logged):
        """A backend whose compiler fails returns the picture, and its provenance has `-eager`."""
        torch._dynamo.reset()
        monkeypatch.setattr("inference.local.backend.Engine", partial(Engine, backend=fail))
        pictures = [
            make_backend(draw_profile=profile).generate(order, lambda _: None)
            for profile in ("exact", "fast")
        ]
        assert [picture.provenance.profile for picture in pictures] == ["exact", "fast-eager"]
        assert len(logged) == 1

    def test_a_later_failure_costs_no_image(self, miniature, logged, monkeypatch):
        """If a graph is wanted that cannot be compiled, the step is computed eagerly and the image drawn."""
        monkeypatch.setattr("inference.local.engine.WARM_BATCHES", (1,))
        engine = Engine(Profile.FAST, CPU, counting())
        resident = drawing.load(miniature, SCHNELL, engine)
        expected = drawing.latents(resident, steps=2)
        resident.base.requires_grad_(requires_grad=True)  # a guard of every graph
        with torch._dynamo.config.patch(error_on_recompile=True):
            found = drawing.latents(resident, steps=2)
        torch.testing.assert_close(found, expected)
        assert [event for event, _ in logged] == ["compile.failed"]


class TestGuard:
    @pytest.mark.parametrize(
        "error", [torch.OutOfMemoryError(), DeviceBroken("cuda", "gone"), KeyboardInterrupt()]
    )
    def test_other_errors_pass(self, error, logged):
        """Exhausted memory, and what is no compiler's error, is raised and changes nothing."""
        compilation = Compilation()

        def work():
            raise error

        with pytest.raises(type(error)):
            compilation.guard(work)
        assert (compilation.failed, logged) == (False, [])

    def test_exhausted_memory_is_no_failure_while_loading(self, logged):
        """In the first calls, where every error counts as a failure, exhausted memory does not."""
        compilation = Compilation()

        def exhaust():
            raise torch.OutOfMemoryError

        with pytest.raises(torch.OutOfMemoryError):
            compilation.warm_up(exhaust)
        assert not compilation.failed
