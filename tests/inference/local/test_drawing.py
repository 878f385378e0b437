import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import load_file

from catalog.entries import shipped_entries
from inference.backend import Phase, Progress
from inference.errors import AdapterMismatch, ImageFlat, ImageNotFinite, OutOfMemory
from inference.local import backend as backend_module
from inference.local import batch as batch_module
from inference.local import placement as placement_module
from inference.weights.locations import ADAPTER_FILE

ENTRIES = {entry.key.removeprefix("avatar-creator:"): entry for entry in shipped_entries()}
DEV = "black-forest-labs/FLUX.1-dev"


def ignore_progress(_):
    """Do nothing."""


def pixels(backend, order):
    """Draw an order and return its image as (H, W, 3) levels."""
    return np.asarray(backend.generate(order, ignore_progress).image).astype(int)


def distance(first, second):
    """Return the mean difference of two images, in levels of 255."""
    return np.abs(first - second).mean()


class TestWhatDeterminesAnImage:
    def test_the_same_order_is_the_same_image(self, backend, order):
        """The same order twice gives the same image, bit for bit."""
        assert distance(pixels(backend, order), pixels(backend, order)) == 0

    @pytest.mark.parametrize(
        ("changes", "minimum"),
        [
            ({"seed": 8}, 10),
            ({"prompt": "professional headshot of an old man"}, 1),
            ({"steps": 4}, 0.5),
            ({"guidance_scale": 1.0}, 1),
        ],
    )
    def test_each_parameter_changes_the_image(self, backend, order, changes, minimum):
        """Seed, prompt, steps and guidance each change the image visibly."""
        assert distance(pixels(backend, order), pixels(backend, replace(order, **changes))) > minimum

    def test_another_backend_draws_the_same(self, backend, make_backend, order):
        """A new backend draws the same image: no state remains in the process."""
        assert distance(pixels(backend, order), pixels(make_backend(), order)) == 0

    def test_the_largest_seed_is_drawn(self, backend, order):
        """The largest seed that a client may send is valid."""
        assert pixels(backend, replace(order, seed=2**32 - 1)).shape == (512, 512, 3)


class TestAgainstDiffusers:
    @pytest.mark.parametrize("scale", [None, 0.9])
    def test_it_is_the_pipeline_s_own_image(self, backend, miniature, order, realism, scale):
        """With and without the adapter fused, the image equals that of a call of diffusers, bit for bit."""
        pipeline = FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        if scale:
            pipeline.load_lora_weights(load_file(miniature / ADAPTER_FILE), adapter_name="lora")
            pipeline.fuse_lora(components=["transformer"], lora_scale=scale)
        plain = pipeline(
            order.prompt,
            width=512,
            height=512,
            num_inference_steps=order.steps,
            guidance_scale=order.guidance_scale,
            max_sequence_length=order.max_text_tokens,
            generator=torch.Generator().manual_seed(order.seed),
        ).images[0]
        ours = pixels(backend, replace(order, adapter=realism if scale else None))
        assert distance(np.asarray(plain).astype(int), ours) == 0


