"""The miniature on disk: laid out, named and stored as the real repositories are."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from inference.miniature import architecture
from inference.miniature.layout import ADAPTER_FILE, DEV, SCHNELL
from inference.miniature.vocabulary import clip_tokenizer, t5_tokenizer
from inference.pipelines import silence

_SEED: Final = 1

# Fresh weights predict almost nothing and decode almost grey. These factors make prompt, steps, guidance
# and adapter visible in an image of random weights; found by looking, on the entries' own sizes.
_VELOCITY_GAIN: Final = 3.0
_TEXT_GAIN: Final = 8.0
_GUIDANCE_GAIN: Final = 3.0
_CONTRAST_GAIN: Final = 1.2
_LORA_DEVIATION: Final = 0.15


def version() -> str:
    """Name what `build_miniature` would build: it changes whenever a file of this package does."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.*")):
        digest.update(source.read_bytes())
    return f"miniature-{digest.hexdigest()[:12]}"


def build_miniature(folder: Path) -> Path:
    """Return the miniature's folder below this one, building it first if it is not there yet.

    It holds what `inference.miniature.layout` names. Two processes may build at once: each works in a
    folder of its own, the first to finish renames its own into place, and the other throws its away.
    """
    finished = folder / version()
    if finished.is_dir():
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    silence()
    draft = Path(tempfile.mkdtemp(prefix=".miniature-", dir=folder))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            _pipeline(dev=True).save_pretrained(draft / DEV)
            _pipeline(dev=False).save_pretrained(draft / SCHNELL)
            _save_adapter(draft / ADAPTER_FILE)
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
    transformer = architecture.transformer(guidance_embeds=dev)
    autoencoder = architecture.autoencoder()
    with torch.no_grad():
        transformer.proj_out.weight.mul_(_VELOCITY_GAIN)
        transformer.context_embedder.weight.mul_(_TEXT_GAIN)
        if dev:
            transformer.time_text_embed.guidance_embedder.linear_2.weight.mul_(_GUIDANCE_GAIN)
        autoencoder.decoder.conv_out.weight.mul_(_CONTRAST_GAIN)
    return FluxPipeline(
        scheduler=architecture.scheduler(dynamic_shifting=dev),
        vae=autoencoder.eval(),
        text_encoder=architecture.clip().eval(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=architecture.t5().eval(),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer.eval(),
    )


def _save_adapter(path: Path) -> None:
    path.parent.mkdir(parents=True)
    tensors = {
        key: (torch.randn(shape) * _LORA_DEVIATION).to(torch.bfloat16)
        for key, shape in architecture.lora_shapes().items()
    }
    save_file(tensors, path)
