"""Counts the floating-point operations of a forward pass of FLUX.1's transformer from its config.

Pure functions. A multiplication and the following addition count as two operations. Like torch's own
counter, they count matrix products only: no norms, activations, rotary embeddings or LoRA.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

_MLP_RATIO: Final = 4  # Source: diffusers 0.42, of the double blocks and the single ones alike
_TIME_WIDTH: Final = 256  # Source: diffusers 0.42, the sinusoidal embedding of timestep and guidance
_PER_MULTIPLICATION: Final = 2


@dataclass(frozen=True)
class Flop:
    """Floating-point operations, counted separately for linear layers and attention."""

    linear: int
    attention: int

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.linear + self.attention

    def __add__(self, other: Self) -> "Flop":
        return Flop(self.linear + other.linear, self.attention + other.attention)

    def __mul__(self, times: int) -> "Flop":
        return Flop(self.linear * times, self.attention * times)


@dataclass(frozen=True)
class TransformerShape:
    """The dimensions of a FLUX.1 transformer that determine its computation."""

    width: int
    double_blocks: int
    single_blocks: int
    in_channels: int
    text_width: int
    pooled_width: int
    guidance: bool

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        """Read the shape from the config of a FluxTransformer2DModel."""
        return cls(
            width=config["num_attention_heads"] * config["attention_head_dim"],
            double_blocks=config["num_layers"],
            single_blocks=config["num_single_layers"],
            in_channels=config["in_channels"],
            text_width=config["joint_attention_dim"],
            pooled_width=config["pooled_projection_dim"],
            guidance=config["guidance_embeds"],
        )


def forward(shape: TransformerShape, text_tokens: int, image_tokens: int) -> Flop:
    """Count one forward pass for one image.

    One pass is one step, because FLUX.1's distilled guidance needs no second pass.
    """
    width, tokens = shape.width, text_tokens + image_tokens
    embeddings = (
        image_tokens * shape.in_channels * width  # x_embedder
        + text_tokens * shape.text_width * width  # context_embedder
        + (1 + shape.guidance) * (_TIME_WIDTH + width) * width  # two layers each for timestep and guidance
        + (shape.pooled_width + width) * width  # two layers for the pooled text
        + 2 * width * width  # norm_out: shift and scale
        + image_tokens * width * shape.in_channels  # proj_out
    )
    return (
        double_block(width, tokens) * shape.double_blocks
        + single_block(width, tokens) * shape.single_blocks
        + Flop(_PER_MULTIPLICATION * embeddings, 0)
    )


def double_block(width: int, tokens: int) -> Flop:
    """Count a double block: text and image have separate weights and attend to each other.

    tokens: text and image tokens together. Both streams have equal layers, so only the sum matters.
    """
    projections = 4 * width * width  # query, key, value and output
    modulations = 2 * 6 * width * width  # six vectors per stream, computed once per image
    linear = tokens * (projections + 2 * _MLP_RATIO * width * width) + modulations
    return Flop(_PER_MULTIPLICATION * linear, _attention(width, tokens))


def single_block(width: int, tokens: int) -> Flop:
    """Count a single block: text and image are one sequence; attention and MLP share an output projection."""
    input_projection = (3 + _MLP_RATIO) * width * width  # query, key, value and the MLP's first layer
    output_projection = (1 + _MLP_RATIO) * width * width
    modulations = 3 * width * width
    linear = tokens * (input_projection + output_projection) + modulations
    return Flop(_PER_MULTIPLICATION * linear, _attention(width, tokens))


def _attention(width: int, tokens: int) -> int:
    """Count the products of queries with keys and of attention weights with values, over all heads."""
    return _PER_MULTIPLICATION * 2 * tokens * tokens * width
