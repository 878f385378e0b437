"""The backend follows a plan. The CPU stands in for a card: what lies there is a second set of tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import load_file
from torch._dynamo.testing import CompileCounter

from inference.errors import DeviceUnfit
from inference.local import backend as backend_module
from inference.local import placement
from inference.local.arrangements import ARRANGEMENTS
from inference.local.backend import LocalBackend, LocalConfig
from inference.local.cards import Card, Host
from inference.local.engine import Engine
from inference.local.parts import Place, Precision
from inference.local.placement import Planned, plan_for
from inference.local.profiles import Profile
from inference.local.quantising import quantise
from inference.weights.locations import ADAPTER_FILE, DEV, SCHNELL
from tests.inference.local.miniature_plan import BASE, ENTRIES, FAST, REALISM, count_needs, plan_of
from tests.inference.local.walk import DevicePeak

CPU, META = torch.device("cpu"), torch.device("meta")
BF16, _, INT8 = Precision


@pytest.fixture(scope="module")
def needs(miniature):
    return count_needs(miniature)


@pytest.fixture(scope="module")
def one_model(needs):
    """A plan in 16 bits for a card that holds dev with its variant, and no more."""
    base, realism, _ = needs
    parts = (base.t5, base.clip, base.vae, base.transformer, realism.adapted)
    return plan_of(needs, sum(part.bf16_bytes for part in parts), eight_bit=False)


@pytest.fixture(scope="module")
def streaming(needs):
    """A plan in int8 for a card that holds one model and streams T5.

    No card streams the miniature's T5 by itself: its largest layer is more than half of it.
    """
    base, realism, _ = needs
    parts = (base.t5, base.clip, base.vae, base.transformer, realism.adapted)
    plan = plan_of(needs, sum(part.eight_bit_bytes for part in parts))
    assert plan.arrangement == ARRANGEMENTS[-2]
    assert plan.precisions == (INT8, INT8)
    return replace(plan, arrangement=ARRANGEMENTS[-1])


@pytest.fixture
def make_planned(make_backend):
    """A function that makes a backend of the miniature that follows a plan."""

    def make(plan, device=CPU):
        backend = make_backend(device=str(device))
        backend._placement = Planned(plan, device)
        backend._residents._limit = backend._placement.limit_bytes
        return backend

    return make


@pytest.fixture
def orders(order_of):
    """Short orders of base, realism and schnell, by entry."""
    return {
        entry: order_of(entry, width_px=512, height_px=512, steps=2, max_text_tokens=64) for entry in ENTRIES
    }


def draw(backend, order):
    return np.asarray(backend.generate(order, lambda _: None).image)


def resident_of(backend, entry):
    return (
        backend._residents.get((entry.model_id, entry.revision))
        or backend._waiting[entry.model_id, entry.revision]
    )


class TestOneModelCard:
    TURNS = (BASE, FAST, REALISM, FAST, BASE, REALISM, FAST)

    def test_dev_and_schnell_alternate(self, make_planned, make_backend, one_model, orders):
        """On a card for one model dev and schnell take turns, none fails, each draws what it draws alone."""
        planned, plain = make_planned(one_model), make_backend()
        alone = {entry: draw(plain, order) for entry, order in orders.items()}
        for entry in self.TURNS:
            assert np.array_equal(draw(planned, orders[entry]), alone[entry])
            assert planned.resident == {entry.model_id}

    def test_shared_parts_are_the_same_objects(self, make_planned, one_model, orders):
        """T5, CLIP and the VAE of both are in memory once, and stay the same through the swaps."""
        backend, seen = make_planned(one_model), set()
        for entry in self.TURNS:
            draw(backend, orders[entry])
            pipeline = resident_of(backend, entry).pipeline
            seen.add((id(pipeline.text_encoder), id(pipeline.text_encoder_2), id(pipeline.vae)))
        assert len(seen) == 1

    def test_a_swap_loads_nothing(self, make_planned, one_model, orders, monkeypatch):
        """Each model is read from the disk once, and quantised and pinned once."""
        backend, loads = make_planned(one_model), []
        real = backend_module.load_pipeline
        monkeypatch.setattr(
            backend_module, "load_pipeline", lambda *args: loads.append(args[0]) or real(*args)
        )
        for entry in self.TURNS:
            draw(backend, orders[entry])
        assert loads == [DEV, SCHNELL]

    @pytest.mark.timeout(600)  # on one core beside another process
    def test_a_swap_compiles_nothing(self, make_planned, one_model, orders, monkeypatch):
        """Compiled blocks take the copies of a swap, and of a variant's own weights, without a new graph."""
        backend, counter = make_planned(one_model), CompileCounter()
        torch._dynamo.reset()
        monkeypatch.setattr("inference.local.engine.WARM_BATCHES", (1,))
        backend._engine = Engine(Profile.FAST, CPU, counter)
        for entry in (REALISM, FAST):
            draw(backend, orders[entry])
        graphs = counter.frame_count
        with torch._dynamo.config.patch(error_on_recompile=True):
            for entry in (BASE, REALISM):
                assert backend.generate(orders[entry], lambda _: None).provenance.profile == "fast"
        assert counter.frame_count == graphs > 0

    def test_nothing_is_copied_back(self, make_planned, one_model, orders):
        """The weights on the host are the same tensors before and after swaps: none was written."""
        backend = make_planned(one_model)
        for entry in (REALISM, FAST):
            draw(backend, orders[entry])

        def on_host():
            dev = resident_of(backend, BASE)
            dev.leave()
            return [(weight, weight._version) for weight in dev.base.parameters()]

        before = on_host()
        for entry in (BASE, FAST, REALISM, FAST):
            draw(backend, orders[entry])
        for (weight, version), (same, same_version) in zip(before, on_host(), strict=True):
            assert weight is same
            assert version == same_version

    def test_the_device_never_holds_more_than_the_budget(self, make_planned, one_model, needs):
        """While models are swapped, the weights on the device never exceed what the card can have."""
        backend = make_planned(one_model, META)
        with DevicePeak() as memory:
            for entry in self.TURNS:
                backend.warm_up(entry.model_id, entry.revision, entry.adapter)
                transformer = resident_of(backend, entry).pipeline.transformer
                assert {weight.device for weight in transformer.parameters()} == {META}
        # Weights that two modules share, as T5's embeddings, become two when they move to meta.
        embeddings = resident_of(backend, BASE).pipeline.text_encoder_2.shared.weight.nbytes
        allowed_bytes = one_model.card.usable_bytes + embeddings
        assert allowed_bytes < one_model.device_bytes + needs[-1].transformer.bf16_bytes
        assert one_model.device_bytes <= memory.peak_bytes <= allowed_bytes

    def test_what_waits_is_on_the_host(self, make_planned, one_model):
        """A model that was swapped out has all of its weights on the host."""
        backend = make_planned(one_model, META)
        for entry in (REALISM, FAST):
            backend.warm_up(entry.model_id, entry.revision, entry.adapter)
        waiting = resident_of(backend, REALISM)
        assert {weight.device for weight in waiting.base.parameters()} == {CPU}

    def test_a_model_that_the_host_cannot_pin_is_read_again(self, make_planned, one_model, orders):
        """What the plan leaves on the disk leaves the memory with its place on the device."""
        unpinned = replace(
            one_model, entries=tuple(replace(each, reloaded_from=Place.DISK) for each in one_model.entries)
        )
        backend = make_planned(unpinned)
        images = [draw(backend, orders[entry]) for entry in (BASE, FAST, BASE)]
        assert backend._waiting == {}
        assert np.array_equal(images[0], images[2])


