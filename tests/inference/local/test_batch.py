import pytest
import torch
from diffusers import FluxPipeline

from inference.errors import ImageNotFinite
from inference.local.batch import Row, draw_latents
from inference.local.canvas import canvas_for
from inference.local.encoding import PromptEncoder
from inference.weights.locations import DEV, SCHNELL

PROMPTS = ("a woman with red hair", "an old man with a hat", "a girl with glasses", "a man with a beard")
SIZE_PX = (512, 576)  # not square: rows and columns must not be mixed up


class Cancelled(Exception):
    """Raised by a row's callback."""


def ignore():
    """Do nothing."""


def load(miniature, model_id, dtype=torch.float32):
    pipeline = FluxPipeline.from_pretrained(miniature / model_id, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def dev(miniature):
    return load(miniature, DEV)


@pytest.fixture(scope="module")
def rows(dev):
    """A function that makes four rows with different prompts and seeds, which tell a list of their steps."""
    encoder = PromptEncoder(dev)

    def make(told=None):
        def tell(number):
            return lambda step, _: told is not None and told.append((number, step))

        return [
            Row(encoder.encode(prompt, 32), 100 + number, tell(number))
            for number, prompt in enumerate(PROMPTS)
        ]

    return make


def draw(pipeline, rows, steps=4, step_queued=ignore):
    canvas = canvas_for(*SIZE_PX, 2 * pipeline.vae_scale_factor)
    return draw_latents(pipeline, rows, canvas, steps=steps, guidance_scale=3.5, step_queued=step_queued)


def plain(pipeline, prompt, seed, steps=4):
    """Return the latents of diffusers' own loop."""
    width, height = SIZE_PX
    return pipeline(
        prompt,
        width=width,
        height=height,
        num_inference_steps=steps,
        guidance_scale=3.5,
        max_sequence_length=32,
        generator=torch.Generator().manual_seed(seed),
        output_type="latent",
    ).images


class TestOneRow:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
    @pytest.mark.parametrize("model_id", [DEV, SCHNELL], ids=["dev", "schnell"])
    def test_it_is_the_pipeline_s_own_loop(self, miniature, model_id, dtype):
        """The latents of one row equal those of FluxPipeline, bit for bit."""
        pipeline = load(miniature, model_id, dtype)
        row = Row(PromptEncoder(pipeline).encode(PROMPTS[0], 32), 100, lambda *_: None)
        [latents] = draw(pipeline, [row])
        assert latents.dtype is dtype
        assert torch.equal(latents, plain(pipeline, PROMPTS[0], 100))


class TestFourRows:
    def test_each_is_drawn_as_alone(self, dev, rows):
        """In float32, each row differs from the same row alone by less than 1e-4."""
        batch = draw(dev, rows())
        for latents, row in zip(batch, rows(), strict=True):
            [alone] = draw(dev, [row])
            assert latents.shape == alone.shape
            assert (latents - alone).abs().max() < 1e-4
        assert (batch[0] - batch[1]).abs().max() > 0.1

    def test_each_is_told_of_each_step(self, dev, rows):
        """Each step is queued once for the batch, and then told to each row."""
        told = []
        draw(dev, rows(told), steps=2, step_queued=lambda: told.append("queued"))
        assert told == ["queued", (0, 1), (1, 1), (2, 1), (3, 1), "queued", (0, 2), (1, 2), (2, 2), (3, 2)]

    def test_a_cancelled_row_leaves_the_batch(self, dev, rows, monkeypatch):
        """A row whose callback raises gets that exception; the others go on without it, as if alone."""
        told, error, sizes = [], Cancelled(), []
        hook = dev.transformer.register_forward_pre_hook(
            lambda _module, _args, kwargs: sizes.append(len(kwargs["hidden_states"])), with_kwargs=True
        )

        def cancel(step, _):
            told.append((1, step))
            if step == 2:
                raise error

        batch = rows(told)
        batch[1] = Row(batch[1].prompt, batch[1].seed, cancel)
        outcomes = draw(dev, batch)
        hook.remove()
        assert outcomes[1] is error
        assert sizes == [4, 4, 3, 3]
        assert [number for number, step in told if step == 3] == [0, 2, 3]
        for number in (0, 2, 3):
            [alone] = draw(dev, [rows()[number]])
            assert (outcomes[number] - alone).abs().max() < 1e-4

    def test_without_rows_it_stops(self, dev, rows):
        """When all rows are cancelled, no further step is computed."""
        queued = []

        def cancel(*_):
            raise Cancelled

        batch = [Row(row.prompt, row.seed, cancel) for row in rows()]
        outcomes = draw(dev, batch, step_queued=lambda: queued.append(1))
        assert [type(outcome) for outcome in outcomes] == [Cancelled] * 4
        assert len(queued) == 1

    def test_one_row_is_not_finite(self, dev, rows):
        """A row whose embeddings hold NaN fails after the last step, unreported, and the others do not."""
        told, steps = [], 2
        batch = rows(told)
        spoilt = batch[2].prompt.embeds.clone()
        spoilt[0, 0, 0] = float("nan")
        prompt = type(batch[2].prompt)(spoilt, batch[2].prompt.pooled, ())
        batch[2] = Row(prompt, batch[2].seed, batch[2].step_ended)
        outcomes = draw(dev, batch, steps=steps)
        assert isinstance(outcomes[2], ImageNotFinite)
        assert all(bool(outcomes[number].isfinite().all()) for number in (0, 1, 3))
        assert [number for number, step in told if step == steps] == [0, 1, 3]

    def test_exhausted_memory_is_of_no_row(self, dev, rows):
        """An error of the device ends the batch and is raised."""

        def exhaust():
            raise torch.OutOfMemoryError

        with pytest.raises(torch.OutOfMemoryError):
            draw(dev, rows(), step_queued=exhaust)
