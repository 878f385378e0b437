from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.backend import BatchRow, Phase, Picture, Progress
from inference.errors import DeviceBroken, ImageFlat, ImageNotFinite, OutOfMemory
from inference.local.checks import check_latents, check_pixels

SEEDS = (3, 4, 5)


class Cancelled(Exception):
    """Raised by a worker's report after a cancellation by the client."""


@pytest.fixture
def drawn(backend, order):
    """Draw three seeds together; return the outcomes and what was reported to each."""

    def draw(stops=None, backend=backend):
        told = [[] for _ in SEEDS]

        def report_of(number):
            def report(progress):
                told[number].append(progress)
                if (number, progress) == stops:
                    raise Cancelled

            return report

        rows = [BatchRow(replace(order, seed=seed), report_of(n)) for n, seed in enumerate(SEEDS)]
        return backend.generate_batch(rows), told

    return draw


def levels(picture):
    """Return a picture's image as (H, W, 3) levels."""
    return np.asarray(picture.image).astype(int)


class TestRows:
    def test_each_row_is_its_own_image(self, backend, order, drawn):
        """A row differs from the same order alone by one level at most, and says whose seed it has."""
        pictures, told = drawn()
        for seed, picture in zip(SEEDS, pictures, strict=True):
            alone = backend.generate(replace(order, seed=seed), lambda _: None)
            assert np.abs(levels(picture) - levels(alone)).max() <= 1
            assert picture.provenance == alone.provenance
        assert [one for one in told[0] if one.phase is Phase.STEP] == [
            Progress(Phase.STEP, step, 3) for step in (1, 2, 3)
        ]

    def test_every_row_is_told_while_the_others_are_decoded(self, drawn):
        """Each hears of every decoding: those that wait for it keep their leases."""
        _, told = drawn()
        assert [row.count(Progress(Phase.DECODE)) for row in told] == [3, 3, 3]

    def test_the_seconds_are_shared(self, drawn):
        """The rows' seconds are equal: each is a third of what the batch took."""
        first, *others = drawn()[0]
        assert all(other.seconds == first.seconds for other in others)
        assert set(first.seconds) >= {Phase.ENCODE, Phase.STEP, Phase.DECODE}

    @pytest.mark.parametrize(
        "moment", [Progress(Phase.ENCODE), Progress(Phase.STEP, 2, 3), Progress(Phase.DECODE)]
    )
    def test_a_cancelled_row_ends_alone(self, drawn, moment):
        """The others are drawn as if it had never been there, and it is told nothing more."""
        whole, _ = drawn()
        outcomes, told = drawn(stops=(1, moment))
        assert isinstance(outcomes[1], Cancelled)
        assert told[1][-1] == moment
        for number in (0, 2):
            assert np.abs(levels(outcomes[number]) - levels(whole[number])).max() <= 1

    def test_an_image_that_is_not_valid_ends_alone(self, drawn, monkeypatch):
        """A flat image is the outcome of its row, and the others are pictures."""
        calls = []

        def second_is_flat(pixels):
            calls.append(pixels)
            check_pixels(torch.zeros_like(pixels) if len(calls) == 2 else pixels)

        monkeypatch.setattr("inference.local.decoding.check_pixels", second_is_flat)
        outcomes, _ = drawn()
        assert [type(outcome) for outcome in outcomes] == [Picture, ImageFlat, Picture]

    def test_latents_that_are_not_finite_end_alone(self, drawn, monkeypatch):
        """NaN in the latents of one row is its outcome."""
        calls = []

        def first_is_not_finite(latents):
            calls.append(latents)
            check_latents(latents * float("nan") if len(calls) == 1 else latents)

        monkeypatch.setattr("inference.local.batch.check_latents", first_is_not_finite)
        outcomes, _ = drawn()
        assert [type(outcome) for outcome in outcomes] == [ImageNotFinite, Picture, Picture]


class TestLargestBatch:
    def test_one_means_never(self, make_backend, order):
        """Without the setting nothing is drawn together."""
        assert make_backend(draw_profile="fast").largest_batch(order) == 1

    def test_exact_draws_no_batches(self, make_backend, order):
        """A row of a batch differs from the row alone by rounding: exact draws each alone."""
        assert make_backend(max_batch=4, draw_profile="exact").largest_batch(order) == 1

    def test_exhausted_memory_makes_smaller_batches(self, make_backend, order, drawn, monkeypatch):
        """After it, orders of this key are drawn in smaller batches, and others as before."""
        monkeypatch.setattr("inference.local.compiling.Compilation.compile", lambda *_: None)
        backend = make_backend(max_batch=4, draw_profile="fast")
        assert backend.largest_batch(order) == 4

        def exhaust(*_):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

        monkeypatch.setattr("inference.local.batch.check_latents", exhaust)
        with pytest.raises(OutOfMemory):
            drawn(backend=backend)
        assert backend.largest_batch(replace(order, prompt="another", seed=99)) == 1
        assert backend.largest_batch(replace(order, width_px=528)) == 4

    def test_a_failed_device_is_no_row_s_outcome(self, backend, drawn, monkeypatch):
        """It ends the batch as a whole: nothing can be drawn any more."""

        def fail(*_, **__):
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr("inference.local.backend.draw_latents", fail)
        with pytest.raises(DeviceBroken):
            drawn()
