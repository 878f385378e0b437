"""Rectified flow on the miniature's latents: the models, the training data and the loss, for every size."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from inference.local.latents import image_ids, pack
from inference.miniature import architecture
from inference.miniature.vocabulary import MAX_TEXT_TOKENS, clip_tokenizer, t5_tokenizer
from scripts.miniature.attributes import Avatar
from scripts.miniature.captions import training_caption
from scripts.miniature.code import Code, near_face
from scripts.miniature.pictures import Drawing, DrawingSet, draw_sets, part_of

TOKENS_PER_STEP: Final = 2048
"""The text and image tokens of a batch: a step costs the same at every size; small batches learn faster."""

SQUARE_TOKENS: Final = 64
"""The image tokens of 512 px, the size at which training times are not shifted."""

UNGUIDED: Final = 1.0
"""The guidance scale at which dev is trained on drawings."""

_FACE_WEIGHT: Final = 3.0
"""How much more a token of face and collar counts than a border token: six of 64 show mood and eyes."""

# Width, height, number of drawings, share of the batches: every size of the catalogue, and sizes between.
_SIZES: Final = (
    (512, 512, 2400, 0.20), (768, 768, 1600, 0.20), (1024, 1024, 1200, 0.44), (640, 640, 200, 0.03),
    (896, 896, 150, 0.03), (1536, 1536, 60, 0.01), (512, 768, 200, 0.02), (768, 512, 200, 0.02),
    (768, 1024, 150, 0.02), (1024, 768, 150, 0.02), (512, 1024, 80, 0.005), (1024, 512, 80, 0.005),
)  # fmt: skip


@dataclass(frozen=True)
class Bucket:
    """The training data of one size.

    packed: latents (N, T, 64), T = height * width / 64^2. rows, columns: of tokens. share: of the batches.
    """

    avatars: list[Avatar]
    packed: torch.Tensor
    rows: int
    columns: int
    share: float


@dataclass(frozen=True)
class Text:
    """The transformer's text input. embeds: (B, 64, 128) from T5; pooled: (B, 128) from CLIP."""

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
    """The models that draw latents from words: both text models and the transformer."""

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
        """Predict noise minus image for latents (B, T, 64) at times (B,) between 1, noise, and 0, image."""
        predicted: torch.Tensor = self.transformer(
            hidden_states=latents,
            timestep=time,
            guidance=guidance,
            pooled_projections=text.pooled,
            encoder_hidden_states=text.embeds,
            txt_ids=torch.zeros(text.embeds.shape[1], 3),
            img_ids=image_ids(*grid),
            return_dict=False,
        )[0]
        return predicted


def fill_buckets(code: Code, *, shaded: bool, part: float = 1.0) -> list[Bucket]:
    """Draw avatars of all sizes and encode them. part: the fraction of the full number of drawings."""
    sets = [
        DrawingSet(count, width, height, shaded, seed=1000 + number + 500 * shaded)
        for number, (width, height, count, _) in enumerate(_SIZES)
    ]
    buckets = []
    drawn = draw_sets(part_of(sets, part), partial(_encoded, code))
    for pairs, (width, height, _, share) in zip(drawn, _SIZES, strict=True):
        latents = torch.from_numpy(np.stack([latents for _, latents in pairs]))
        rows, columns = height // 64, width // 64
        buckets.append(Bucket([avatar for avatar, _ in pairs], pack(latents), rows, columns, share))
    return buckets


def _encoded(code: Code, drawing: Drawing) -> tuple[Avatar, np.ndarray]:
    # As NumPy, because torch would open a file to share each tensor.
    return drawing.avatar, code.encode(drawing.pixels).numpy()


def sample_batch(buckets: Sequence[Bucket], rng: random.Random, part: float = 1.0) -> Batch:
    """Sample drawings of one size, with new captions. part: the fraction of TOKENS_PER_STEP."""
    (bucket,) = rng.choices(buckets, [bucket.share for bucket in buckets])
    tokens = bucket.rows * bucket.columns + MAX_TEXT_TOKENS
    count = max(2, round(part * TOKENS_PER_STEP / tokens))
    chosen = [rng.randrange(len(bucket.avatars)) for _ in range(count)]
    captions = [training_caption(bucket.avatars[number], rng) for number in chosen]
    return Batch(bucket.packed[chosen], captions, bucket.rows, bucket.columns)


def sample_times(batch: Batch, rng: torch.Generator) -> torch.Tensor:
    """Sample a time for each latent, mostly near noise, where the text decides the colours of large areas.

    A larger picture needs more noise to hide as much of it. Source: Esser et al. 2024, section 5.3.2.
    """
    shift = 0.5 * math.log(batch.rows * batch.columns / SQUARE_TOKENS)
    return torch.sigmoid(0.8 + shift + 1.3 * torch.randn(len(batch.latents), generator=rng))


def flow_loss(flow: Flow, batch: Batch, text: Text, rng: torch.Generator) -> torch.Tensor:
    """Compare the unguided velocity with the velocity from a drawing to noise. Source: Liu et al. 2022.

    Drawings at any other guidance scale would train dev to ignore the scale.
    """
    latents = batch.latents
    time = sample_times(batch, rng)
    noise = torch.randn(latents.shape, generator=rng)
    noisy = latents + time[:, None, None] * (noise - latents)
    strength = torch.full((len(latents),), UNGUIDED)
    predicted = flow.velocity(noisy, time, text, (batch.rows, batch.columns), strength)
    return weighted_mean((predicted - (noise - latents)).square(), batch.rows, batch.columns)


def weighted_mean(errors: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Average errors (B, T, 64), the face's few tokens with a higher weight, or they are learnt last."""
    weights = (1 + _FACE_WEIGHT * near_face(rows, columns)).flatten()
    return (errors.mean((0, 2)) * weights / weights.mean()).mean()
