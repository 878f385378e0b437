"""Loads a FLUX.1 pipeline into the host's memory, without the parts that are in memory already."""

from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import FluxPipeline
from safetensors import safe_open

from inference.local.shared_parts import SharedParts, digests_of
from inference.silence import silence_libraries
from inference.weights.locations import PipelineWeights, translate_load_errors


def locate(model_id: str, weights: PipelineWeights) -> Path:
    """Return the folder of a pipeline's weights on this machine; download what is missing.

    Raises:
        WeightsMissing: they are not on this machine and cannot be downloaded.

    """
    if Path(weights.source).is_dir():
        return Path(weights.source)
    silence_libraries()
    with translate_load_errors(model_id):
        folder = FluxPipeline.download(
            weights.source,
            revision=weights.revision,
            token=weights.token,
            use_safetensors=True,  # a pickle would run what is in it
        )
    return Path(folder)


def load_pipeline(
    model_id: str, folder: Path, dtype: torch.dtype, parts: SharedParts | None = None
) -> FluxPipeline:
    """Load a pipeline. Its shared parts are taken from `parts` and kept there; without it they are its own.

    Raises:
        WeightsMissing: a file is missing or damaged.

    """
    silence_libraries()
    with translate_load_errors(model_id):
        digests = {} if parts is None else digests_of(folder)
        found = {} if parts is None else parts.found(digests)
        pipeline = FluxPipeline.from_pretrained(folder, dtype=dtype, use_safetensors=True, **found)
    pipeline.set_progress_bar_config(disable=True)
    if parts is not None:
        parts.share(pipeline, digests)
    return pipeline


def read_weights(folder: Path, modules: Iterable[str], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the weights of a transformer's modules as they are in a pipeline's folder, not quantised."""
    wanted = {f"{module}.weight": module for module in modules}
    weights = {}
    for path in sorted((folder / "transformer").glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys() & wanted.keys():
                weights[wanted[key]] = file.get_tensor(key).to(dtype)
    return weights
