from dataclasses import replace

import pytest
import torch
from accelerate import cpu_offload
from diffusers import FluxPipeline
from torch import nn

from inference.local import devices
from inference.local.adapters import read_adapter
from inference.local.batch import Row, draw_latents
from inference.local.canvas import canvas_for
from inference.local.decoding import decode
from inference.local.devices import Offload
from inference.local.placement import WholePlacer
from inference.local.resident import MAX_VARIANTS, Resident
from inference.weights.locations import ADAPTER_FILE, DEV

CPU = torch.device("cpu")


def place_on_cpu(pipeline, device, offload):
    """Offload as on a card, with the CPU in its place: the same hooks of accelerate."""
    if offload is Offload.MODEL:
        pipeline.enable_model_cpu_offload(device=device)
    elif offload is Offload.SEQUENTIAL:
        for model in pipeline.components.values():
            if isinstance(model, nn.Module):
                # enable_sequential_cpu_offload does this on "cpu:0", where no parameter stays one.
                cpu_offload(model, device, offload_buffers=len(model._parameters) > 0)


@pytest.fixture
def make_resident(miniature, monkeypatch):
    """A function that makes a resident with offloading, whose pipeline can draw on a CPU."""
    monkeypatch.setattr(devices, "place", place_on_cpu)

    def make(offload=Offload.NONE):
        pipeline = FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.float32)
        resident = Resident(pipeline, WholePlacer(CPU, offload))
        resident.switch(None)
        return resident

    return make


@pytest.fixture
def checked(miniature):
    """A function that reads the adapter for a resident."""
    return lambda resident: read_adapter(miniature / ADAPTER_FILE, "a/lora", resident.base)


def draw(resident):
    """Draw with whatever the resident has switched to, as the backend does."""
    pipeline = resident.pipeline
    canvas = canvas_for(512, 512, 2 * pipeline.vae_scale_factor)
    row = Row(resident.prompts.encode("a man with a hat", 32), 3, lambda *_: None)
    [latents] = draw_latents(pipeline, [row], canvas, steps=2, guidance_scale=3.5, step_queued=lambda: None)
    pixels = decode(pipeline, latents, canvas)
    pipeline.maybe_free_model_hooks()
    return pixels


class TestOffloading:
    @pytest.mark.parametrize("offload", [Offload.MODEL, Offload.SEQUENTIAL])
    def test_it_draws_the_same(self, make_resident, checked, realism, offload):
        """With offloading, base and variant draw by turns what they draw without, bit for bit."""
        plain, offloaded = make_resident(), make_resident(offload)
        for resident in (plain, offloaded):
            resident.add(realism, checked(resident))
        for adapter in (None, realism, None, realism):
            images = []
            for resident in (plain, offloaded):
                resident.switch(adapter)
                images.append(draw(resident))
            assert torch.equal(*images)

    def test_the_variant_is_offloaded(self, make_resident, checked, realism):
        """With sequential offloading, no weight of the variant stays in its modules between images."""
        resident = make_resident(Offload.SEQUENTIAL)
        resident.add(realism, checked(resident))
        resident.switch(realism)
        draw(resident)
        assert resident.pipeline.transformer is not resident.base
        assert {weight.device.type for weight in resident.pipeline.transformer.parameters()} == {"meta"}

    def test_it_takes_the_memory_of_one_and_its_own_share(self, make_resident, checked, realism):
        """After drawing with offloading, base and variant still lie in the same memory."""
        resident = make_resident(Offload.MODEL)
        resident.add(realism, checked(resident))
        for adapter in (realism, None, realism):
            resident.switch(adapter)
            draw(resident)
        base = {weight.data_ptr() for weight in resident.base.parameters()}
        own = [w for w in resident.pipeline.transformer.parameters() if w.data_ptr() not in base]
        assert len(own) == 32


class TestSwitch:
    def test_only_a_change_is_placed(self, make_resident, checked, realism, monkeypatch):
        """Switching to what is placed sets up no hooks; without offloading no switch moves anything."""
        resident = make_resident(Offload.MODEL)
        resident.add(realism, checked(resident))
        placed = []
        monkeypatch.setattr(devices, "place", lambda *_: placed.append(True))
        for adapter in (None, None, realism, realism, None):
            resident.switch(adapter)
        assert len(placed) == 3
        resident = make_resident()
        placed.clear()
        for adapter in (realism, None):
            resident.add(realism, checked(resident))
            resident.switch(adapter)
        assert placed == []

    def test_an_interrupted_switch_begins_again(self, make_resident, checked, realism, monkeypatch):
        """If placing was interrupted, the next switch to the same variant places it."""
        resident = make_resident(Offload.MODEL)
        resident.add(realism, checked(resident))

        def interrupt(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(devices, "place", interrupt)
            with pytest.raises(KeyboardInterrupt):
                resident.switch(realism)
        placed = []
        monkeypatch.setattr(devices, "place", lambda *_: placed.append(True))
        resident.switch(realism)
        assert placed == [True]

    def test_the_least_recently_used_variant_goes(self, make_resident, checked, realism):
        """A further scale replaces the variant that was used least recently."""
        resident = make_resident()
        scales = [replace(realism, scale=0.1 * number) for number in range(MAX_VARIANTS + 1)]
        for adapter in scales:
            resident.add(adapter, checked(resident))
        assert [resident.has(adapter) for adapter in scales] == [False, *[True] * MAX_VARIANTS]
        with pytest.raises(KeyError):
            resident.switch(scales[0])
