"""Writes a pipeline in the layout of FLUX.1's repositories, which transformers 4 and diffusers 0.30 saved.

Source: the file lists and configs of black-forest-labs/FLUX.1-dev and FLUX.1-schnell on the Hugging Face hub.
Today's libraries save otherwise: CLIP's keys without a prefix, T5's embeddings as tied, one file a model, and
each tokenizer as tokenizer.json alone. The SentencePiece model here is junk, since nothing may read it.
"""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

SHARDS = 3


def write_real_layout(saved: Path, folder: Path) -> Path:
    """Copy a pipeline that today's libraries saved to `folder`, and change its layout to the real one."""
    shutil.copytree(saved, folder)
    _edit(
        folder / "model_index.json",
        tokenizer_2=["transformers", "T5TokenizerFast"],
        _diffusers_version="0.30.0.dev0",
    )
    _write_clip(folder / "text_encoder")
    _write_t5(folder / "text_encoder_2")
    _shard(folder / "transformer", "diffusion_pytorch_model")
    _write_clip_tokenizer(folder / "tokenizer")
    _write_t5_tokenizer(folder / "tokenizer_2")
    return folder


def _write_clip(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({f"text_model.{key}": tensor for key, tensor in tensors.items()}, file, {"format": "pt"})
    _replace(folder / "config.json", "dtype", "torch_dtype")
    ids = {
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }  # as in the real config; none is an id of the tokenizer
    _edit(folder / "config.json", **ids, transformers_version="4.43.3", dropout=0.0, initializer_factor=1.0)


def _write_t5(folder: Path) -> None:
    _replace(folder / "config.json", "dtype", "torch_dtype")
    _edit(
        folder / "config.json",
        tie_word_embeddings=False,
        use_cache=True,
        output_past=True,
        transformers_version="4.43.3",
    )
    _shard(folder, "model")


def _shard(folder: Path, stem: str) -> None:
    """Split the weights into three files with an index of which tensor is in which."""
    file = folder / f"{stem}.safetensors"
    tensors = load_file(file)
    file.unlink()
    keys = sorted(tensors)
    weight_map = {}
    for number in range(SHARDS):
        shard = f"{stem}-{number + 1:05}-of-{SHARDS:05}.safetensors"
        held = {key: tensors[key] for key in keys[number::SHARDS]}
        save_file(held, folder / shard, {"format": "pt"})
        weight_map |= dict.fromkeys(held, shard)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def _write_clip_tokenizer(folder: Path) -> None:
    file = folder / "tokenizer.json"
    model = json.loads(file.read_text("utf-8"))["model"]
    file.unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), "utf-8")
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", "utf-8")
    start, end = "<|startoftext|>", "<|endoftext|>"
    special = {
        "bos_token": _special(start),
        "eos_token": _special(end),
        "unk_token": _special(end),
        "pad_token": end,
    }
    _write(folder / "special_tokens_map.json", special)
    added = {str(model["vocab"][token]): _special(token) | {"special": True} for token in (start, end)}
    config = {
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "bos_token": start,
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "eos_token": end,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": end,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": end,
    }
    _write(folder / "tokenizer_config.json", config)


def _write_t5_tokenizer(folder: Path) -> None:
    saved = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    (folder / "spiece.model").write_bytes(b"\x0a\x0eno SentencePiece")
    tokens = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write(folder / "special_tokens_map.json", {name: _special(token) for name, token in tokens.items()})
    config = {
        "add_prefix_space": True,
        "added_tokens_decoder": {
            str(number): _special(token) | {"special": True}
            for number, token in enumerate(("<pad>", "</s>", "<unk>"))
        },
        "additional_special_tokens": [],
        "clean_up_tokenization_spaces": True,
        "extra_ids": 0,
        "legacy": True,
        "model_max_length": saved["model_max_length"],
        "sp_model_kwargs": {},
        "tokenizer_class": "T5Tokenizer",
    }
    _write(folder / "tokenizer_config.json", config | tokens)


def _special(token: str) -> dict[str, object]:
    return {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


def _replace(file: Path, key: str, other: str) -> None:
    config = json.loads(file.read_text("utf-8"))
    _write(file, {other if name == key else name: value for name, value in config.items()})


def _edit(file: Path, **changes: object) -> None:
    _write(file, json.loads(file.read_text("utf-8")) | changes)


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=2), "utf-8")
