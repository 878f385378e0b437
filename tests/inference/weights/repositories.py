"""The repositories of the fake hub: the layout of the real repositories, with random bytes."""

import random

DEV, SCHNELL = "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell"
ADAPTER = "XLabs-AI/flux-RealismLora"
LARGEST = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
LARGEST_BYTES = 24_000_000
"""More than twice the 10 MB that huggingface_hub writes at a time."""

SHARED = (
    "text_encoder/model.safetensors",
    "text_encoder_2/model-00001-of-00001.safetensors",
    "tokenizer_2/spiece.model",
    "vae/diffusion_pytorch_model.safetensors",
)
UNWANTED = ("flux1-dev.safetensors", "ae.safetensors", "README.md", "LICENSE.md", ".gitattributes")


def repositories() -> dict[str, dict[str, bytes]]:
    """Return the files of each repository by their names. Both models share encoders, tokenizer and VAE."""
    shared = {name: _bytes(name, 200_000) for name in SHARED} | {
        f"{part}/config.json": f'{{"part": "{part}"}}'.encode()
        for part in ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "vae")
    }
    both = shared | {name: _bytes(name, 70_000) for name in UNWANTED}
    dev = both | {
        "model_index.json": b'{"_class_name": "FluxPipeline"}',
        "transformer/config.json": b'{"guidance_embeds": true}',
        LARGEST: _bytes("dev", LARGEST_BYTES),
    }
    schnell = both | {
        "model_index.json": b'{"_class_name": "FluxPipeline"}',
        "transformer/config.json": b'{"guidance_embeds": false}',
        "transformer/diffusion_pytorch_model.safetensors": _bytes("schnell", 300_000),
    }
    adapter = {"lora.safetensors": _bytes("lora", 100_000), "README.md": b"a LoRA", "lora.png": b"x" * 70_000}
    return {DEV: dev, SCHNELL: schnell, ADAPTER: adapter}


def _bytes(seed: str, count: int) -> bytes:
    return random.Random(seed).randbytes(count)