class TestEightBits:
    def test_it_draws_as_quantised_pipelines_do(self, make_planned, streaming, orders, miniature):
        """Base, realism and schnell equal diffusers' images, fused first and then quantised, bit for bit."""
        backend = make_planned(streaming)
        for entry in (BASE, REALISM, FAST, REALISM):
            order = orders[entry]
            pipeline = FluxPipeline.from_pretrained(
                miniature / (SCHNELL if entry is FAST else DEV), dtype=torch.float32
            )
            pipeline.set_progress_bar_config(disable=True)
            if entry.adapter:
                pipeline.load_lora_weights(load_file(miniature / ADAPTER_FILE), adapter_name="lora")
                pipeline.fuse_lora(components=["transformer"], lora_scale=entry.adapter.scale)
                pipeline.unload_lora_weights()
            for model in (pipeline.transformer, pipeline.text_encoder_2):
                quantise(model, INT8, CPU)
            expected = pipeline(
                order.prompt,
                width=512,
                height=512,
                num_inference_steps=order.steps,
                guidance_scale=order.guidance_scale,
                max_sequence_length=64,
                generator=torch.Generator().manual_seed(order.seed),
            ).images[0]
            assert np.array_equal(draw(backend, order), np.asarray(expected)), entry.key

    def test_both_stay_where_both_fit(self, make_planned, needs, streaming, orders):
        """On a card for both models none leaves the device, and each draws the same as on a smaller card."""
        base, realism, fast = needs
        parts = (base.t5, base.clip, base.vae, base.transformer, realism.adapted, fast.transformer)
        plan = plan_of(needs, sum(part.eight_bit_bytes for part in parts))
        assert plan.arrangement == ARRANGEMENTS[2]
        roomy, tight = make_planned(plan), make_planned(streaming)
        for entry in ENTRIES:
            assert np.array_equal(draw(roomy, orders[entry]), draw(tight, orders[entry]))
        assert roomy.resident == {DEV, SCHNELL}
        assert roomy._waiting == {}

    def test_the_variant_shares_the_quantised_base(self, make_planned, streaming, orders):
        """The variant owns the adapted weights alone, in int8."""
        backend = make_planned(streaming)
        draw(backend, orders[REALISM])
        resident = resident_of(backend, REALISM)
        base = {id(weight) for weight in resident.base.parameters()}
        own = [w for w in resident.pipeline.transformer.parameters() if id(w) not in base]
        assert len(own) == 32
        assert {type(weight.data).__name__ for weight in own} == {"Int8Tensor"}


