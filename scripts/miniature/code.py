"""The miniature's latents: principal components of the drawings' squares of 32 by 32 pixels.

Encoder and decoder need hours on two cores to learn a latent space together. Sixteen components of a square
hold nearly as much information about flat drawings, and PCA computes them. The decoder learns to draw sharp
pictures from them, the transformer to make them from words, and the encoder to reproduce them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from inference.miniature.architecture import LATENT_CHANNELS, SPATIAL_FACTOR
from scripts.miniature.pictures import Drawing, DrawingSet, as_input, as_is, draw_sets, part_of

_SETS: Final = (
    DrawingSet(150, 512, 512, shaded=False, seed=1),
    DrawingSet(40, 768, 768, shaded=False, seed=2),
    DrawingSet(20, 1024, 1024, shaded=False, seed=3),
    DrawingSet(80, 512, 512, shaded=True, seed=4),
    DrawingSet(30, 768, 768, shaded=True, seed=5),
)
_FACE_WEIGHT: Final = 8.0
"""How much more a square of the face counts than a square of the border: the face has the small details."""

_WHITENING_POWER: Final = 0.5
"""Components are divided by this power of their deviation: 1 would weight fine detail as much as colour."""


@dataclass(frozen=True)
class Code:
    """The projection of squares to latents. mean: (3072,); components: (16, 3072), rows scaled."""

    mean: torch.Tensor
    components: torch.Tensor

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode a drawing's bytes (3, H, W) as latents (16, H/32, W/32) with an overall deviation of 1."""
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


def compute_code(part: float = 1.0) -> Code:
    """Compute the principal components of drawings in both styles. part: the fraction of the drawings."""
    torch.manual_seed(0)
    drawings = [drawing for group in draw_sets(part_of(_SETS, part), as_is) for drawing in group]
    squares = torch.cat([_sampled_squares(drawing) for drawing in drawings])
    mean = squares.mean(0)
    _, singular, components = torch.pca_lowrank(squares - mean, q=2 * LATENT_CHANNELS, center=False, niter=4)
    deviation = singular[:LATENT_CHANNELS] / len(squares) ** 0.5
    rows = components[:, :LATENT_CHANNELS].T / deviation[:, None] ** _WHITENING_POWER
    unscaled = Code(mean, rows)
    latents = torch.cat([unscaled.encode(drawing.pixels).flatten(1) for drawing in drawings], 1)
    return Code(mean, rows / latents.std())


def load_or_compute_code(folder: Path, part: float = 1.0) -> Code:
    """Return the code of a run; the first call computes it and writes `code.pt`."""
    path = folder / "code.pt"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        compute_code(part).save(path)
    return Code.load(path)


def _squares(picture: torch.Tensor) -> torch.Tensor:
    """Cut (3, H, W) into (H/32, W/32, 3072)."""
    squares = picture.unfold(1, SPATIAL_FACTOR, SPATIAL_FACTOR).unfold(2, SPATIAL_FACTOR, SPATIAL_FACTOR)
    return squares.permute(1, 2, 0, 3, 4).flatten(2)


def _sampled_squares(drawing: Drawing) -> torch.Tensor:
    squares = _squares(as_input(drawing.pixels))
    rows, columns, _ = squares.shape
    probability = (1 + _FACE_WEIGHT * near_face(rows, columns)) / (1 + _FACE_WEIGHT)
    return squares[torch.rand(rows, columns) < probability]


def near_face(rows: int, columns: int) -> torch.Tensor:
    """Return for each cell of a drawing its nearness to face and collar, from 0 to 1: (rows, columns)."""
    shorter = min(rows, columns)  # the renderer sizes the head by it
    y = torch.linspace(-1, 1, rows)[:, None] * rows / shorter
    x = torch.linspace(-1, 1, columns) * columns / shorter
    return torch.exp(-(((y - 0.2) / 0.4) ** 2 + (x / 0.3) ** 2) / 2)
