"""Truncates a prompt to the model's token limit, encodes it with both text models, and caches the result."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import torch
from diffusers import FluxPipeline

MAX_CACHED_BYTES: Final = 256 * 2**20  # 60 prompts of 512 tokens in bfloat16


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as the transformer's input, in the host's memory.

    embeds: (1, S, 4096) from T5, where S is the token limit. pooled: (1, 768) from CLIP.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor
    warnings: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """The size of both tensors."""
        return self.embeds.nbytes + self.pooled.nbytes


class PromptEncoder:
    """Encodes prompts with a pipeline's text models, which do not run for a prompt in the cache."""

    def __init__(self, pipeline: FluxPipeline, max_cached_bytes: int = MAX_CACHED_BYTES) -> None:
        self._pipeline = pipeline
        self._max_bytes = max_cached_bytes
        self._bytes = 0
        self._cached: OrderedDict[tuple[str, int], EncodedPrompt] = OrderedDict()

    def encode(self, prompt: str, max_tokens: int) -> EncodedPrompt:
        """Encode a prompt. Tokens beyond the limit are dropped with a warning, which quotes nothing.

        The limit is the minimum of `max_tokens` and the T5 tokenizer's own limit, 64 tokens in the miniature.
        By FLUX.1's design CLIP reads only the first 77 tokens; that causes no warning: T5 reads the rest.
        """
        key = (prompt, min(max_tokens, self._pipeline.tokenizer_2.model_max_length))
        if key in self._cached:
            self._cached.move_to_end(key)
            return self._cached[key]
        encoded = self._encode(*key)
        self._admit(key, encoded)
        return encoded

    def _encode(self, prompt: str, max_tokens: int) -> EncodedPrompt:
        tokens = len(self._pipeline.tokenizer_2(prompt, truncation=False, verbose=False).input_ids)
        dropped = max(0, tokens - max_tokens)
        warnings = (f"The prompt was cut to {max_tokens} tokens; {dropped} were dropped",) if dropped else ()
        with torch.no_grad():
            embeds, pooled, _ = self._pipeline.encode_prompt(
                prompt=prompt, prompt_2=None, max_sequence_length=max_tokens
            )
        return EncodedPrompt(embeds.cpu(), pooled.cpu(), warnings)

    def _admit(self, key: tuple[str, int], encoded: EncodedPrompt) -> None:
        """Cache a prompt, and drop the least recently used ones beyond the limit."""
        self._cached[key] = encoded
        self._bytes += encoded.nbytes
        while self._bytes > self._max_bytes:
            _, dropped = self._cached.popitem(last=False)
            self._bytes -= dropped.nbytes
