import gc
import json
import shutil

import pytest
import torch
from diffusers import FluxPipeline

from inference.local.pipelines import load_pipeline, read_weights
from inference.local.shared_parts import SHARED, SharedParts, digests_of
from inference.weights.locations import DEV, SCHNELL


@pytest.fixture
def copy(miniature, tmp_path):
    """A copy of dev's folder that the test may change."""
    shutil.copytree(miniature / DEV, tmp_path / "copy")
    return tmp_path / "copy"


class TestDigests:
    def test_dev_and_schnell_have_equal_parts(self, miniature):
        """T5, CLIP and the VAE have equal digests in both repositories."""
        assert digests_of(miniature / DEV) == digests_of(miniature / SCHNELL)

    def test_other_weights_are_another_part(self, copy):
        """One changed byte of the weights changes that part's digest, and no other's."""
        before = digests_of(copy)
        (file,) = (copy / "vae").glob("*.safetensors")
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        after = digests_of(copy)
        assert {name for name in SHARED if before[name] != after[name]} == {"vae"}

    @pytest.mark.parametrize(
        ("key", "value", "same"),
        [("_name_or_path", "elsewhere", True), ("transformers_version", "1.0", True), ("d_kv", 1, False)],
    )
    def test_a_config_counts_but_for_its_origin(self, copy, key, value, same):
        """What a config says of the model is part of the digest, and by what it was saved is not."""
        before = digests_of(copy)
        file = copy / "text_encoder_2" / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
        assert (digests_of(copy) == before) is same

    def test_the_hub_s_cache_is_not_read(self, copy, tmp_path):
        """In the hub's cache the digest follows from the blob's name, which is the SHA-256 already."""
        before = digests_of(copy)
        (file,) = (copy / "vae").glob("*.safetensors")
        blob = tmp_path / "blobs" / ("a" * 64)
        blob.parent.mkdir()
        file.rename(blob)
        file.symlink_to(blob)
        named = digests_of(copy)
        blob.write_bytes(b"")
        assert digests_of(copy) == named != before


class TestSharedParts:
    def test_a_part_is_read_and_placed_once(self, miniature):
        """The second pipeline has the first one's parts, which have been placed once."""
        placed = []
        parts = SharedParts(lambda name, _: placed.append(name))
        first, second = (
            load_pipeline(name, miniature / name, torch.float32, parts) for name in (DEV, SCHNELL)
        )
        assert all(getattr(first, name) is getattr(second, name) for name in SHARED)
        assert sorted(placed) == sorted(SHARED)
        assert first.transformer is not second.transformer

    def test_a_part_goes_with_its_last_pipeline(self, miniature):
        """A part is in memory only as long as a pipeline uses it."""
        parts, digests = SharedParts(lambda *_: None), digests_of(miniature / DEV)
        pipeline = load_pipeline(DEV, miniature / DEV, torch.float32, parts)
        assert parts.found(digests).keys() == set(SHARED)
        del pipeline
        gc.collect()
        assert parts.found(digests) == {}

    def test_without_sharing_each_has_its_own(self, miniature):
        """Two pipelines that are not to share have parts of their own."""
        first, second = (load_pipeline(name, miniature / name, torch.float32) for name in (DEV, SCHNELL))
        assert not any(getattr(first, name) is getattr(second, name) for name in SHARED)


class TestReadWeights:
    def test_they_are_the_pipeline_s(self, miniature):
        """The weights of some modules equal those of the loaded transformer."""
        transformer = FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.float32).transformer
        names = {"transformer_blocks.0.attn.to_q", "proj_out"}
        weights = read_weights(miniature / DEV, names, torch.float32)
        assert weights.keys() == names
        assert all(torch.equal(weights[name], transformer.get_submodule(name).weight) for name in names)
