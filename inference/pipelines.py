"""A FLUX.1 pipeline, loaded and placed, silent about what it is asked to draw."""

import logging
from typing import Final

import diffusers.utils.logging
import torch
import transformers.utils.logging
from diffusers import FluxPipeline

from inference.devices import Offload, place
from inference.weights import PipelineWeights, missing_weights_named

# Its two warnings quote the part of a prompt that was cut. Source: diffusers 0.42.
_QUOTES_PROMPTS: Final = "diffusers.pipelines.flux.pipeline_flux"


def load_pipeline(
    model_id: str, weights: PipelineWeights, dtype: torch.dtype, device: torch.device, offload: Offload
) -> FluxPipeline:
    """Load a pipeline and put it on its device.

    Raises:
        WeightsMissing: its weights are not on this machine and cannot be fetched.

    """
    silence()
    with missing_weights_named(model_id):
        pipeline = FluxPipeline.from_pretrained(
            weights.source, revision=weights.revision, token=weights.token, dtype=dtype
        )
    pipeline.set_progress_bar_config(disable=True)
    place(pipeline, device, offload)
    return pipeline


def silence() -> None:
    """Keep prompts and progress bars out of the log."""
    logging.getLogger(_QUOTES_PROMPTS).setLevel(logging.ERROR)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
