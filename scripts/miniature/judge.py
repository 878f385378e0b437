"""The judge: a small classifier that reads an avatar's attributes from a picture.

Its training data are drawings only, slightly blurred, shifted and recoloured, and no generated pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from scripts.miniature.attributes import VALUES
from scripts.miniature.pictures import Drawing, DrawingSet, as_input, as_pixels, draw_sets, part_of
from scripts.miniature.training import train

WEIGHTS: Final = Path(__file__).parent / "judge.safetensors"

SIDE_PX: Final = 128
"""The judge's input: the middle square of any picture, reduced to this side."""

STYLES: Final = ("flat", "shaded")
"""The values of an attribute that no caption names: the style of the drawing."""

_HEADS: Final = {**VALUES, "style": STYLES}
_WIDTHS: Final = (24, 48, 64, 96)
_BATCH: Final = 48
_IGNORED_LABEL: Final = -100  # cross entropy ignores it
_SETS: Final = tuple(
    DrawingSet(count, size, size, shaded, seed=5000 + number)
    for number, (count, size, shaded) in enumerate(
        [(3600, 512, False), (300, 1024, False), (2000, 512, True), (400, 768, True)]
    )
)


class Judge(nn.Module):
    """Classifies pictures (B, 3, 128, 128) from -1 to 1, with one head for each attribute."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in _WIDTHS:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.GroupNorm(4, width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width), nn.SiLU()]
            before = width
        self.body = nn.Sequential(*layers, nn.Conv2d(before, 24, 1), nn.Flatten())
        self.middle = nn.Sequential(nn.Linear(24 * (SIDE_PX // 2 ** len(_WIDTHS)) ** 2, 192), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(192, len(values)) for name, values in _HEADS.items()})

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits (B, values) of every attribute."""
        features = self.middle(self.body(pictures))
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Verdict:
    """The judge's reading of a picture: a value for each attribute, and the shading from 0 to 1."""

    values: dict[str, str]
    shading: float

    def agrees(self, requested: Mapping[str, str]) -> dict[str, bool]:
        """Return for each requested attribute whether the picture shows it."""
        return {name: self.values[name] == value for name, value in requested.items()}


def judge_pictures(judge: Judge, pictures: Sequence[Image.Image]) -> list[Verdict]:
    """Judge pictures of any size."""
    with torch.inference_mode():
        logits = judge(torch.stack([_as_judge_input(picture) for picture in pictures]))
        shading = logits["style"].softmax(1)[:, 1].tolist()
        best = {name: rows.argmax(1).tolist() for name, rows in logits.items()}
    return [
        Verdict({name: VALUES[name][best[name][number]] for name in VALUES}, shading[number])
        for number in range(len(pictures))
    ]


def _as_judge_input(picture: Image.Image) -> torch.Tensor:
    """Cut out the middle square and reduce it to SIDE_PX."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    small = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX, box=(left, top, left + side, top + side))
    return as_input(as_pixels(small))


def _downscaled(drawing: Drawing) -> Drawing:
    small = functional.adaptive_avg_pool2d(drawing.pixels.float(), SIDE_PX)
    return replace(drawing, pixels=small.round().byte())


def train_judge(folder: Path, *, steps: int, part: float = 1.0) -> Judge:
    """Train the judge on combinations that are not held out. part: the fraction of the drawings."""
    torch.manual_seed(3)
    judge = Judge()

    @cache  # drawn at the first step: a resumed run whose judge is finished does not need them
    def training_data() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        drawings = [drawing for group in draw_sets(part_of(_SETS, part), _downscaled) for drawing in group]
        pictures = torch.stack([drawing.pixels for drawing in drawings])
        labels = {name: torch.tensor([_label(drawing, name) for drawing in drawings]) for name in _HEADS}
        return pictures, labels

    def loss(step: int) -> torch.Tensor:
        pictures, labels = training_data()
        rng = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(pictures), (_BATCH,), generator=rng)
        logits = judge(_augmented(as_input(pictures[chosen]), rng))
        return torch.stack(
            [functional.cross_entropy(logits[name], labels[name][chosen]) for name in _HEADS]
        ).sum()

    return train("judge", folder, judge, loss, steps=steps, rate=2e-3, weight_decay=0.01)


def _label(drawing: Drawing, name: str) -> int:
    if name == "style":
        return int(drawing.shaded)
    value = drawing.avatar.visible().get(name)
    return _IGNORED_LABEL if value is None else VALUES[name].index(value)


def _augmented(pictures: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Shift, blur, recolour and add noise to pictures: generated ones are less clean than drawings."""
    shift = torch.randint(-4, 5, (2,), generator=rng)
    pictures = torch.roll(pictures, (int(shift[0]), int(shift[1])), (2, 3))
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = torch.rand(len(pictures), 1, 1, 1, generator=rng)
    tint = 1 + 0.1 * (torch.rand(len(pictures), 3, 1, 1, generator=rng) - 0.5)
    grain = (
        0.06 * torch.rand(len(pictures), 1, 1, 1, generator=rng) * torch.randn(pictures.shape, generator=rng)
    )
    return (pictures + amount * (blurred - pictures)) * tint + grain


def save_judge(judge: Judge, path: Path) -> None:
    """Write the judge's weights."""
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in judge.state_dict().items()}, path)


def load_judge(path: Path = WEIGHTS) -> Judge:
    """Read the judge's weights."""
    judge = Judge()
    judge.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return judge.eval()
