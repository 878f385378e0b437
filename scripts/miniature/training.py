"""The training loop of all stages: resumable, with a schedule, averaged weights and a log."""

import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)

SAVE_EVERY_STEPS: Final = 200
LOG_EVERY_STEPS: Final = 20
_WARM_UP_STEPS: Final = 60
_LAST_RATE: Final = 0.02  # of the first
_CLIP_NORM: Final = 1.0


@dataclass(frozen=True)
class Step:
    """The progress of a stage."""

    stage: str
    done: int
    steps: int
    loss: float


class Reporting:
    """The receiver of the stages' progress; it discards everything until a process sets `send`."""

    def __init__(self) -> None:
        self.send: Callable[[Step], object] = lambda _: None


reporting: Final = Reporting()


class Averaged(Generic[Model]):
    """The exponential moving average of a model's weights, which draws better than the last weights."""

    def __init__(self, model: Model, decay: float) -> None:
        self.model: Model = deepcopy(model).requires_grad_(requires_grad=False).eval()
        self._decay = decay

    def update(self, model: nn.Module, step: int) -> None:
        """Add the model's weights to the average; the decay is lower during the first steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(self.model.parameters(), model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)


def train(
    name: str,
    folder: Path,
    model: Model,
    loss_of: Callable[[int], torch.Tensor],
    *,
    steps: int,
    rate: float,
    decay: float = 0.995,
    weight_decay: float = 0.0,
) -> Model:
    """Train the model's parameters that need gradients, and return its averaged weights.

    An interrupted run continues from its last checkpoint in the folder. `loss_of` takes the number of the
    step and uses it as a seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{name}.checkpoint.pt"
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
    averaged = Averaged(model, decay)
    first = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.model.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    log = (folder / f"{name}.log").open("a", encoding="utf-8")
    begun, sum_of_losses = time.monotonic(), 0.0
    with log:
        for step in range(first, steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(step, steps)
            loss = loss_of(step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, _CLIP_NORM)
            optimizer.step()
            averaged.update(model, step)
            sum_of_losses += loss.item()
            done = step + 1
            if done % LOG_EVERY_STEPS == 0:
                mean, sum_of_losses = sum_of_losses / LOG_EVERY_STEPS, 0.0
                seconds = round(time.monotonic() - begun, 1)
                print(
                    json.dumps({"step": done, "loss": round(mean, 5), "seconds": seconds}),
                    file=log,
                    flush=True,
                )
                reporting.send(Step(name, done, steps, mean))
            if done % SAVE_EVERY_STEPS == 0 or done == steps:
                _save(
                    checkpoint,
                    {
                        "step": done,
                        "model": model.state_dict(),
                        "averaged": averaged.model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                    },
                )
    return averaged.model


def schedule(step: int, steps: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then cosine decay."""
    warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
    return warm * (_LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _save(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)  # an interruption before this leaves the previous checkpoint