class TestAdapter:
    def test_scale_zero_is_the_base_and_scale_0_9_is_not(self, backend, order, realism):
        """At a scale of 0 the image equals the base's bit for bit; at 0.9 it differs by several levels."""
        base = pixels(backend, order)
        silent = pixels(backend, replace(order, adapter=replace(realism, scale=0.0)))
        applied = pixels(backend, replace(order, adapter=realism))
        assert distance(base, silent) == 0
        assert distance(base, applied) > 3

    def test_base_after_adapter_is_base(self, make_backend, order, realism):
        """On one pipeline, orders with and without the adapter do not affect each other."""
        backend = make_backend()
        adapted = replace(order, adapter=realism)
        images = [pixels(backend, each) for each in (order, adapted, order, adapted)]
        assert distance(images[0], images[2]) == distance(images[1], images[3]) == 0
        assert len(backend._residents.keys) == 1

    def test_the_scale_is_the_order_s(self, backend, order, realism):
        """Half the scale gives another image than the full scale."""
        half, whole = (replace(order, adapter=replace(realism, scale=scale)) for scale in (0.45, 0.9))
        assert distance(pixels(backend, half), pixels(backend, whole)) > 1

    def test_an_adapter_that_does_not_fit_is_never_left_out(
        self, make_backend, adapter_dir, order, realism, float32
    ):
        """An order whose adapter does not fit fails every time, and orders of the base still succeed."""
        (adapter_dir / "lora.safetensors").write_bytes(b"junk")
        backend = make_backend(profile="full", models_dir=adapter_dir.parents[1])
        for _ in range(2):
            with pytest.raises(AdapterMismatch, match="XLabs-AI/flux-RealismLora does not fit"):
                backend.generate(replace(order, adapter=realism), ignore_progress)
        assert backend.generate(order, ignore_progress).image.size == (512, 512)

    def test_alternating_orders_load_nothing(self, make_backend, order, realism, monkeypatch):
        """Orders of base, realism and base read each file once and make one variant, at the first need."""
        calls = []

        def count(place, name):
            real = getattr(place, name)
            monkeypatch.setattr(
                place, name, lambda *args, **kwargs: calls.append(name) or real(*args, **kwargs)
            )

        count(FluxPipeline, "from_pretrained")
        count(backend_module, "read_adapter")
        count(placement_module, "variant_of")
        backend, reports = make_backend(), []
        for adapter in (None, realism, None, realism, None):
            backend.generate(replace(order, adapter=adapter), reports.append)
        assert calls == ["from_pretrained", "read_adapter", "variant_of"]
        assert [report.phase for report in reports].count(Phase.LOAD) == 2


class TestEntries:
    @pytest.mark.parametrize("name", ENTRIES)
    def test_every_entry_draws_at_its_own_size(self, backend, order_of, name):
        """Each entry of the catalogue draws its own size in its own number of steps and reports each."""
        entry, reports = ENTRIES[name], []
        picture = backend.generate(order_of(entry), reports.append)
        assert picture.image.size == (entry.width_px, entry.height_px)
        assert picture.image.mode == "RGB"
        assert picture.warnings == ()
        steps = [report.step for report in reports if report.phase is Phase.STEP]
        assert steps == list(range(1, entry.steps + 1))

    @pytest.mark.parametrize("size", [(528, 784), (784, 528), (512, 528), (1024, 512)])
    def test_the_image_has_exactly_the_ordered_size(self, backend, order, size):
        """An image has the ordered size even if that is off the pipeline's grid."""
        width_px, height_px = size
        picture = backend.generate(replace(order, width_px=width_px, height_px=height_px), ignore_progress)
        assert picture.image.size == size


class TestReports:
    def test_phases_come_in_order(self, make_backend, order):
        """The first order loads, encodes, steps and decodes; the second does not load."""
        backend = make_backend()
        rest = [
            Progress(Phase.ENCODE),
            *(Progress(Phase.STEP, step, 3) for step in (1, 2, 3)),
            Progress(Phase.DECODE),
        ]
        first, second = [], []
        picture = backend.generate(order, first.append)
        again = backend.generate(order, second.append)
        assert first == [Progress(Phase.LOAD), *rest]
        assert second == rest
        local = set(Phase) - {Phase.HOSTED}
        assert set(picture.seconds) == local
        assert set(again.seconds) == local - {Phase.LOAD}
        assert all(seconds > 0 for seconds in picture.seconds.values())

    def test_fusing_is_loading(self, make_backend, order, realism):
        """Loading is reported when an adapter is fused, and not again later."""
        backend = make_backend()
        backend.warm_up(order.model_id, order.revision, None)
        reports = []
        for _ in range(2):
            backend.generate(replace(order, adapter=realism), reports.append)
        assert [report.phase for report in reports].count(Phase.LOAD) == 1

    def test_warming_up_leaves_nothing_to_load(self, make_backend, order, realism):
        """After warming up with the adapter, an order with it loads nothing."""
        backend = make_backend()
        backend.warm_up(order.model_id, order.revision, realism)
        assert backend.resident == {DEV}
        reports = []
        backend.generate(replace(order, adapter=realism), reports.append)
        assert reports[0] == Progress(Phase.ENCODE)

    def test_decode_is_reported_after_the_steps(self, backend, order):
        """Decode is reported after the last step and before the image is returned."""
        reports = []
        backend.generate(order, reports.append)
        assert reports[-2:] == [Progress(Phase.STEP, 3, 3), Progress(Phase.DECODE)]


