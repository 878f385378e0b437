"""Adapters in the formats of kohya's sd-scripts and of diffusers and peft; XLabs' are in test_adapters."""

import json
from copy import deepcopy

import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from inference import fullsize
from inference.errors import AdapterMismatch
from inference.local.adapters import read_adapter
from inference.local.variants import fuse, variant_of
from inference.miniature.architecture import transformer

WIDTH, RANK = 128, 6
DOUBLE = "lora_unet_double_blocks_0"
KOHYA = {  # inputs and outputs of each part, in widths
    f"{DOUBLE}_img_attn_qkv": (1, 3),
    f"{DOUBLE}_img_attn_proj": (1, 1),
    f"{DOUBLE}_img_mlp_0": (1, 4),
    f"{DOUBLE}_img_mlp_2": (4, 1),
    f"{DOUBLE}_img_mod_lin": (1, 6),
    f"{DOUBLE}_txt_attn_qkv": (1, 3),
    f"{DOUBLE}_txt_attn_proj": (1, 1),
    f"{DOUBLE}_txt_mlp_0": (1, 4),
    f"{DOUBLE}_txt_mlp_2": (4, 1),
    f"{DOUBLE}_txt_mod_lin": (1, 6),
    "lora_unet_single_blocks_3_linear2": (5, 1),
    "lora_unet_single_blocks_3_modulation_lin": (1, 3),
}
PEFT = {
    "transformer.transformer_blocks.1.attn.to_q": (1, 1),
    "transformer.transformer_blocks.1.ff.net.0.proj": (1, 4),
    "transformer.single_transformer_blocks.0.proj_mlp": (1, 4),
    "transformer.single_transformer_blocks.0.proj_out": (5, 1),
    "transformer.norm_out.linear": (1, 2),
}


def rand(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) / 10


def kohya(parts=KOHYA, width=WIDTH, rank=RANK, alpha=3.0):
    tensors = {}
    for key, (inputs, outputs) in parts.items():
        tensors[f"{key}.lora_down.weight"] = rand(rank, inputs * width)
        tensors[f"{key}.lora_up.weight"] = rand(outputs * width, rank)
        tensors[f"{key}.alpha"] = torch.tensor(alpha)
    return tensors


def peft(rank=RANK):
    tensors = {}
    for key, (inputs, outputs) in PEFT.items():
        tensors[f"{key}.lora_A.weight"] = rand(rank, inputs * WIDTH)
        tensors[f"{key}.lora_B.weight"] = rand(outputs * WIDTH, rank)
    return tensors


@pytest.fixture(scope="module")
def base():
    return transformer(guidance_embeds=True)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "lora.safetensors"


@pytest.fixture
def read(file, base):
    """A function that saves tensors and metadata as an adapter and reads it."""

    def read(tensors, metadata=None):
        save_file(tensors, file, metadata)
        return read_adapter(file, "someone/some-lora", base)

    return read


def attach(base, file):
    """Return the weights, by name, of a copy of the base into which diffusers fuses the file at 0.9."""
    copied = deepcopy(base)
    state, alphas, metadata = FluxPipeline.lora_state_dict(
        file, return_alphas=True, return_lora_metadata=True
    )
    FluxPipeline.load_lora_into_transformer(state, alphas, copied, adapter_name="lora", metadata=metadata)
    copied.fuse_lora(lora_scale=0.9)
    return {
        name.replace(".base_layer", ""): w for name, w in copied.named_parameters() if "lora_" not in name
    }


def same_weights(base, checked, file):
    """Whether the variant has the weights that diffusers fuses, and how many differ from the base's."""
    expected = attach(base, file)
    weights = dict(variant_of(base, fuse(base, checked, 0.9)).named_parameters())
    before = dict(base.named_parameters())
    assert weights.keys() == expected.keys()
    changed = {name for name in weights if not torch.equal(weights[name], before[name])}
    assert changed == {f"{module}.weight" for module in checked.modules}
    return all(torch.allclose(weights[name], expected[name], rtol=0, atol=1e-7) for name in weights)


