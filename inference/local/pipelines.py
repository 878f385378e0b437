"""Loads a FLUX.1 pipeline, or its transformer alone, and keeps prompts out of the logs."""

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from inference.silence import silence_libraries
from inference.weights.locations import PipelineWeights, translate_load_errors


def load_pipeline(model_id: str, weights: PipelineWeights, dtype: torch.dtype) -> FluxPipeline:
    """Load a pipeline into the host's memory.

    Raises:
        WeightsMissing: its weights are not on this machine and cannot be downloaded.

    """
    silence_libraries()
    with translate_load_errors(model_id):
        pipeline = FluxPipeline.from_pretrained(
            weights.source,
            revision=weights.revision,
            token=weights.token,
            dtype=dtype,
            use_safetensors=True,  # a pickle would run what is in it
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_transformer(model_id: str, weights: PipelineWeights, dtype: torch.dtype) -> FluxTransformer2DModel:
    """Load the transformer of a pipeline into the host's memory.

    Raises:
        WeightsMissing: as for `load_pipeline`.

    """
    with translate_load_errors(model_id):
        return FluxTransformer2DModel.from_pretrained(
            weights.source,
            subfolder="transformer",
            revision=weights.revision,
            token=weights.token,
            dtype=dtype,
            use_safetensors=True,
        )
