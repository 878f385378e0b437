"""Writes the miniature to disk, with the layout, names and formats of the real repositories."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

import torch
from diffusers import FluxPipeline
from safetensors.torch import load_file
from torch import nn

from inference.miniature import architecture
from inference.miniature.vocabulary import clip_tokenizer, t5_tokenizer
from inference.silence import silence_libraries
from inference.weights.locations import ADAPTER_FILE, DEV, SCHNELL

_PACKAGE: Final = Path(__file__).parent
_WEIGHTS: Final = _PACKAGE / "weights"
_STORED_DTYPE: Final = torch.bfloat16


def version() -> str:
    """Return the name of the folder that `build_miniature` builds.

    It contains a hash of all files in this package except the model card.
    """
    digest = hashlib.sha256()
    for source in sorted(path for path in _PACKAGE.rglob("*.*") if path.suffix not in {".pyc", ".md"}):
        digest.update(source.read_bytes())
    return f"miniature-{digest.hexdigest()[:12]}"


def build_miniature(folder: Path) -> Path:
    """Return the miniature's folder inside `folder`; build it first if it does not exist.

    It contains the models and the adapter that `inference.weights.locations` names. Two processes may build
    at the same time: each writes to its own staging folder, the first to finish renames its folder to the
    final name, and the other deletes its own.
    """
    finished = folder / version()
    if finished.is_dir():
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    silence_libraries()
    staging = Path(tempfile.mkdtemp(prefix=".miniature-", dir=folder))
    try:
        _pipeline(dev=True).save_pretrained(staging / DEV)
        _pipeline(dev=False).save_pretrained(staging / SCHNELL)
        _copy_adapter(staging / ADAPTER_FILE)
        staging.chmod(0o755)  # with mkdtemp's own mode a worker under another user could not read it
        _rename(staging, finished)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return finished


def _rename(staging: Path, finished: Path) -> None:
    try:
        staging.rename(finished)
    except OSError:
        if not finished.is_dir():  # otherwise another process was first, and its folder is the same
            raise


def _pipeline(*, dev: bool) -> FluxPipeline:
    """Combine the parts that both models share, as in FLUX.1, with the transformer and scheduler of one."""
    # New tokenizers, not the cached ones: a tokenizer that has padded a text would save its padding settings.
    with torch.random.fork_rng(devices=[]):  # making the models draws random weights: keep the caller's state
        return FluxPipeline(
            scheduler=architecture.scheduler(dynamic_shifting=dev),
            vae=_trained(architecture.autoencoder(), "vae"),
            text_encoder=_trained(architecture.clip(), "clip"),
            tokenizer=clip_tokenizer.__wrapped__(),
            text_encoder_2=_trained(architecture.t5(), "t5"),
            tokenizer_2=t5_tokenizer.__wrapped__(),
            transformer=_trained(architecture.transformer(guidance_embeds=dev), "dev" if dev else "schnell"),
        )


def _trained(model: nn.Module, name: str) -> nn.Module:
    nn.Module.to(model, _STORED_DTYPE)  # diffusers' own `to` logs a warning that does not apply here
    model.load_state_dict(load_file(_WEIGHTS / f"{name}.safetensors"))
    return model.eval()


def _copy_adapter(path: Path) -> None:
    path.parent.mkdir(parents=True)
    shutil.copyfile(_WEIGHTS / "realism.safetensors", path)