class TestKohya:
    def test_all_parts_of_a_block(self, read, base, file):
        """Each part of a double block, and two of a single block, add to 16 modules what diffusers adds."""
        checked = read(kohya())
        assert len(checked.modules) == 16
        assert same_weights(base, checked, file)

    def test_alpha(self, read):
        """Half of the alpha is half of the sum; without alpha it is the rank."""
        sums = []
        for alpha in (6.0, 3.0, None):
            tensors = kohya(alpha=alpha or 0.0)
            if alpha is None:
                tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith("alpha")}
            low_rank = read(tensors).modules["transformer_blocks.0.attn.to_out.0"]
            sums.append(low_rank.scale * low_rank.up @ low_rank.down)
        assert torch.allclose(sums[0], 2 * sums[1])
        assert torch.equal(sums[0], sums[2])

    def test_at_full_size(self, file):
        """At full size the four modules of linear1 are adapted, in every single block."""
        whole = fullsize.transformer(torch.device("meta"), guidance_embeds=True)
        linear1 = {f"lora_unet_single_blocks_{block}_linear1": (1, 7) for block in range(38)}
        save_file(kohya(linear1, fullsize.WIDTH, rank=1), file)
        checked = read_adapter(file, "someone/some-lora", whole)
        assert len(checked.modules) == 38 * 4
        mlp = checked.modules["single_transformer_blocks.37.proj_mlp"]
        assert (mlp.down.shape, mlp.up.shape) == ((1, fullsize.WIDTH), (4 * fullsize.WIDTH, 1))

    def test_what_diffusers_cannot_convert(self, read):
        """A linear1 of another width than FLUX.1's is refused, since diffusers splits it at fixed places."""
        with pytest.raises(AdapterMismatch, match="diffusers cannot convert it"):
            read(kohya({"lora_unet_single_blocks_0_linear1": (1, 7)}))

    @pytest.mark.parametrize(
        "stranger",
        [
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
            "lora_unet_double_blocks_2_img_attn_proj.lora_down.weight",
            "lora_unet_single_blocks_3_linear3.lora_down.weight",
            "lora_unet_img_in.lora_down.weight",
            f"{DOUBLE}_img_attn_proj.diff_b",
            "lora_unet_single_blocks_3_norm.diff",
        ],
    )
    def test_keys_that_diffusers_would_drop(self, read, stranger):
        """Keys of text models, unknown blocks or parts, and of other layers are refused, and named."""
        with pytest.raises(AdapterMismatch, match=rf"36 of its 37 keys .* '{stranger}'"):
            read({**kohya(), stranger: torch.ones(RANK, WIDTH)})

    @pytest.mark.parametrize("alpha", [0.0, -1.0])
    def test_an_alpha_that_is_not_positive(self, read, alpha):
        """An alpha of 0 or less is refused: with one below 0, diffusers' converter does not return."""
        with pytest.raises(AdapterMismatch, match="alpha is not positive"):
            read(kohya(alpha=alpha))


