"""A FLUX.1 pipeline, loaded and placed, silent about what it is asked to draw."""

import torch
from diffusers import FluxPipeline

from inference.local.devices import Offload, place
from inference.silence import silence_libraries
from inference.weights.locations import PipelineWeights, missing_weights_named


def load_pipeline(
    model_id: str, weights: PipelineWeights, dtype: torch.dtype, device: torch.device, offload: Offload
) -> FluxPipeline:
    """Load a pipeline and put it on its device.

    Raises:
        WeightsMissing: its weights are not on this machine and cannot be fetched.

    """
    silence_libraries()
    with missing_weights_named(model_id):
        pipeline = FluxPipeline.from_pretrained(
            weights.source, revision=weights.revision, token=weights.token, dtype=dtype
        )
    pipeline.set_progress_bar_config(disable=True)
    place(pipeline, device, offload)
    return pipeline