class Cancelled(Exception):
    """Raised by a worker's report after a cancellation by the client."""


class TestCancellation:
    @pytest.mark.parametrize(
        "moment",
        [
            Progress(Phase.LOAD),
            Progress(Phase.ENCODE),
            Progress(Phase.STEP, 1, 3),
            Progress(Phase.STEP, 3, 3),
            Progress(Phase.DECODE),
        ],
    )
    def test_it_stops_and_the_next_run_is_clean(self, backend, make_backend, order, realism, moment):
        """An exception from a report passes through unchanged, and does not affect the next order."""
        adapted = replace(order, adapter=realism)
        fresh, error = make_backend(), Cancelled()

        def report(progress):
            if progress == moment:
                raise error

        with pytest.raises(Cancelled) as caught:
            fresh.generate(adapted, report)
        assert caught.value is error
        assert distance(pixels(fresh, order), pixels(backend, order)) == 0
        assert distance(pixels(fresh, adapted), pixels(backend, adapted)) == 0


class TestFaults:
    @pytest.fixture
    def damaged(self, make_backend, order):
        """A backend and its resident pipeline, which the test may damage."""
        backend = make_backend()
        backend.warm_up(order.model_id, order.revision, None)
        return backend, backend._residents.get((order.model_id, order.revision)).pipeline

    def test_nan_in_the_transformer(self, damaged, order):
        """NaN in the transformer's weights fails the order before decoding."""
        backend, pipeline = damaged
        reports = []
        with torch.no_grad():
            pipeline.transformer.proj_out.weight[0, 0] = float("nan")
        with pytest.raises(ImageNotFinite, match="latents"):
            backend.generate(order, reports.append)
        assert reports[-1] == Progress(Phase.STEP, 2, 3)

    def test_nan_in_the_decoder(self, damaged, order):
        """NaN in the decoder's weights fails the order."""
        backend, pipeline = damaged
        with torch.no_grad():
            pipeline.vae.decoder.conv_out.bias[0] = float("nan")
        with pytest.raises(ImageNotFinite, match="decoded pixels"):
            backend.generate(order, ignore_progress)

    def test_a_dead_decoder(self, damaged, order):
        """A decoder that returns the same colour for any input fails the order."""
        backend, pipeline = damaged
        with torch.no_grad():
            pipeline.vae.decoder.conv_out.weight.zero_()
        with pytest.raises(ImageFlat):
            backend.generate(order, ignore_progress)

    def test_out_of_memory_evicts_all_pipelines(self, backend, make_backend, order, monkeypatch):
        """If the memory is exhausted, all pipelines are evicted, and the next order gives the same image."""
        fresh = make_backend()
        fresh.generate(order, ignore_progress)

        def exhaust(*_):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

        with monkeypatch.context() as patched:
            patched.setattr("inference.local.batch.check_latents", exhaust)
            with pytest.raises(OutOfMemory, match="memory of cpu") as caught:
                fresh.generate(order, ignore_progress)
        assert caught.value.code == "OUT_OF_MEMORY"
        assert caught.value.__context__ is None  # its traceback would keep the tensors in memory
        assert fresh.resident == frozenset()
        assert distance(pixels(fresh, order), pixels(backend, order)) == 0

    def test_others_are_evicted_and_it_is_drawn_again(
        self, backend, make_backend, order, order_of, monkeypatch, caplog
    ):
        """If the memory is exhausted beside another pipeline, that one goes, and the order is drawn."""
        fresh, schnell = make_backend(), order_of(ENTRIES["flux-schnell-fast"])
        fresh.warm_up(schnell.model_id, schnell.revision, None)
        real, tries = batch_module.check_latents, []

        def exhaust_once(latents):
            tries.append(1)
            if len(tries) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            real(latents)

        with monkeypatch.context() as patched:
            patched.setattr(batch_module, "check_latents", exhaust_once)
            image = pixels(fresh, order)
        assert len(tries) == 2
        assert fresh.resident == {DEV}
        assert "memory.exhausted" in caplog.text
        assert distance(image, pixels(backend, order)) == 0

    def test_it_is_drawn_twice_at_most(self, make_backend, order, order_of, monkeypatch):
        """If the memory is exhausted without the other pipelines too, the order fails and all are evicted."""
        fresh, schnell, tries = make_backend(), order_of(ENTRIES["flux-schnell-fast"]), []
        fresh.warm_up(schnell.model_id, schnell.revision, None)

        def exhaust(_):
            tries.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

        monkeypatch.setattr(batch_module, "check_latents", exhaust)
        with pytest.raises(OutOfMemory):
            fresh.generate(order, ignore_progress)
        assert len(tries) == 2
        assert fresh.resident == frozenset()

    def test_an_exhausted_decoder_draws_in_tiles(self, damaged, order):
        """If the memory is exhausted while an image is decoded, its latents are decoded again, in tiles."""
        backend, pipeline = damaged
        usual, reports, tries = pixels(backend, order), [], []

        def exhaust_once(*_):
            tries.append(1)
            if len(tries) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

        pipeline.vae.decoder.register_forward_pre_hook(exhaust_once)
        image = np.asarray(backend.generate(order, reports.append).image).astype(int)
        assert len(tries) > 2
        assert [report.step for report in reports if report.phase is Phase.STEP] == [1, 2, 3]
        assert 0 < distance(image, usual) < 30
        assert backend.resident == {DEV}
        assert distance(pixels(backend, order), usual) == 0

    def test_offloaded_parts_leave_the_device(self, damaged, order, monkeypatch):
        """After an image and after an error the pipeline's offloaded parts leave the device."""
        backend, pipeline = damaged
        freed = []
        monkeypatch.setattr(type(pipeline), "maybe_free_model_hooks", lambda _: freed.append(True))
        backend.generate(order, ignore_progress)
        assert len(freed) == 1
        with pytest.raises(Cancelled):
            backend.generate(order, lambda _: (_ for _ in ()).throw(Cancelled()))
        assert len(freed) == 2