class TestPlanFor:
    @pytest.fixture
    def card(self, monkeypatch):
        """A function that gives this machine a card, and 64 GB of memory."""

        def give(memory_bytes):
            monkeypatch.setattr(placement, "card_of", lambda _: Card("Small", memory_bytes, (8, 9), 25e9))
            monkeypatch.setattr(placement, "host_of", lambda workers: Host(64_000_000_000 // workers))

        return give

    def test_a_card_that_is_too_small(self, card):
        """An impossible card is unfit, in the plan's sentence."""
        card(12_000_000_000)
        with pytest.raises(
            DeviceUnfit, match=r"cuda:0 cannot draw: Small is too small for FLUX\.1: an image"
        ):
            plan_for(torch.device("cuda:0"), ENTRIES, 1)

    def test_torchao_is_missing(self, card, monkeypatch):
        """If the plan needs eight bits and torchao is not installed, the sentence names the extra."""
        card(24_000_000_000)
        assert plan_for(torch.device("cuda"), ENTRIES, 1).precisions == (Precision.FP8, Precision.FP8)
        monkeypatch.setattr("inference.local.quantising.find_spec", lambda _: None)
        with pytest.raises(DeviceUnfit, match=r"eight bits need torchao.*avatar-creator\[turbo\]"):
            plan_for(torch.device("cuda"), ENTRIES, 1)

    def test_workers_share_the_host(self, card):
        """What one worker can pin, four on the same host cannot: schnell is then read from the disk."""
        card(24_000_000_000)
        sources = [
            plan_for(torch.device("cuda"), ENTRIES, workers).entries[-1].reloaded_from for workers in (1, 4)
        ]
        assert sources == [Place.PINNED, Place.DISK]

    def test_the_backend_plans_for_its_card(self, card, monkeypatch):
        """With the full profile, OFFLOAD=auto and a card the backend has a plan, else it has none."""
        card(80_000_000_000)
        monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
        config = LocalConfig("full", device="cuda", entries=ENTRIES)
        assert LocalBackend(config).plan.precisions == (BF16, BF16)
        assert LocalBackend(replace(config, offload=placement.Offload.NONE)).plan is None
        assert LocalBackend(replace(config, device="mps")).plan is None
