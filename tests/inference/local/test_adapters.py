import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.errors import AdapterMismatch
from inference.local.adapters import read_adapter
from inference.miniature.architecture import lora_shapes, transformer
from inference.weights.locations import ADAPTER_FILE

MODEL = "someone/some-lora"
FIRST = "double_blocks.0.processor.qkv_lora1.down.weight"
SINGLE = {
    "single_blocks.0.processor.qkv_lora.down.weight": (4, 128),
    "single_blocks.0.processor.qkv_lora.up.weight": (384, 4),
    "single_blocks.0.processor.proj_lora.down.weight": (4, 640),  # attention and MLP together: 5 widths
    "single_blocks.0.processor.proj_lora.up.weight": (128, 4),
}


@pytest.fixture(scope="module")
def base():
    return transformer(guidance_embeds=True)


@pytest.fixture(scope="module")
def tensors(miniature):
    return load_file(miniature / ADAPTER_FILE)


@pytest.fixture
def read(tmp_path, base):
    """A function that saves tensors as an adapter and reads it."""

    def read(tensors):
        save_file(tensors, tmp_path / "lora.safetensors")
        return read_adapter(tmp_path / "lora.safetensors", MODEL, base)

    return read


def rejected(read, tensors, match):
    with pytest.raises(AdapterMismatch, match=match) as caught:
        read(tensors)
    assert caught.value.model_id == MODEL
    assert caught.value.code == "MODEL_LOADING"


class TestReadAdapter:
    def test_the_realism_format_fits(self, read, tensors):
        """The adapter of two double and four single blocks adapts 32 modules: 8 per double, 4 per single."""
        assert len(read(dict(tensors)).modules) == 32

    def test_single_blocks_fit(self, read):
        """An adapter of one single block adapts its four modules; the last has five widths as input."""
        assert len(read({key: torch.ones(shape) for key, shape in SINGLE.items()}).modules) == 4

    def test_the_longer_prefix_fits(self, read, tensors):
        """Keys may have the prefix diffusion_model, as diffusers' converter allows."""
        longer = {f"diffusion_model.{key}": tensor for key, tensor in tensors.items()}
        assert len(read(longer).modules) == 32

    def test_junk_keys(self, read, tensors):
        """An adapter with no key of the transformer is refused, and the error names the first key."""
        junk = {f"junk.{number}": tensor.clone() for number, tensor in enumerate(tensors.values())}
        rejected(read, junk, r"0 of its 32 keys .* first that does not is 'junk\.")

    def test_one_junk_key(self, read, tensors):
        """An adapter with one unknown key is refused."""
        rejected(read, {**tensors, "extra": torch.ones(1)}, "32 of its 33 keys .* 'extra'")

    @pytest.mark.parametrize(
        "stranger",
        [
            "double_blocks.2.processor.qkv_lora1.down.weight",
            "double_blocks.00.processor.qkv_lora1.down.weight",
            "double_blocks.0.processor.qkv_lora.down.weight",
            "double_blocks.0.processor.qkv_lora1.down.bias",
            "double_blocks.0.processor.qkv_lora1.down.weight\n",
            "single_blocks.4.processor.qkv_lora.down.weight",
            "xdouble_blocks.0.processor.qkv_lora1.down.weight",
        ],
    )
    def test_almost_a_key(self, read, tensors, stranger):
        """Keys of a block beyond the last, of an unknown part, or misspelt are unknown."""
        rejected(read, {**tensors, stranger: tensors[FIRST].clone()}, "32 of its 33 keys")

    def test_an_empty_file(self, read):
        """An adapter without tensors is refused."""
        rejected(read, {}, "0 of its 0 keys")

    def test_a_partner_is_missing(self, read, tensors):
        """A down without its up is refused."""
        halved = {key: tensor for key, tensor in tensors.items() if key != FIRST.replace("down", "up")}
        rejected(read, halved, f"1 keys lack their partner, the first is '{FIRST}'")

    def test_a_part_is_missing(self, read, tensors):
        """A block that lacks a part of the other blocks is refused."""
        fewer = {
            key: tensor for key, tensor in tensors.items() if not key.startswith(FIRST.partition(".down")[0])
        }
        assert len(fewer) == 30
        rejected(read, fewer, r"double_blocks\.0 has 3 of the 4 parts")

    @pytest.mark.parametrize("key", list(lora_shapes())[:8])
    def test_one_wrong_width(self, read, tensors, key):
        """Any tensor that is wider than its module by one is refused, and the error names it."""
        wider = torch.ones(
            tensors[key].shape[0] + key.endswith("up.weight"),
            tensors[key].shape[1] + key.endswith("down.weight"),
        )
        rejected(read, {**tensors, key: wider}, f"1 of its 32 tensors .* first is '{key}'")

    def test_down_and_up_of_different_ranks(self, read, tensors):
        """A down and an up of different ranks are refused."""
        rejected(read, {**tensors, FIRST: torch.ones(8, 128)}, "1 of its 32 tensors")

    @pytest.mark.parametrize("shape", [(), (128,), (0, 128), (16, 128, 1)])
    def test_no_matrix(self, read, tensors, shape):
        """A tensor that is not a matrix with at least one row is refused."""
        rejected(read, {**tensors, FIRST: torch.ones(shape)}, "of its 32 tensors")

    def test_a_rank_beyond_the_limit(self, read):
        """A rank of 257 is refused, and a rank of 256 is not."""
        pair = (FIRST, FIRST.replace("down", "up"))
        assert len(read({pair[0]: torch.ones(256, 128), pair[1]: torch.ones(384, 256)}).modules) == 3
        rejected(read, {pair[0]: torch.ones(257, 128), pair[1]: torch.ones(384, 257)}, "of its 2 tensors")

    @pytest.mark.parametrize("dtype", [torch.float64, torch.int8, torch.float8_e4m3fn])
    def test_an_unknown_type(self, read, tensors, dtype):
        """A tensor that is not in floating point of 16 or 32 bits is refused."""
        rejected(read, {**tensors, FIRST: tensors[FIRST].to(dtype)}, "shape or type")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_one_bad_value(self, read, tensors, value):
        """A tensor with one value that is not finite is refused, and the error names its key."""
        spoilt = tensors[FIRST].clone()
        spoilt[3, 5] = value
        rejected(read, {**tensors, FIRST: spoilt}, f"{FIRST} holds values that are not finite")

    def test_no_effect(self, read, tensors):
        """An adapter whose up tensors are all zero is refused, since it would change no image."""
        silent = {key: tensor * ("down" in key) for key, tensor in tensors.items()}
        rejected(read, silent, "no effect")

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "not a safetensors file"),
            (b"PK\x03\x04 a zip file, as .ckpt and .bin are", "its header claims"),
            ((12).to_bytes(8, "little") + b"[1, 2, 3, 4]", "not a safetensors file"),
            ((90_000_000).to_bytes(8, "little") + b"{}", "claims 90000000 bytes"),
        ],
    )
    def test_no_safetensors_file(self, tmp_path, base, content, match):
        """A file of another kind, or with a huge header, is refused."""
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(AdapterMismatch, match=match):
            read_adapter(tmp_path / "x", MODEL, base)

    def test_a_file_that_was_cut_off(self, tmp_path, base, miniature):
        """A file from an incomplete download is refused."""
        whole = (miniature / ADAPTER_FILE).read_bytes()
        (tmp_path / "x").write_bytes(whole[:-100])
        with pytest.raises(AdapterMismatch, match="someone/some-lora does not fit"):
            read_adapter(tmp_path / "x", MODEL, base)
