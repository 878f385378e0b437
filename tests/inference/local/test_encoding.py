import pytest
import torch
from diffusers import FluxPipeline

from inference.local.encoding import PromptEncoder
from inference.weights.locations import DEV


@pytest.fixture(scope="module")
def pipeline(miniature):
    return FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.float32)


@pytest.fixture
def runs(pipeline):
    """The runs of both text models."""
    runs = []
    hooks = [
        model.register_forward_hook(lambda model, *_: runs.append(type(model).__name__))
        for model in (pipeline.text_encoder, pipeline.text_encoder_2)
    ]
    yield runs
    for hook in hooks:
        hook.remove()


class TestPromptEncoder:
    def test_it_is_the_pipeline_s_encoding(self, pipeline):
        """A prompt is encoded as by diffusers, bit for bit."""
        encoded = PromptEncoder(pipeline).encode("a man with a hat", 32)
        with torch.no_grad():
            embeds, pooled, _ = pipeline.encode_prompt("a man with a hat", None, max_sequence_length=32)
        assert torch.equal(encoded.embeds, embeds)
        assert torch.equal(encoded.pooled, pooled)

    def test_a_cached_prompt_runs_no_model(self, pipeline, runs):
        """The same prompt at the same limit is encoded once, with its warnings."""
        encoder = PromptEncoder(pipeline)
        first = encoder.encode("hat " * 40, 16)
        assert runs == ["CLIPTextModel", "T5EncoderModel"]
        assert encoder.encode("hat " * 40, 16) is first
        assert len(runs) == 2
        assert first.warnings

    def test_prompt_and_limit_are_the_key(self, pipeline, runs):
        """Another prompt or limit is encoded anew; limits beyond the tokenizer's own are one."""
        encoder = PromptEncoder(pipeline)
        lengths = [
            encoder.encode(prompt, limit).embeds.shape[1]
            for prompt, limit in (("a hat", 16), ("a cap", 16), ("a hat", 32), ("a hat", 64), ("a hat", 512))
        ]
        assert lengths == [16, 16, 32, 64, 64]
        assert len(runs) == 2 * 4

    def test_the_least_recently_used_is_dropped(self, pipeline, runs):
        """Beyond the limit of bytes, only the least recently used prompt is encoded again."""
        size = PromptEncoder(pipeline).encode("a", 16).nbytes
        assert size == 4 * (16 * 128 + 128)
        encoder = PromptEncoder(pipeline, max_cached_bytes=2 * size)
        runs.clear()
        for prompt in ("a", "b", "a", "c", "a"):
            encoder.encode(prompt, 16)
        assert len(runs) == 2 * 3
        encoder.encode("b", 16)
        assert len(runs) == 2 * 4

    def test_a_prompt_larger_than_the_cache(self, pipeline, runs):
        """A prompt that exceeds the cache alone is encoded, and not cached."""
        encoder = PromptEncoder(pipeline, max_cached_bytes=100)
        assert encoder.encode("a", 16).embeds.shape == (1, 16, 128)
        encoder.encode("a", 16)
        assert len(runs) == 2 * 2
