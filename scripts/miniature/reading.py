"""Trains the text models to read before the transformer learns to draw.

FLUX.1's text models are pretrained on large corpora. Untrained ones carry almost no information: a word is
one of 64 tokens, most of them padding, and the transformer trains for an hour without using the text. So
both first learn to classify the avatar's attributes from a caption, CLIP in its one vector and T5 in every
token.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.nn import functional
from transformers import T5EncoderModel

from inference.miniature.architecture import CLIP_WIDTH, T5_WIDTH
from scripts.miniature.attributes import VALUES, Avatar, sample_trained
from scripts.miniature.captions import caption, training_caption
from scripts.miniature.flow import Flow, Text
from scripts.miniature.training import train

_BATCH: Final = 64
_COMPLETE_SHARE: Final = 0.6
"""The share of captions that name every attribute: it lowers the part of the loss that omissions cause."""

_COLOR_WEIGHT: Final = 2.0  # in the loss: which colour belongs to which thing is the hardest to read
_EMBEDDING_DEVIATION: Final = 0.05
"""The initial deviation of T5's embeddings. At the default of 1, attention adds a mean of 64 tokens, which is
small beside the token itself, and tokens influence each other only after hundreds of steps."""

_SAMPLED_TOKENS: Final = 6  # of T5's tokens in each loss, chosen at random, so that all of them learn
_NEIGHBOUR_BUCKETS: Final = (1, 2, 17)
"""The buckets of T5's relative positions for one word before, two before and one after.

The word beside "background" names its colour. Without this bias, no head had learnt to attend to it after
900 steps."""

_ATTENTION_BIAS: Final = 5.0  # in logits: about two thirds of a head's attention, of 64 tokens
_COLORED: Final = frozenset({"hair_color", "clothes_color", "background"})
_IGNORED_LABEL: Final = -100  # cross entropy ignores it


class _Reader(nn.Module):
    """The text models of a flow, each with a linear layer that classifies every attribute."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        count = sum(len(values) for values in VALUES.values())
        self.clip, self.t5 = flow.clip, flow.t5
        self.from_clip = nn.Linear(CLIP_WIDTH, count)
        self.from_t5 = nn.Linear(T5_WIDTH, count)

    def loss(self, text: Text, avatars: Sequence[Avatar], rng: random.Random) -> torch.Tensor:
        """Return the mean cross entropy over attributes; omissions in captions keep it above 0."""
        tokens = text.embeds[:, rng.sample(range(text.embeds.shape[1]), _SAMPLED_TOKENS)]
        logits = torch.cat([self.from_clip(text.pooled)[:, None], self.from_t5(tokens)], 1)
        losses, first = [], 0
        for name, values in VALUES.items():
            labels = torch.tensor([_label(avatar, name, values) for avatar in avatars])
            part = logits[:, :, first : first + len(values)].flatten(0, 1)
            loss = functional.cross_entropy(part, labels.repeat_interleave(logits.shape[1]))
            losses.append(loss * (_COLOR_WEIGHT if name in _COLORED else 1))
            first += len(values)
        return torch.stack(losses).mean()


def train_reading(folder: Path, flow: Flow, *, steps: int) -> None:
    """Train the text models of a flow, in place."""
    _initialise_attention(flow.t5)
    reader = _Reader(flow)

    def loss(step: int) -> torch.Tensor:
        rng = random.Random(f"reading-{step}")
        avatars = [sample_trained(rng) for _ in range(_BATCH)]
        text = flow.read([_caption(avatar, rng) for avatar in avatars])
        return reader.loss(text, avatars, rng)

    reader.load_state_dict(train("reading", folder, reader, loss, steps=steps, rate=2e-3).state_dict())


def _initialise_attention(t5: T5EncoderModel) -> None:
    """Initialise T5 so that tokens influence each other, and three heads attend to neighbouring words."""
    nn.init.normal_(t5.shared.weight, std=_EMBEDDING_DEVIATION)
    bias = t5.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    with torch.no_grad():
        for head, distance in enumerate(_NEIGHBOUR_BUCKETS):
            bias[distance, head] += _ATTENTION_BIAS


def _caption(avatar: Avatar, rng: random.Random) -> str:
    if rng.random() < _COMPLETE_SHARE:
        return caption(avatar, rng, distractors=rng.choice((0, 0, 1, 2)))
    return training_caption(avatar, rng)


def _label(avatar: Avatar, name: str, values: Sequence[str]) -> int:
    value = avatar.visible().get(name)
    return _IGNORED_LABEL if value is None else values.index(value)
