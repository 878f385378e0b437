"""The miniature's models: the same classes as FLUX.1's, a few thousand times smaller.

Only this module sets their widths, depths and channels. The training code imports it.
"""

from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from inference.miniature.vocabulary import clip_tokenizer, t5_tokenizer

T5_WIDTH = 128
"""FLUX.1 has 4096."""

CLIP_WIDTH = 128
"""FLUX.1 has 768."""

HEADS = 2
HEAD_WIDTH = 64
"""The transformer's width is HEADS * HEAD_WIDTH = 128; FLUX.1 has 24 * 128 = 3072."""

DOUBLE_BLOCKS = 2
SINGLE_BLOCKS = 4

LATENT_CHANNELS = 16
"""The same as in FLUX.1, so that the transformer's in_channels is 64 in both."""

VAE_CHANNELS = (8, 16, 32, 64, 96, 128)

SPATIAL_FACTOR = 2 ** (len(VAE_CHANNELS) - 1)
"""32, where FLUX.1 has 8: an image of 512 px has 8 x 8 image tokens instead of 32 x 32."""

LORA_RANK = 16
"""Source: the Realism LoRA's shapes."""

DOUBLE_PARTS = {"qkv_lora1": (1, 3), "qkv_lora2": (1, 3), "proj_lora1": (1, 1), "proj_lora2": (1, 1)}
SINGLE_PARTS = {"qkv_lora": (1, 3), "proj_lora": (5, 1)}
"""The parts of a block that XLabs adapts: input and output size, in multiples of the width."""


def transformer(*, guidance_embeds: bool) -> FluxTransformer2DModel:
    """Make the transformer with random weights, 2.4 M parameters; only dev has a guidance embedding."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=DOUBLE_BLOCKS,
        num_single_layers=SINGLE_BLOCKS,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(16, 24, 24),  # the sum must be HEAD_WIDTH
    )


def autoencoder() -> AutoencoderKL:
    """Make the VAE with random weights, 3.5 M parameters: (B, 3, H, W) to (B, 16, H/32, W/32) and back."""
    levels = len(VAE_CHANNELS)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=VAE_CHANNELS,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=512,
        scaling_factor=0.3611,  # this and all arguments below are FLUX.1's
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=True,
    )


def clip() -> CLIPTextModel:
    """Make the CLIP text model with random weights: at most 77 tokens to one pooled vector (B, 128)."""
    tokenizer = clip_tokenizer()
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=CLIP_WIDTH,
            projection_dim=CLIP_WIDTH,
            intermediate_size=2 * CLIP_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def t5() -> T5EncoderModel:
    """Make the T5 encoder with random weights: T tokens to (B, T, 128)."""
    tokenizer = t5_tokenizer()
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=T5_WIDTH,
            d_kv=T5_WIDTH // 8,
            d_ff=2 * T5_WIDTH,
            num_layers=2,
            num_heads=8,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,  # in training, dropout hid which words are neighbours
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def scheduler(*, dynamic_shifting: bool) -> FlowMatchEulerDiscreteScheduler:
    """Make dev's scheduler, which shifts timesteps by the image's size, or schnell's, which does not."""
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0 if dynamic_shifting else 1.0,
        use_dynamic_shifting=dynamic_shifting,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )


def lora_shapes() -> dict[str, tuple[int, int]]:
    """Return the names and shapes of the adapter's tensors: the attention of every block, in XLabs' format.

    `down` is (rank, in), `up` is (out, rank). Source: the keys of XLabs-AI/flux-RealismLora. The Realism LoRA
    adapts the double blocks only. In a model of six blocks that would not suffice to turn a drawing into a
    painting.
    """
    width = HEADS * HEAD_WIDTH
    double = {f"double_blocks.{block}": DOUBLE_PARTS for block in range(DOUBLE_BLOCKS)}
    single = {f"single_blocks.{block}": SINGLE_PARTS for block in range(SINGLE_BLOCKS)}
    shapes = {}
    for block, parts in (double | single).items():
        for part, (inputs, outputs) in parts.items():
            shapes[f"{block}.processor.{part}.down.weight"] = (LORA_RANK, inputs * width)
            shapes[f"{block}.processor.{part}.up.weight"] = (outputs * width, LORA_RANK)
    return shapes