class TestPrompts:
    LONG = "canarybird " * 90

    def test_a_long_prompt_is_cut_with_a_warning(self, backend, order):
        """A prompt is cut at the limit; the warning counts the dropped tokens and quotes nothing."""
        (warning,) = backend.generate(replace(order, prompt=self.LONG), ignore_progress).warnings
        pipeline = backend._residents.get((order.model_id, order.revision)).pipeline
        tokens = len(pipeline.tokenizer_2(self.LONG).input_ids)
        assert warning == f"The prompt was cut to 64 tokens; {tokens - 64} were dropped"

    def test_the_tokenizer_s_own_limit_holds(self, backend, order):
        """If an entry allows more tokens than its model, the model's own limit applies."""
        (warning,) = backend.generate(
            replace(order, prompt=self.LONG, max_text_tokens=512), ignore_progress
        ).warnings
        assert warning.startswith("The prompt was cut to 64 tokens")

    def test_a_prompt_within_the_limit_is_not_cut(self, backend, order):
        """A prompt within the limit causes no warning."""
        assert backend.generate(order, ignore_progress).warnings == ()

    def test_words_beyond_the_limit_have_no_effect(self, backend, order):
        """Two prompts that differ only beyond all limits give the same image."""
        images = [pixels(backend, replace(order, prompt=f"{self.LONG} {end}")) for end in ("cat", "dog")]
        assert distance(*images) == 0

    def test_no_prompt_reaches_a_log(self, make_backend, order, capfd):
        """Even at the libraries' level DEBUG, no log record and no output quotes a prompt."""
        records = []
        handler = logging.Handler()
        handler.emit = records.append
        loggers = [logging.getLogger(name) for name in (None, "diffusers", "transformers")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)
        try:
            make_backend().generate(replace(order, prompt=self.LONG), ignore_progress)
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.removeHandler(handler)
                logger.setLevel(level)
        quoted = [record.name for record in records if "canary" in record.getMessage()]
        captured = capfd.readouterr()
        assert quoted == []
        assert "canary" not in captured.out + captured.err
