"""Orders and provenances: made from an entry, stored as JSON, read back."""

import json
from dataclasses import replace

import pytest

from catalog.entries import shipped_entries
from catalog.orders import Order, Provenance


class TestOrder:
    @pytest.mark.parametrize("entry", shipped_entries(), ids=lambda entry: entry.name)
    def test_round_trip(self, entry):
        """An order that is written as JSON and read back is the same order."""
        order = Order.of_entry(entry, "a fox", seed=3)
        assert Order.from_json(json.loads(json.dumps(order.to_json()))) == order

    def test_a_given_size_replaces_the_entrys(self):
        """A given size, width first, replaces the entry's own size."""
        entry = shipped_entries()[0]
        order = Order.of_entry(entry, "a fox", seed=3, size_px=(768, 1024))
        assert (order.width_px, order.height_px) == (768, 1024)
        assert (order.steps, order.adapter) == (entry.steps, entry.adapter)


class TestProvenance:
    def test_of_order(self):
        """The provenance of an order has the order's model, adapter and seed, and a cost of 0."""
        order = Order.of_entry(shipped_entries()[1], "a fox", seed=3)
        provenance = Provenance.of_order("local", order)
        assert (provenance.backend, provenance.model_id, provenance.revision) == (
            "local",
            order.model_id,
            order.revision,
        )
        assert (provenance.adapter, provenance.seed) == (order.adapter, 3)
        assert (provenance.provider, provenance.cost_microusd, provenance.attempts) == (None, 0, ())

    @pytest.mark.parametrize("entry", shipped_entries(), ids=lambda entry: entry.name)
    def test_round_trip(self, entry):
        """A provenance that is written as JSON and read back is the same, including its attempts."""
        provenance = replace(
            Provenance.of_order("huggingface", Order.of_entry(entry, "a fox", seed=3)),
            provider="fal-ai",
            cost_microusd=25_000,
            attempts=({"provider": "replicate", "code": "GENERATION_TIMEOUT"},),
        )
        assert Provenance.from_json(json.loads(json.dumps(provenance.to_json()))) == provenance

    def test_a_row_of_before_there_were_profiles(self):
        """A provenance that was stored without a profile is read as one of none."""
        order = Order.of_entry(shipped_entries()[1], "a fox", seed=3)
        stored = Provenance.of_order("local", order, "fast").to_json()
        assert stored.pop("profile") == "fast"
        assert Provenance.from_json(stored) == Provenance.of_order("local", order)


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
