"""The requests of huggingface_hub's own client to each provider, for each entry of the catalogue."""

import pytest
from huggingface_hub import HfApi

from catalog.entries import shipped_entries
from catalog.orders import Order
from inference.hosted.errors import NoProvider
from tests.inference.hosted.box import KEY
from tests.inference.weights.hub import TOKEN, open_hub
from tests.inference.weights.repositories import DEV, repositories

ENTRIES = {entry.key.partition(":")[2]: entry for entry in shipped_entries()}
LORA = "https://huggingface.co/XLabs-AI/flux-RealismLora"
PROMPT = "a fox in a suit"

FAL = {"prompt": PROMPT, "seed": 7, "num_images": 1, "output_format": "png"}
REPLICATE = {
    "prompt": PROMPT,
    "seed": 7,
    "aspect_ratio": "1:1",
    "num_outputs": 1,
    "output_format": "png",
    "go_fast": False,
}
LORAS = {"loras": [{"path": f"{LORA}/resolve/main/lora.safetensors", "scale": 0.9}]}

EXPECTED = {
    ("fal-ai", "flux-dev-base"): (
        "/fal-ai/fal-ai/flux/dev",
        FAL | {"num_inference_steps": 28, "guidance_scale": 3.5, "image_size": {"width": 512, "height": 512}},
    ),
    ("fal-ai", "flux-dev-realism"): (
        "/fal-ai/fal-ai/flux-lora",
        FAL
        | LORAS
        | {"num_inference_steps": 30, "guidance_scale": 3.5, "image_size": {"width": 768, "height": 768}},
    ),
    ("fal-ai", "flux-dev-hd-realism"): (
        "/fal-ai/fal-ai/flux-lora",
        FAL
        | LORAS
        | {"num_inference_steps": 35, "guidance_scale": 3.5, "image_size": {"width": 1024, "height": 1024}},
    ),
    ("fal-ai", "flux-schnell-fast"): (
        "/fal-ai/fal-ai/flux/schnell",
        FAL | {"num_inference_steps": 4, "image_size": {"width": 512, "height": 512}},
    ),
    ("replicate", "flux-dev-base"): (
        "/replicate/v1/models/black-forest-labs/flux-dev/predictions",
        {"input": REPLICATE | {"num_inference_steps": 28, "guidance": 3.5, "megapixels": "0.25"}},
    ),
    ("replicate", "flux-dev-realism"): (
        "/replicate/v1/models/black-forest-labs/flux-dev-lora/predictions",
        {
            "input": REPLICATE
            | {"num_inference_steps": 30, "guidance": 3.5, "megapixels": "1"}
            | {"lora_weights": LORA, "lora_scale": 0.9}
        },
    ),
    ("replicate", "flux-dev-hd-realism"): (
        "/replicate/v1/models/black-forest-labs/flux-dev-lora/predictions",
        {
            "input": REPLICATE
            | {"num_inference_steps": 35, "guidance": 3.5, "megapixels": "1"}
            | {"lora_weights": LORA, "lora_scale": 0.9}
        },
    ),
    ("replicate", "flux-schnell-fast"): (
        "/replicate/v1/models/black-forest-labs/flux-schnell/predictions",
        {"input": REPLICATE | {"num_inference_steps": 4, "megapixels": "0.25"}},
    ),
    ("hf-inference", "flux-dev-base"): (
        "/hf-inference/models/black-forest-labs/FLUX.1-dev",
        {
            "inputs": PROMPT,
            "parameters": {
                "width": 512,
                "height": 512,
                "num_inference_steps": 28,
                "guidance_scale": 3.5,
                "seed": 7,
            },
        },
    ),
    ("hf-inference", "flux-schnell-fast"): (
        "/hf-inference/models/black-forest-labs/FLUX.1-schnell",
        {
            "inputs": PROMPT,
            "parameters": {
                "width": 512,
                "height": 512,
                "num_inference_steps": 4,
                "guidance_scale": 0.0,
                "seed": 7,
            },
        },
    ),
}


class TestRequests:
    @pytest.mark.parametrize(("provider", "name"), EXPECTED, ids=["-".join(key) for key in EXPECTED])
    def test_each_provider_gets_its_own_request(self, box, backend_at, provider, name):
        """Each request has the provider's path and fields, the key, and the LoRA at its scale of 0.9."""
        path, body = EXPECTED[provider, name]
        order = Order.of_entry(ENTRIES[name], PROMPT, seed=7)
        picture = backend_at(provider).generate(order, lambda _: None)
        (request,) = box.orders
        assert (request.method, request.path, request.body) == ("POST", path, body)
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept"] == "image/png"
        assert request.headers.get("prefer") == ("wait" if provider == "replicate" else None)
        assert picture.image.size == (order.width_px, order.height_px)
        assert picture.provenance.provider == provider
        assert picture.provenance.adapter == order.adapter
        assert picture.provenance.cost_microusd > 0

    @pytest.mark.parametrize("name", ["flux-dev-realism", "flux-dev-hd-realism"])
    def test_a_provider_without_lora_is_skipped(self, box, backend_at, name):
        """hf-inference cannot apply a LoRA: it never gets such an order, and another provider draws it."""
        order = Order.of_entry(ENTRIES[name], PROMPT, seed=7)
        with pytest.raises(NoProvider, match="hf-inference cannot apply a LoRA"):
            backend_at("hf-inference").generate(order, lambda _: None)
        assert box.requests == []
        picture = backend_at("hf-inference", "fal-ai").generate(order, lambda _: None)
        assert [request.provider for request in box.orders] == ["fal-ai"]
        assert picture.provenance.adapter == order.adapter

    def test_images_are_fetched_without_the_key(self, box, backend_at):
        """The key is not sent to the host of an image, which may be anybody's."""
        order = Order.of_entry(ENTRIES["flux-dev-base"], PROMPT, seed=7)
        backend_at("fal-ai").generate(order, lambda _: None)
        (fetched,) = (request for request in box.requests if request.method == "GET")
        assert KEY not in str(fetched.headers)

    def test_closing_restores_the_hubs_client(self, backend_at):
        """After the backend is closed, other requests of this process to the hub work without a deadline."""
        with open_hub(repositories()) as hub:
            client = HfApi(endpoint=hub.url, token=TOKEN)
            backend = backend_at("fal-ai")
            with pytest.raises(LookupError):
                client.auth_check(DEV)
            backend.close()
            client.auth_check(DEV)
