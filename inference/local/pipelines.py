"""Loads a FLUX.1 pipeline, places it on its device, and keeps prompts out of its logs."""

import torch
from diffusers import FluxPipeline

from inference.local.devices import Offload, place
from inference.silence import silence_libraries
from inference.weights.locations import PipelineWeights, translate_load_errors


def load_pipeline(
    model_id: str, weights: PipelineWeights, dtype: torch.dtype, device: torch.device, offload: Offload
) -> FluxPipeline:
    """Load a pipeline and put it on its device.

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
    place(pipeline, device, offload)
    return pipeline