class TestPeft:
    def test_any_linear_layer(self, read, base, file):
        """Linear layers inside and outside the blocks get what diffusers adds."""
        checked = read(peft())
        assert len(checked.modules) == len(PEFT)
        assert same_weights(base, checked, file)

    def test_alpha_beside_the_tensors(self, read, base, file):
        """An alpha beside the tensors scales the sum by alpha / rank, as in diffusers."""
        alphas = {f"{key}.alpha": torch.tensor(2.0 * RANK) for key in PEFT}
        checked = read({**peft(), **alphas})
        assert {low_rank.scale for low_rank in checked.modules.values()} == {2.0}
        assert same_weights(base, checked, file)

    def test_alpha_in_the_config(self, read, base, file):
        """An alpha in the config that diffusers saves in the file has the same effect."""
        modules = [key.removeprefix("transformer.") for key in PEFT]
        config = {
            "transformer.r": RANK,
            "transformer.lora_alpha": 2 * RANK,
            "transformer.target_modules": modules,
        }
        checked = read(peft(), {"lora_adapter_metadata": json.dumps(config)})
        assert {low_rank.scale for low_rank in checked.modules.values()} == {2.0}
        assert same_weights(base, checked, file)

    @pytest.mark.parametrize(
        ("config", "match"),
        [
            ({"transformer.use_dora": True}, "asks for use_dora"),
            ({"transformer.use_rslora": True}, "asks for use_rslora"),
            ({"transformer.alpha_pattern": {"to_q": 1}}, "asks for alpha_pattern"),
            ({"transformer.lora_alpha": "much"}, "not a finite number"),
            ({"transformer.lora_alpha": float("nan")}, "not a finite number"),
            ([1], "not an object"),
        ],
    )
    def test_a_config_that_asks_for_more(self, read, config, match):
        """A config that asks for another sum, or is malformed, is refused."""
        with pytest.raises(AdapterMismatch, match=match):
            read(peft(), {"lora_adapter_metadata": json.dumps(config)})

    def test_two_alphas(self, read):
        """An alpha beside the tensors and a config is refused."""
        tensors = {**peft(), f"{next(iter(PEFT))}.alpha": torch.tensor(1.0)}
        with pytest.raises(AdapterMismatch, match="both beside its tensors and in its config"):
            read(tensors, {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 6})})

    @pytest.mark.parametrize(
        "stranger",
        [
            "transformer.transformer_blocks.2.attn.to_q.lora_A.weight",
            "transformer.transformer_blocks.1.attn.norm_q.lora_A.weight",
            "transformer.transformer_blocks.1.attn.lora_A.weight",
            "transformer.transformer_blocks.1.attn.to_q.lora_magnitude_vector",
            "transformer_blocks.1.attn.to_k.lora_A.weight",
            "base_model.model.transformer_blocks.1.attn.to_k.lora_A.weight",
            "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight",
        ],
    )
    def test_almost_a_key(self, read, stranger):
        """Keys of unknown blocks, of layers that are not linear, or without the prefix are refused."""
        with pytest.raises(AdapterMismatch, match="10 of its 11 keys"):
            read({**peft(), stranger: torch.ones(RANK, WIDTH)})

    @pytest.mark.parametrize("key", list(peft())[:4])
    def test_one_wrong_width(self, read, key):
        """Any tensor that is wider than its layer by one is refused, and the error names it."""
        tensors = peft()
        rows, columns = tensors[key].shape
        wider = torch.ones(rows + ("lora_B" in key), columns + ("lora_A" in key))
        with pytest.raises(AdapterMismatch, match=f"1 of its 10 tensors .* first is '{key}'"):
            read({**tensors, key: wider})


class TestConversion:
    def test_a_module_that_diffusers_drops(self, read, monkeypatch):
        """If diffusers converts fewer modules than the file adapts, the adapter is refused."""
        convert = FluxPipeline.lora_state_dict

        def drop(tensors, **how):
            state, alphas = convert(tensors, **how)
            return {key: tensor for key, tensor in state.items() if "norm_out" not in key}, alphas

        monkeypatch.setattr(FluxPipeline, "lora_state_dict", drop)
        with pytest.raises(AdapterMismatch, match="converts 4 of the 5 modules"):
            read(peft())

    def test_a_module_adapted_twice(self, read):
        """Two keys for one module, with and without XLabs' longer prefix, are refused."""
        short = {
            "single_blocks.0.processor.proj_lora.down.weight": torch.ones(4, 5 * WIDTH),
            "single_blocks.0.processor.proj_lora.up.weight": torch.ones(WIDTH, 4),
        }
        with pytest.raises(AdapterMismatch, match="adapts 1 modules twice"):
            read(short | {f"diffusion_model.{key}": tensor.clone() for key, tensor in short.items()})
