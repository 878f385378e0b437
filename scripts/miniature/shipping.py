"""Writes the trained weights into the shipped package, with a hash of every file."""

import hashlib
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import nn

from inference.miniature.vocabulary import WORDS, in_all_cases, t5_tokenizer
from scripts.miniature.flow import Flow
from scripts.miniature.realism import save_realism

MAX_MIB: Final = 25
HASHES: Final = "SHA256SUMS"


def ship(
    folder: Path, vae: AutoencoderKL, dev: Flow, schnell: Flow, realism: dict[str, torch.Tensor]
) -> None:
    """Write all weights as bf16 safetensors.

    Raises:
        ValueError: the weights are larger than MAX_MIB, or the adapter has wrong tensors.

    """
    folder.mkdir(parents=True, exist_ok=True)
    read_all_cases(dev)
    models = {
        "vae": vae, "clip": dev.clip, "t5": dev.t5, "dev": dev.transformer, "schnell": schnell.transformer
    }  # fmt: skip
    for name, model in models.items():
        save_file(_tensors(model), folder / f"{name}.safetensors")
    save_realism(realism, folder / "realism.safetensors")
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        file.chmod(0o644)  # safetensors makes files that only the owner can read
    size = sum(file.stat().st_size for file in files)
    if size > MAX_MIB * 2**20:
        raise ValueError(f"the weights are {size / 2**20:.1f} MiB; the limit is {MAX_MIB}")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / HASHES).write_text("".join(lines), "utf-8")


def read_all_cases(flow: Flow) -> None:
    """Copy T5's embeddings of lower-case words to capitalised ones: all training captions are lower case."""
    numbers = t5_tokenizer().get_vocab()
    table = flow.t5.shared.weight
    with torch.no_grad():
        for word in WORDS:
            lower, *others = (numbers[f"▁{written}"] for written in in_all_cases(word))
            for other in others:
                table[other] = table[lower]


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()}
