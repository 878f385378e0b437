"""Rectified flow on the miniature's latents: what the transformer is asked, for any size and any words."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import nn

from inference.miniature import architecture
from inference.miniature.vocabulary import MAX_TEXT_TOKENS, clip_tokenizer, t5_tokenizer
from scripts.miniature.attributes import Avatar
from scripts.miniature.captions import training_caption
from scripts.miniature.code import Code, near_face
from scripts.miniature.pictures import Drawing, Lot, draw_lots, part_of

TOKENS_A_STEP: Final = 2048
"""Text and image tokens of one batch: a step costs the same at every size, and small steps learn faster."""

SQUARE_TOKENS: Final = 64
"""Of 512 px, at which the times of training are not shifted."""

UNGUIDED: Final = 1.0
"""The guidance scale at which dev predicts what it learnt from drawings."""

_FACE_FIRST: Final = 3.0
"""How much more a token of face and collar counts than one of the border: mood and eyes are in six of 64."""

# Width, height, how many drawings, how often they are seen: every size of the catalogue, and those between.
_SIZES: Final = (
    (512, 512, 2400, 0.20), (768, 768, 1600, 0.20), (1024, 1024, 1200, 0.44), (640, 640, 200, 0.03),
    (896, 896, 150, 0.03), (1536, 1536, 60, 0.01), (512, 768, 200, 0.02), (768, 512, 200, 0.02),
    (768, 1024, 150, 0.02), (1024, 768, 150, 0.02), (512, 1024, 80, 0.005), (1024, 512, 80, 0.005),
)  # fmt: skip


@dataclass(frozen=True)
class Shelf:
    """Latents of one size with what they show. packed: (N, T, 64), T = height * width / 64^2."""

    avatars: list[Avatar]
    packed: torch.Tensor
    rows: int
    columns: int
    share: float


@dataclass(frozen=True)
class Text:
    """What the transformer reads. embeds: (B, 64, 128) from T5; pooled: (B, 128) from CLIP."""

    embeds: torch.Tensor
    pooled: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """Latents (B, T, 64) of one size, and their captions."""

    latents: torch.Tensor
    captions: list[str]
    rows: int
    columns: int


class Flow(nn.Module):
    """What draws latents from words: both text models and the transformer."""

    def __init__(self, transformer: FluxTransformer2DModel) -> None:
        super().__init__()
        self.clip = architecture.clip()
        self.t5 = architecture.t5()
        self.transformer = transformer

    def read(self, captions: Sequence[str]) -> Text:
        """Encode captions as FluxPipeline does."""
        short = clip_tokenizer()(list(captions), padding="max_length", truncation=True, return_tensors="pt")
        long = t5_tokenizer()(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=MAX_TEXT_TOKENS,
            return_tensors="pt",
        )
        return Text(self.t5(long.input_ids)[0], self.clip(short.input_ids).pooler_output)

    def velocity(
        self,
        latents: torch.Tensor,
        time: torch.Tensor,
        text: Text,
        grid: tuple[int, int],
        guidance: torch.Tensor | None,
    ) -> torch.Tensor:
        """Predict noise minus image for latents (B, T, 64) at times (B,) from 1, noise, to 0."""
        ids = FluxPipeline._prepare_latent_image_ids(len(latents), *grid, "cpu", torch.float32)  # noqa: SLF001 - its own numbering
        predicted: torch.Tensor = self.transformer(
            hidden_states=latents,
            timestep=time,
            guidance=guidance,
            pooled_projections=text.pooled,
            encoder_hidden_states=text.embeds,
            txt_ids=torch.zeros(text.embeds.shape[1], 3),
            img_ids=ids,
            return_dict=False,
        )[0]
        return predicted


def fill_shelves(code: Code, *, shaded: bool, part: float = 1.0) -> list[Shelf]:
    """Draw avatars of all sizes and encode them. part: of the full number of drawings."""
    lots = [
        Lot(count, width, height, shaded, seed=1000 + number + 500 * shaded)
        for number, (width, height, count, _) in enumerate(_SIZES)
    ]
    shelves = []
    drawn = draw_lots(part_of(lots, part), partial(_encoded, code))
    for pairs, (width, height, _, share) in zip(drawn, _SIZES, strict=True):
        latents = torch.from_numpy(np.stack([latents for _, latents in pairs]))
        rows, columns = height // 64, width // 64
        shelves.append(Shelf([avatar for avatar, _ in pairs], pack(latents), rows, columns, share))
    return shelves


def _encoded(code: Code, drawing: Drawing) -> tuple[Avatar, np.ndarray]:
    return drawing.avatar, code.encode(drawing.pixels).numpy()  # torch would open a file for each to share it


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Pack latents (B, 16, h, w) in squares of two, as the pipeline does: (B, h * w / 4, 64)."""
    count, channels, height, width = latents.shape
    packed: torch.Tensor = FluxPipeline._pack_latents(latents, count, channels, height, width)  # noqa: SLF001 - its own order
    return packed


def sample_batch(shelves: Sequence[Shelf], chance: random.Random, part: float = 1.0) -> Batch:
    """Take drawings of one size and describe each anew. part: of the tokens of a step."""
    (shelf,) = chance.choices(shelves, [shelf.share for shelf in shelves])
    tokens = shelf.rows * shelf.columns + MAX_TEXT_TOKENS
    count = max(2, round(part * TOKENS_A_STEP / tokens))
    chosen = [chance.randrange(len(shelf.avatars)) for _ in range(count)]
    captions = [training_caption(shelf.avatars[number], chance) for number in chosen]
    return Batch(shelf.packed[chosen], captions, shelf.rows, shelf.columns)


def sample_times(batch: Batch, chance: torch.Generator) -> torch.Tensor:
    """Draw a time for each latent, more towards noise, where words decide the colours of large parts.

    The larger the picture, the more noise hides as much of it. Source: Esser et al. 2024, section 5.3.2.
    """
    shift = 0.5 * math.log(batch.rows * batch.columns / SQUARE_TOKENS)
    return torch.sigmoid(0.8 + shift + 1.3 * torch.randn(len(batch.latents), generator=chance))


def flow_loss(flow: Flow, batch: Batch, text: Text, chance: torch.Generator) -> torch.Tensor:
    """Compare the unguided velocity with that from a drawing to noise. Source: Liu et al. 2022.

    At any other scale a drawing would teach dev to ignore the scale.
    """
    latents = batch.latents
    time = sample_times(batch, chance)
    noise = torch.randn(latents.shape, generator=chance)
    noisy = latents + time[:, None, None] * (noise - latents)
    strength = torch.full((len(latents),), UNGUIDED)
    predicted = flow.velocity(noisy, time, text, (batch.rows, batch.columns), strength)
    return weighted_mean((predicted - (noise - latents)).square(), batch.rows, batch.columns)


def weighted_mean(errors: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Average errors (B, T, 64) with the face's tokens first: what few of them show is learnt last."""
    weights = (1 + _FACE_FIRST * near_face(rows, columns)).flatten()
    return (errors.mean((0, 2)) * weights / weights.mean()).mean()
