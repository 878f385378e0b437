"""What is to be drawn and what was: made from an entry, kept as JSON, read back."""

import json
from dataclasses import replace

import pytest

from catalog.entries import shipped_entries
from catalog.orders import Order, Provenance


class TestOrder:
    @pytest.mark.parametrize("entry", shipped_entries(), ids=lambda entry: entry.name)
    def test_it_survives_being_kept(self, entry):
        """An order that went through JSON, as a generation's does, is the same order."""
        order = Order.of_entry(entry, "a fox", seed=3)
        assert Order.from_json(json.loads(json.dumps(order.to_json()))) == order

    def test_an_asked_size_counts(self):
        """A size that is given takes the place of the entry's own, width first."""
        entry = shipped_entries()[0]
        order = Order.of_entry(entry, "a fox", seed=3, size_px=(768, 1024))
        assert (order.width_px, order.height_px) == (768, 1024)
        assert (order.steps, order.adapter) == (entry.steps, entry.adapter)


class TestProvenance:
    def test_an_order_drawn_as_it_is(self):
        """What was drawn exactly as ordered has the order's model, adapter and seed, and cost nothing."""
        order = Order.of_entry(shipped_entries()[1], "a fox", seed=3)
        drawn = Provenance.of_order("local", order)
        assert (drawn.backend, drawn.model_id, drawn.revision) == ("local", order.model_id, order.revision)
        assert (drawn.adapter, drawn.seed) == (order.adapter, 3)
        assert (drawn.provider, drawn.cost_microusd, drawn.attempts) == (None, 0, ())

    @pytest.mark.parametrize("entry", shipped_entries(), ids=lambda entry: entry.name)
    def test_it_survives_being_kept(self, entry):
        """A provenance that went through JSON, attempts included, is the same provenance."""
        drawn = replace(
            Provenance.of_order("huggingface", Order.of_entry(entry, "a fox", seed=3)),
            provider="fal-ai",
            cost_microusd=25_000,
            attempts=({"provider": "replicate", "code": "GENERATION_TIMEOUT"},),
        )
        assert Provenance.from_json(json.loads(json.dumps(drawn.to_json()))) == drawn


class TestOfEntry:
    @pytest.mark.parametrize("entry", shipped_entries(), ids=lambda entry: entry.name)
    def test_it_is_the_entrys(self, entry):
        """An order has the prompt and the seed that were given, and all else from the entry, the size too."""
        assert Order.of_entry(entry, "a fox", seed=3) == Order(
            model_id=entry.model_id,
            revision=entry.revision,
            adapter=entry.adapter,
            prompt="a fox",
            width_px=entry.width_px,
            height_px=entry.height_px,
            steps=entry.steps,
            guidance_scale=entry.guidance_scale,
            max_text_tokens=entry.max_text_tokens,
            seed=3,
        )
