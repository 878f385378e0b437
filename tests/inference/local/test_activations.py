import pytest
import torch

from inference import fullsize
from inference.local.activations import (
    PeakMemory,
    decode_bytes,
    encode_bytes,
    measure_activations,
    step_bytes,
)

META = torch.device("meta")
GB = 1e9


@pytest.fixture(scope="module")
def two_blocks():
    """A double and a single block of FLUX.1-dev."""
    return fullsize.transformer(META, guidance_embeds=True, num_layers=1, num_single_layers=1)


class TestPeak:
    def test_what_lives_together_adds_up(self):
        """The peak counts tensors that live at once, a view not at all, and the model's own neither."""
        model = torch.nn.Linear(10, 10, device=META)
        with PeakMemory(model) as memory, torch.no_grad():
            first = torch.empty(100, device=META)
            second = torch.empty(100, device=META)[:50] + first[:50]
            del first, second
            torch.empty(20, device=META)
            _ = model.weight.T
        assert memory.peak_bytes == (100 + 100 + 50) * 4

    def test_a_loop_does_not_add_up(self):
        """A tensor that is freed before the next is made counts no longer."""
        with PeakMemory(torch.nn.Identity()) as memory:
            for _ in range(10):
                torch.empty(100, device=META)
        assert memory.peak_bytes == 100 * 4


class TestFlux:
    @pytest.mark.parametrize(
        ("side_px", "step_gb", "decode_gb"),
        [(512, 0.16, 0.40), (768, 0.30, 0.91), (1024, 0.49, 1.61), (1536, 1.03, 3.63)],
    )
    def test_known_values(self, side_px, step_gb, decode_gb):
        """The lines give the known extra gigabytes of a step and of decoding at each size."""
        activations = measure_activations()
        assert activations.step.at(side_px**2) / GB == pytest.approx(step_gb, abs=0.01)
        assert activations.decode.at(side_px**2) / GB == pytest.approx(decode_gb, abs=0.01)

    def test_one_block_of_each_kind_suffices(self, two_blocks):
        """All 57 blocks of FLUX.1 have the same peak as one of each kind."""
        assert step_bytes(fullsize.transformer(META, guidance_embeds=True), 512) == step_bytes(
            two_blocks, 512
        )

    def test_lines_are_straight(self, two_blocks):
        """Between their two points the lines are within one percent of what a walk finds."""
        activations = measure_activations()
        vae = fullsize.autoencoder(META)
        for side_px in (640, 1152):
            assert activations.step.at(side_px**2) == pytest.approx(step_bytes(two_blocks, side_px), rel=0.01)
            assert activations.decode.at(side_px**2) == pytest.approx(decode_bytes(vae, side_px), rel=0.01)

    def test_rows_of_a_batch_add_up(self, two_blocks):
        """Four rows of a step take at most four times what one takes, and nearly as much."""
        four, one = step_bytes(two_blocks, 512, batch=4), step_bytes(two_blocks, 512)
        assert 0.98 * 4 * one < four <= 4 * one

    def test_encoding_is_small(self):
        """T5 takes less beside its weights than the smallest step does."""
        assert 0.05 < encode_bytes(fullsize.t5(META)) / GB < 0.16
