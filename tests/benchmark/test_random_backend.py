"""Random weights through the local backend, at a size that a CPU can draw."""

from dataclasses import replace

import pytest
from diffusers import FluxPipeline

from benchmark.bare import step_flop
from benchmark.random_backend import RandomBackend
from catalog.entries import shipped_entries
from catalog.orders import Order
from inference.backend import Phase
from inference.local.devices import Offload
from inference.miniature import architecture
from inference.miniature.vocabulary import clip_tokenizer, t5_tokenizer

BASE, REALISM, HD, SCHNELL = shipped_entries()


def small_pipeline(device, *, dev):
    """The miniature with random weights, in place of all of FLUX.1."""
    return FluxPipeline(
        scheduler=architecture.scheduler(dynamic_shifting=dev),
        vae=architecture.autoencoder().to(device),
        text_encoder=architecture.clip().to(device),
        tokenizer=clip_tokenizer(),
        text_encoder_2=architecture.t5().to(device),
        tokenizer_2=t5_tokenizer(),
        transformer=architecture.transformer(guidance_embeds=dev).to(device),
    )


@pytest.fixture
def backend(tmp_path):
    """A backend of random weights."""
    backend = RandomBackend(tmp_path, "cpu", Offload.NONE, small_pipeline, architecture.lora_shapes())
    yield backend
    backend.close()


def order_of(entry):
    return replace(Order.of_entry(entry, "portrait of a man", seed=1), steps=2)


class TestRandomBackend:
    def test_draws(self, backend):
        """An entry is drawn at its size with random weights, without a hub or a folder of weights."""
        picture = backend.generate(order_of(BASE), lambda _: None)
        assert picture.image.size == (512, 512)
        assert picture.seconds[Phase.STEP] > 0
        assert backend.resident == {BASE.model_id}

    def test_adapter(self, backend):
        """The random adapter passes the checks of a real one, and changes the image."""
        realism = order_of(REALISM)
        plain = backend.generate(replace(realism, adapter=None), lambda _: None).image
        adapted = backend.generate(realism, lambda _: None).image
        assert plain.tobytes() != adapted.tobytes()

    def test_schnell(self, backend):
        """Schnell is made without the guidance embedding."""
        backend.warm_up(SCHNELL.model_id, None, None)
        resident = backend._residents.get((SCHNELL.model_id, None))
        assert not resident.pipeline.transformer.config.guidance_embeds


class TestStepFlop:
    @pytest.mark.parametrize(
        ("entry", "tflop"), [(BASE, 21.5), (REALISM, 41.9), (HD, 74.4)], ids=["512", "768", "1024"]
    )
    def test_full_size(self, entry, tflop):
        """The operations of a step are counted at the entry's size, with 512 tokens of text."""
        for kind in ("random", "real"):
            assert step_flop(kind, order_of(entry)).total / 1e12 == pytest.approx(tflop, abs=0.1)

    def test_schnell_reads_less(self):
        """Schnell reads 256 tokens of text, so its step has fewer operations than dev's of the same size."""
        dev, schnell = (step_flop("random", order_of(entry)).total for entry in (BASE, SCHNELL))
        assert schnell / dev == pytest.approx((1024 + 256) / (1024 + 512), abs=0.03)

    def test_miniature(self):
        """A step of the miniature has ten thousand times fewer operations."""
        assert step_flop("miniature", order_of(BASE)).total < step_flop("real", order_of(BASE)).total / 10_000
