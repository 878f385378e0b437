"""Keeps prompts and progress bars of diffusers and transformers out of the log."""

import logging
from typing import Final

import diffusers.utils.logging
import transformers.utils.logging

_QUOTES_PROMPTS: Final = "diffusers.pipelines.flux.pipeline_flux"
"""A logger whose two warnings quote the truncated part of a prompt. Source: diffusers 0.42."""


def silence_libraries() -> None:
    """Turn off the libraries' progress bars, and the warnings that quote a prompt."""
    logging.getLogger(_QUOTES_PROMPTS).setLevel(logging.ERROR)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
