"""The miniature on disk: laid out, named and stored as the real repositories are."""

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
_STORED: Final = torch.bfloat16


def version() -> str:
    """Name what `build_miniature` would build: it changes with every file here but the model card."""
    digest = hashlib.sha256()
    for source in sorted(path for path in _PACKAGE.rglob("*.*") if path.suffix not in {".pyc", ".md"}):
        digest.update(source.read_bytes())
    return f"miniature-{digest.hexdigest()[:12]}"


def build_miniature(folder: Path) -> Path:
    """Return the miniature's folder below this one, building it first if it is not there yet.

    It holds what `inference.weights.locations` names. Two processes may build at once: each works in a
    folder of its own, the first to finish renames its own into place, and the other throws its away.
    """
    finished = folder / version()
    if finished.is_dir():
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    silence_libraries()
    draft = Path(tempfile.mkdtemp(prefix=".miniature-", dir=folder))
    try:
        _pipeline(dev=True).save_pretrained(draft / DEV)
        _pipeline(dev=False).save_pretrained(draft / SCHNELL)
        _copy_adapter(draft / ADAPTER_FILE)
        draft.chmod(0o755)  # mkdtemp's own mode would shut out a worker under another user
        _rename(draft, finished)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return finished


def _rename(draft: Path, finished: Path) -> None:
    try:
        draft.rename(finished)
    except OSError:
        if not finished.is_dir():  # otherwise another process was first, and its folder is the same
            raise


def _pipeline(*, dev: bool) -> FluxPipeline:
    """Join what the two models share, as FLUX.1's do, with the transformer and the scheduler of one."""
    # Tokenizers of its own: one that has padded a text keeps that, and it would be in its file.
    with torch.random.fork_rng(devices=[]):  # fresh weights are drawn before the trained ones replace them
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
    nn.Module.to(model, _STORED)  # diffusers' own `to` warns of what does not apply
    model.load_state_dict(load_file(_WEIGHTS / f"{name}.safetensors"))
    return model.eval()


def _copy_adapter(path: Path) -> None:
    path.parent.mkdir(parents=True)
    shutil.copyfile(_WEIGHTS / "realism.safetensors", path)
