"""All of FLUX.1 on the meta device, from a prompt to an image through the backend's own code."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.random_backend import RandomBackend
from catalog.entries import shipped_entries
from catalog.orders import Order
from inference.backend import Phase
from inference.fullsize import CLIP, T5
from inference.local.compiling import Compilation
from inference.local.engine import Engine
from inference.local.profiles import Profile
from tests.inference.local.walk import Walk

BASE, _, _, SCHNELL = shipped_entries()
META = torch.device("meta")


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    """The backend of the full profile on the meta device, with one base model at a time."""
    backend = RandomBackend(tmp_path_factory.mktemp("adapter"), device="meta")
    yield backend
    backend.close()


def walked(backend, entry, width_px, height_px):
    """Draw two steps of an entry on meta; return the walk, the image and the reported phases."""
    prompt = f"portrait of a woman, {width_px} by {height_px}"  # none is in the cache
    order = replace(Order.of_entry(entry, prompt, seed=1, size_px=(width_px, height_px)), steps=2)
    backend.warm_up(order.model_id, order.revision, None)
    phases = []
    noise, embeds = 16 * (width_px // 8) * (height_px // 8), order.max_text_tokens * T5["d_model"]
    with Walk(largest_on_host=max(noise, embeds)) as walk:
        picture = backend.generate(order, lambda progress: phases.append(progress.phase))
    return walk, picture.image, phases


class TestFlux:
    @pytest.mark.parametrize(
        ("entry", "width_px", "height_px"),
        [
            (BASE, 512, 512),
            (BASE, 528, 784),
            (BASE, 1024, 1024),
            (BASE, 1536, 1536),
            (SCHNELL, 528, 784),
        ],
    )
    def test_everything_is_on_the_device_in_bf16(self, backend, entry, width_px, height_px):
        """All runs on the device in bf16; the host reads the encoded prompt, to keep it, and the levels."""
        walk, image, phases = walked(backend, entry, width_px, height_px)
        assert walk.wrong == []
        assert image.size == (width_px, height_px)
        assert walk.read_tensors == [
            (torch.bfloat16, (1, entry.max_text_tokens, T5["d_model"])),
            (torch.bfloat16, (1, CLIP["projection_dim"])),
            (torch.uint8, (height_px, width_px, 3)),
        ]
        assert len(walk.read_scalars) <= 3  # each waits for the device: the checks of latents and pixels
        assert phases == [Phase.ENCODE, Phase.STEP, Phase.STEP, Phase.DECODE]

    def test_hoisted(self, tmp_path, monkeypatch):
        """So it does with everything hoisted that steps share, and two steps read no more from the device."""
        monkeypatch.setattr(Compilation, "compile", lambda *_: None)
        backend = RandomBackend(tmp_path, device="meta")
        backend._engine = Engine(Profile.FAST, META)
        walk, image, _ = walked(backend, BASE, 528, 784)
        assert walk.wrong == []
        assert image.size == (528, 784)
        assert len(walk.read_scalars) <= 3


class TestWalk:
    def test_a_product_in_float32_is_found(self):
        """A layer in float32 is reported, as a product and as a module."""
        with Walk(largest_on_host=0) as walk:
            nn.Linear(8, 8, device=META)(torch.empty(2, 8, device=META))
        assert walk.wrong == ["aten.addmm.default has ['torch.float32']", "Linear has ['torch.float32']"]

    def test_a_layer_on_the_host_is_found(self):
        """A layer that stayed on the host is reported."""
        layer = nn.Linear(8, 8, dtype=torch.bfloat16)
        with Walk(largest_on_host=64) as walk, torch.no_grad():
            layer(torch.ones(2, 8, dtype=torch.bfloat16))
        assert walk.wrong == ["aten.addmm.default runs on the host"]

    def test_attention_in_float32_is_found(self):
        """Attention whose queries were not cast back is reported."""
        queries = torch.empty(1, 1, 4, 8, device=META)
        keys = queries.to(torch.bfloat16)
        with Walk(largest_on_host=0) as walk:
            nn.functional.scaled_dot_product_attention(queries, keys, keys)
        assert walk.wrong == ["scaled_dot_product_attention has ['torch.bfloat16', 'torch.float32']"]

    def test_a_large_tensor_on_the_host_is_found(self):
        """A tensor of floats that is larger than the noise is reported if it is made on the host."""
        with Walk(largest_on_host=10) as walk:
            torch.zeros(11)
        assert walk.wrong == ["aten.zeros.default has a large tensor on the host"]
