"""FLUX.1's models at their real size with random weights, of the same classes as the miniature's.

On the `meta` device these models have shapes and use no memory. On a GPU they have random values and take as
long as the real ones, because no timing depends on the values.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel, T5TokenizerFast

from inference.miniature.architecture import DOUBLE_PARTS, LORA_RANK, scheduler
from inference.miniature.vocabulary import clip_tokenizer, t5_tokenizer

TRANSFORMER: Final[
    dict[str, Any]
] = {  # Source: transformer/config.json of FLUX.1-dev; schnell's lacks guidance
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "axes_dims_rope": (16, 56, 56),
}
WIDTH: Final = TRANSFORMER["num_attention_heads"] * TRANSFORMER["attention_head_dim"]

AUTOENCODER: Final[dict[str, Any]] = {  # Source: vae/config.json of FLUX.1-dev
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 16,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "force_upcast": True,
}

CLIP: Final[dict[str, Any]] = {  # Source: text_encoder/config.json of FLUX.1-dev, CLIP-L
    "vocab_size": 49408,
    "hidden_size": 768,
    "projection_dim": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,  # as in the real config: transformers then pools at the highest id, the end token
}

T5: Final[dict[str, Any]] = {  # Source: text_encoder_2/config.json of FLUX.1-dev, T5 v1.1 XXL
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.1,
    "tie_word_embeddings": False,
}

MAX_TEXT_TOKENS: Final = 512  # Source: FLUX.1-dev's model card; schnell was trained with 256
TOKEN_PX: Final = 16
"""The side of an image token in pixels: the VAE's factor of 8 times 2, as 2x2 latents are packed."""


def transformer(device: torch.device, *, guidance_embeds: bool, **changes: Any) -> FluxTransformer2DModel:
    """Make the transformer in bfloat16 with random weights: 11.9 B parameters, 23.8 GB.

    changes: of the config, such as fewer layers of the same width.
    """
    with fresh(device):
        return FluxTransformer2DModel(**TRANSFORMER | changes, guidance_embeds=guidance_embeds).eval()


def autoencoder(device: torch.device) -> AutoencoderKL:
    """Make the VAE in bfloat16 with random weights: (B, 3, H, W) to (B, 16, H/8, W/8) and back."""
    with fresh(device):
        return AutoencoderKL(**AUTOENCODER).eval()


def clip(device: torch.device) -> CLIPTextModel:
    """Make the CLIP text model in bfloat16 with random weights: at most 77 tokens to one vector (B, 768)."""
    with fresh(device):
        return CLIPTextModel(CLIPTextConfig(**CLIP)).eval()


def t5(device: torch.device) -> T5EncoderModel:
    """Make the T5 encoder in bfloat16 with random weights, 9.5 GB: T tokens to (B, T, 4096)."""
    with fresh(device):
        return T5EncoderModel(T5Config(**T5)).eval()


def pipeline(device: torch.device, *, dev: bool) -> FluxPipeline:
    """Make the whole pipeline of FLUX.1-dev, or of schnell, with random weights. Sends no request to the hub.

    It uses the miniature's tokenizers, which read any prompt, here with FLUX.1's limit of 512 tokens.
    """
    return FluxPipeline(
        scheduler=scheduler(dynamic_shifting=dev),
        vae=autoencoder(device),
        text_encoder=clip(device),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(device),
        tokenizer_2=_long_tokenizer(),
        transformer=transformer(device, guidance_embeds=dev),
    )


def lora_shapes() -> dict[str, tuple[int, int]]:
    """Return the tensor names and shapes of an adapter like the Realism LoRA: double blocks, rank 16."""
    shapes = {}
    for block in range(TRANSFORMER["num_layers"]):
        for part, (inputs, outputs) in DOUBLE_PARTS.items():
            key = f"double_blocks.{block}.processor.{part}"
            shapes[f"{key}.down.weight"] = (LORA_RANK, inputs * WIDTH)
            shapes[f"{key}.up.weight"] = (outputs * WIDTH, LORA_RANK)
    return shapes


def parameters(model: torch.nn.Module) -> int:
    """Return a model's number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def fresh(device: torch.device) -> Iterator[None]:
    """Make modules in the body on a device, in bfloat16, with their default random initialisation."""
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(previous)


def _long_tokenizer() -> T5TokenizerFast:
    tokenizer = copy.deepcopy(t5_tokenizer())  # a copy: the miniature's own must keep its limit
    tokenizer.model_max_length = MAX_TEXT_TOKENS
    return tokenizer
