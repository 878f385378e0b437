"""Truncates a prompt to the model's token limit and encodes it with both text models."""

from dataclasses import dataclass

import torch
from diffusers import FluxPipeline


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as the transformer's input.

    embeds: (1, T, 4096) from T5, where T is the token limit. pooled: (1, 768) from CLIP.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor
    warnings: tuple[str, ...]


def encode(pipeline: FluxPipeline, prompt: str, max_tokens: int) -> EncodedPrompt:
    """Encode a prompt. Tokens beyond the limit are dropped with a warning, which does not quote the prompt.

    The limit is the minimum of `max_tokens` and the T5 tokenizer's own limit, 64 tokens in the miniature.
    By FLUX.1's design CLIP reads only the first 77 tokens. This causes no warning, since T5 reads the rest.
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
