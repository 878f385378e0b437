"""Loads the miniature as the backend does for a profile, and draws latents with it."""

import torch

from inference.local.adapters import read_adapter
from inference.local.batch import Row, draw_latents
from inference.local.canvas import canvas_for
from inference.local.devices import Offload
from inference.local.engine import Engine
from inference.local.pipelines import load_pipeline, read_weights
from inference.local.placement import Whole, precision_of
from inference.local.resident import Resident
from inference.weights.locations import ADAPTER_FILE

CPU = torch.device("cpu")


def load(miniature, model_id, engine=None, dtype=torch.float32):
    """Load a model of the miniature, quantised and prepared as an engine's profile has it."""
    engine, folder = engine or Engine(), miniature / model_id
    pipeline = load_pipeline(model_id, folder, dtype)
    precision = precision_of(CPU, eight_bit=engine.profile.quantises)
    placer = Whole(CPU, Offload.NONE, precision).placer(
        (model_id, None), pipeline.transformer, lambda modules: read_weights(folder, modules, dtype)
    )
    return Resident(pipeline, placer, engine)


def add(resident, miniature, adapter):
    """Add the variant of the miniature's adapter."""
    resident.add(adapter, read_adapter(miniature / ADAPTER_FILE, adapter.model_id, resident.base))


def latents(resident, *, batch=1, size_px=(512, 576), steps=4, tokens=32, step_ended=lambda *_: None):
    """Draw a batch with what the resident has switched to. Returns the latents (B, T, 64).

    step_ended: of the first row.
    """
    rows = [
        Row(
            resident.prompts.encode(f"an old man with {number} hats", tokens),
            number,
            step_ended if number == 0 else lambda *_: None,
        )
        for number in range(batch)
    ]
    outcomes = draw_latents(
        resident.pipeline,
        rows,
        canvas_for(*size_px, 2 * resident.pipeline.vae_scale_factor),
        steps=steps,
        guidance_scale=3.5,
        step_queued=lambda: None,
        engine=resident.engine,
    )
    return torch.cat([outcome for outcome in outcomes if isinstance(outcome, torch.Tensor)])
