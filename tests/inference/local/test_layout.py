"""Pipelines in the layout of the real repositories, loaded as the worker loads them."""

import pytest
import torch
from torch import nn

from inference.local.pipelines import load_pipeline, locate, read_weights
from inference.weights.locations import DEV, SCHNELL, FullWeights
from tests.inference.local.real_layout import SHARDS, write_real_layout

MODELS = ("transformer", "vae", "text_encoder", "text_encoder_2")
PROMPT = "Portrait of a young woman with red hair, smiling; unknownword"


def load(models_dir, model_id):
    """Load a pipeline in bf16, by the worker's own way."""
    weights = FullWeights(models_dir).pipeline(model_id, None)
    return load_pipeline(model_id, locate(model_id, weights), torch.bfloat16)


@pytest.fixture(scope="module", params=[DEV, SCHNELL])
def pipelines(request, tmp_path_factory, miniature):
    """The miniature's pipeline, and the same in the layout of the real repository."""
    folder = tmp_path_factory.mktemp("real")
    write_real_layout(miniature / request.param, folder / request.param)
    return load(miniature, request.param), load(folder, request.param)


class TestRealLayout:
    def test_it_is_the_real_one(self, tmp_path, miniature):
        """The folder has the real repository's files, and none that only today's libraries write."""
        folder = write_real_layout(miniature / DEV, tmp_path / DEV)
        files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
        shards = range(1, SHARDS + 1)
        assert files == {
            "model_index.json",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "text_encoder_2/config.json",
            "text_encoder_2/model.safetensors.index.json",
            *(f"text_encoder_2/model-{number:05}-of-00003.safetensors" for number in shards),
            "tokenizer/merges.txt",
            "tokenizer/special_tokens_map.json",
            "tokenizer/tokenizer_config.json",
            "tokenizer/vocab.json",
            "tokenizer_2/special_tokens_map.json",
            "tokenizer_2/spiece.model",
            "tokenizer_2/tokenizer.json",
            "tokenizer_2/tokenizer_config.json",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model.safetensors.index.json",
            *(f"transformer/diffusion_pytorch_model-{number:05}-of-00003.safetensors" for number in shards),
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        }

    @pytest.mark.parametrize("name", MODELS)
    def test_weights_are_equal(self, pipelines, name):
        """Every weight of each model is the miniature's, bit for bit; none is missing or random."""
        ours, real = (getattr(pipeline, name).state_dict() for pipeline in pipelines)
        assert real.keys() == ours.keys()
        assert [key for key in ours if not torch.equal(ours[key], real[key])] == []

    def test_weights_are_read_from_all_shards(self, tmp_path, miniature):
        """Single weights of a transformer, as for a variant, are read from whichever shard has them."""
        folder = write_real_layout(miniature / DEV, tmp_path / DEV)
        modules = load(miniature, DEV).transformer.named_modules()
        names = {name for name, module in modules if isinstance(module, nn.Linear)}
        ours, real = (read_weights(place, names, torch.bfloat16) for place in (miniature / DEV, folder))
        assert real.keys() == ours.keys() == names
        assert all(torch.equal(ours[name], real[name]) for name in names)

    @pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
    def test_tokens_are_equal(self, pipelines, name):
        """Both tokenizers read a prompt into the same tokens, padded to the same limit."""
        ours, real = (
            getattr(pipeline, name)(PROMPT, padding="max_length", truncation=True) for pipeline in pipelines
        )
        assert real.input_ids == ours.input_ids
        assert pipelines[0].tokenizer_2.model_max_length == pipelines[1].tokenizer_2.model_max_length

    def test_embeddings_are_equal(self, pipelines):
        """A prompt's embeddings, from T5 and from CLIP, equal the miniature's bit for bit."""
        with torch.no_grad():
            ours, real = (
                pipeline.encode_prompt(PROMPT, None, max_sequence_length=64) for pipeline in pipelines
            )
        embeds, pooled, _ = ours
        assert torch.equal(real[0], embeds)
        assert torch.equal(real[1], pooled)
        assert min(embeds.std(), pooled.std()) > 0.01
