"""A prompt, cut to what the model reads and encoded by its two text models."""

from dataclasses import dataclass

import torch
from diffusers import FluxPipeline


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as the transformer takes it.

    embeds: (1, T, 4096) from T5, T being the limit. pooled: (1, 768) from CLIP.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor
    warnings: tuple[str, ...]


def encode(pipeline: FluxPipeline, prompt: str, max_tokens: int) -> EncodedPrompt:
    """Encode a prompt, dropping what exceeds the limit, with a warning that says so and quotes nothing.

    The limit is the order's, or the T5 tokenizer's own where that is lower, as the miniature's is. CLIP
    always reads the first 77 tokens only, by FLUX.1's design: T5 carries the rest, so no warning.
    """
    max_tokens = min(max_tokens, pipeline.tokenizer_2.model_max_length)
    tokens = len(pipeline.tokenizer_2(prompt, truncation=False, verbose=False).input_ids)
    dropped = max(0, tokens - max_tokens)
    warnings = (f"The prompt was cut to {max_tokens} tokens; {dropped} were dropped",) if dropped else ()
    with torch.no_grad():
        embeds, pooled, _ = pipeline.encode_prompt(
            prompt=prompt, prompt_2=None, max_sequence_length=max_tokens
        )
    return EncodedPrompt(embeds, pooled, warnings)
