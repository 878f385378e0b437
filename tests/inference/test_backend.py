from collections.abc import Callable
from dataclasses import replace

import pytest

from inference.backend import Backend, BatchRow, Picture, picture_of
from inference.errors import DeviceBroken, OutOfMemory
from inference.scripted import Script, ScriptedBackend


class OneByOne(Backend):
    """A backend that knows no batches, as the hosted one."""

    def __init__(self, draw: Callable) -> None:
        self.generate = draw


@pytest.fixture
def rows(order):
    """Two rows of a batch."""
    return [BatchRow(replace(order, seed=seed), lambda _: None) for seed in (1, 2)]


class TestOneByOne:
    def test_it_draws_one_row_after_another(self, rows, order):
        """A failure of one row is its outcome; the largest batch is one, so that nobody asks for more."""
        scripted = ScriptedBackend(Script(fail_at=1, failure=OutOfMemory("cuda:0"), fail_seed=1))
        backend = OneByOne(scripted.generate)
        assert backend.largest_batch(order) == 1
        failed, drawn = backend.generate_batch(rows)
        assert isinstance(failed, OutOfMemory)
        assert picture_of(drawn).provenance.seed == 2
        assert isinstance(drawn, Picture)
        with pytest.raises(OutOfMemory):
            picture_of(failed)

    def test_a_failed_device_ends_the_batch(self, rows):
        """It is no row's outcome: nothing can be drawn any more."""

        def broken(_order, _report):
            raise DeviceBroken("cuda:0", "an illegal memory access was encountered")

        with pytest.raises(DeviceBroken):
            OneByOne(broken).generate_batch(rows)
