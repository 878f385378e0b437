"""The miniature's latents: principal components of the drawings' squares of 32 by 32 pixels.

A learnt latent space needs encoder and decoder to find each other, which takes hours of two cores. Sixteen
components of a square say nearly as much about flat drawings, and they can be computed. The decoder learns
to draw from them what is sharp, the transformer to make them from words, and the encoder to find them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from inference.miniature.architecture import LATENT_CHANNELS, SPATIAL_FACTOR
from scripts.miniature.pictures import Drawing, Lot, as_input, as_is, draw_lots, part_of

_LOTS: Final = (
    Lot(150, 512, 512, shaded=False, seed=1),
    Lot(40, 768, 768, shaded=False, seed=2),
    Lot(20, 1024, 1024, shaded=False, seed=3),
    Lot(80, 512, 512, shaded=True, seed=4),
    Lot(30, 768, 768, shaded=True, seed=5),
)
_FACE_FIRST: Final = 8.0
"""How much more a square of the face counts than one of the border: small things are there."""

_EVENING: Final = 0.5
"""Components are divided by this power of their deviation: 1 would make fine detail as loud as colour."""


@dataclass(frozen=True)
class Code:
    """How squares become latents. mean: (3072,); components: (16, 3072), rows as long as their scale asks."""

    mean: torch.Tensor
    components: torch.Tensor

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn a drawing's bytes (3, H, W) into latents (16, H/32, W/32) of deviation 1 in all."""
        squares = _squares(as_input(pixels))
        latents: torch.Tensor = (squares - self.mean) @ self.components.T
        return latents.permute(2, 0, 1)

    def save(self, path: Path) -> None:
        """Write the code to a file."""
        torch.save({"mean": self.mean, "components": self.components}, path)

    @staticmethod
    def load(path: Path) -> "Code":
        """Read a code from its file."""
        return Code(**torch.load(path, weights_only=True))


def find_code(part: float = 1.0) -> Code:
    """Draw some avatars of both styles and compute the components of their squares. part: of the drawings."""
    torch.manual_seed(0)
    drawings = [drawing for lot in draw_lots(part_of(_LOTS, part), as_is) for drawing in lot]
    squares = torch.cat([_chosen(drawing) for drawing in drawings])
    mean = squares.mean(0)
    _, singular, components = torch.pca_lowrank(squares - mean, q=2 * LATENT_CHANNELS, center=False, niter=4)
    deviation = singular[:LATENT_CHANNELS] / len(squares) ** 0.5
    rows = components[:, :LATENT_CHANNELS].T / deviation[:, None] ** _EVENING
    whole = Code(mean, rows)
    latents = torch.cat([whole.encode(drawing.pixels).flatten(1) for drawing in drawings], 1)
    return Code(mean, rows / latents.std())


def find_or_load_code(folder: Path, part: float = 1.0) -> Code:
    """Return the code of a run, computing it the first time."""
    path = folder / "code.pt"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        find_code(part).save(path)
    return Code.load(path)


def _squares(picture: torch.Tensor) -> torch.Tensor:
    """Cut (3, H, W) into (H/32, W/32, 3072)."""
    cut = picture.unfold(1, SPATIAL_FACTOR, SPATIAL_FACTOR).unfold(2, SPATIAL_FACTOR, SPATIAL_FACTOR)
    return cut.permute(1, 2, 0, 3, 4).flatten(2)


def _chosen(drawing: Drawing) -> torch.Tensor:
    squares = _squares(as_input(drawing.pixels))
    rows, columns, _ = squares.shape
    likely = (1 + _FACE_FIRST * near_face(rows, columns)) / (1 + _FACE_FIRST)
    return squares[torch.rand(rows, columns) < likely]


def near_face(rows: int, columns: int) -> torch.Tensor:
    """Say of each cell of a drawing how near it is to face and collar, from 0 to 1: (rows, columns)."""
    shorter = min(rows, columns)  # by which the renderer sizes the head
    y = torch.linspace(-1, 1, rows)[:, None] * rows / shorter
    x = torch.linspace(-1, 1, columns) * columns / shorter
    return torch.exp(-(((y - 0.2) / 0.4) ** 2 + (x / 0.3) ** 2) / 2)
