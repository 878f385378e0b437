"""What a backend is asked: an order, made from an entry or from what a generation has kept."""

import json
from dataclasses import asdict

import pytest

from catalog.entries import shipped_entries
from inference.backend import Order


class TestOrder:
    @pytest.mark.parametrize("entry", shipped_entries(), ids=lambda entry: entry.name)
    def test_it_survives_being_kept(self, entry):
        """An order that went through JSON, as a generation's recipe does, is the same order."""
        order = Order.of_entry(entry, "a fox", seed=3)
        assert Order.of_recipe(json.loads(json.dumps(asdict(order)))) == order

    def test_an_asked_size_counts(self):
        """A size that is given takes the place of the entry's own, width first."""
        entry = shipped_entries()[0]
        order = Order.of_entry(entry, "a fox", seed=3, size_px=(768, 1024))
        assert (order.width_px, order.height_px) == (768, 1024)
        assert (order.steps, order.adapter) == (entry.steps, entry.adapter)
