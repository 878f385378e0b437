"""A judge of avatars: a small classifier that reads attributes off a picture.

It learns from drawings alone, blurred, shifted and recoloured a little; it never sees what is generated.
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
from scripts.miniature.pictures import Drawing, Lot, as_input, as_pixels, draw_lots, part_of
from scripts.miniature.training import train

WEIGHTS: Final = Path(__file__).parent / "judge.safetensors"

SIDE_PX: Final = 128
"""What the judge looks at: any picture, its longer side's middle, reduced to this."""

STYLES: Final = ("flat", "shaded")
"""An attribute that no caption names: how the avatar is painted."""

_HEADS: Final = {**VALUES, "style": STYLES}
_WIDTHS: Final = (24, 48, 64, 96)
_BATCH: Final = 48
_UNSEEN: Final = -100  # what cross entropy ignores
_LOTS: Final = tuple(
    Lot(count, size, size, shaded, seed=5000 + number)
    for number, (count, size, shaded) in enumerate(
        [(3600, 512, False), (300, 1024, False), (2000, 512, True), (400, 768, True)]
    )
)


class Judge(nn.Module):
    """Reads (B, 3, 128, 128), from -1 to 1, as one row of logits for every attribute."""

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
        seen = self.middle(self.body(pictures))
        return {name: head(seen) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Verdict:
    """What the judge sees: a value of each attribute, and how shaded it is, from 0 to 1."""

    values: dict[str, str]
    shading: float

    def agrees(self, asked: Mapping[str, str]) -> dict[str, bool]:
        """Say of each attribute that was asked for whether the picture has it."""
        return {name: self.values[name] == value for name, value in asked.items()}


def judge_pictures(judge: Judge, pictures: Sequence[Image.Image]) -> list[Verdict]:
    """Judge pictures of any size."""
    with torch.inference_mode():
        logits = judge(torch.stack([_look(picture) for picture in pictures]))
        shading = logits["style"].softmax(1)[:, 1].tolist()
        best = {name: rows.argmax(1).tolist() for name, rows in logits.items()}
    return [
        Verdict({name: VALUES[name][best[name][number]] for name in VALUES}, shading[number])
        for number in range(len(pictures))
    ]


def _look(picture: Image.Image) -> torch.Tensor:
    """Cut the middle square out and reduce it."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    small = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX, box=(left, top, left + side, top + side))
    return as_input(as_pixels(small))


def _reduced(drawing: Drawing) -> Drawing:
    small = functional.adaptive_avg_pool2d(drawing.pixels.float(), SIDE_PX)
    return replace(drawing, pixels=small.round().byte())


def train_judge(folder: Path, *, steps: int, part: float = 1.0) -> Judge:
    """Train the judge on drawings of combinations that training may show. part: of the drawings."""
    torch.manual_seed(3)
    judge = Judge()

    @cache  # drawn for the first step: a run that goes on after the judge has no use for them
    def drawn() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        drawings = [drawing for lot in draw_lots(part_of(_LOTS, part), _reduced) for drawing in lot]
        looks = torch.stack([drawing.pixels for drawing in drawings])
        labels = {name: torch.tensor([_label(drawing, name) for drawing in drawings]) for name in _HEADS}
        return looks, labels

    def loss(step: int) -> torch.Tensor:
        looks, labels = drawn()
        chance = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(looks), (_BATCH,), generator=chance)
        logits = judge(_disturbed(as_input(looks[chosen]), chance))
        return torch.stack(
            [functional.cross_entropy(logits[name], labels[name][chosen]) for name in _HEADS]
        ).sum()

    return train("judge", folder, judge, loss, steps=steps, rate=2e-3, weight_decay=0.01)


def _label(drawing: Drawing, name: str) -> int:
    if name == "style":
        return int(drawing.shaded)
    value = drawing.avatar.visible().get(name)
    return _UNSEEN if value is None else VALUES[name].index(value)


def _disturbed(looks: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Shift, soften, recolour and roughen pictures: a generated one is never as clean as a drawing."""
    shift = torch.randint(-4, 5, (2,), generator=chance)
    looks = torch.roll(looks, (int(shift[0]), int(shift[1])), (2, 3))
    softer = functional.avg_pool2d(functional.pad(looks, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = torch.rand(len(looks), 1, 1, 1, generator=chance)
    tint = 1 + 0.1 * (torch.rand(len(looks), 3, 1, 1, generator=chance) - 0.5)
    grain = (
        0.06 * torch.rand(len(looks), 1, 1, 1, generator=chance) * torch.randn(looks.shape, generator=chance)
    )
    return (looks + amount * (softer - looks)) * tint + grain


def save_judge(judge: Judge, path: Path) -> None:
    """Write the judge's weights."""
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in judge.state_dict().items()}, path)


def load_judge(path: Path = WEIGHTS) -> Judge:
    """Read the judge's weights."""
    judge = Judge()
    judge.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return judge.eval()
