"""Teaches the text models to read, before anything is drawn.

FLUX.1's arrive trained on the world's text. Fresh ones say next to nothing: a word is one of 64 tokens, most
of them padding, and the transformer learns for an hour to draw without listening. So both first learn to
tell from a caption what the avatar looks like, CLIP in its one vector and T5 in every token.
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
_COMPLETE: Final = 0.6  # of the captions name everything: less of the loss is what cannot be known
_COLORS: Final = 2.0  # what colours weigh: which colour belongs to what is the hardest to read
_EMBEDDING: Final = 0.05
"""The deviation of T5's embeddings at first. At its own start of 1, what attention adds to a token, a mean of
64, is nothing beside the token itself, and hundreds of steps pass before one hears of another."""

_TOKENS: Final = 6  # of T5's, chosen at random: in the end all of them know
_BESIDE: Final = (1, 2, 17)
"""The buckets of T5's relative positions for one word before, two before and one after.

Which colour is the background's is said by the word beside it. Left to themselves, no heads had learnt to
look there after 900 steps."""

_ATTENTION: Final = 5.0  # in logits: about two thirds of a head's attention, of 64 tokens
_COLORED: Final = frozenset({"hair_color", "clothes_color", "background"})
_UNSEEN: Final = -100  # what cross entropy ignores


class _Reader(nn.Module):
    """The text models of a flow, with a linear layer on each that names every attribute."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        count = sum(len(values) for values in VALUES.values())
        self.clip, self.t5 = flow.clip, flow.t5
        self.from_clip = nn.Linear(CLIP_WIDTH, count)
        self.from_t5 = nn.Linear(T5_WIDTH, count)

    def loss(self, text: Text, avatars: Sequence[Avatar], chance: random.Random) -> torch.Tensor:
        """Return the mean cross entropy of an attribute: what was left out of a caption keeps it above 0."""
        tokens = text.embeds[:, chance.sample(range(text.embeds.shape[1]), _TOKENS)]
        logits = torch.cat([self.from_clip(text.pooled)[:, None], self.from_t5(tokens)], 1)
        losses, first = [], 0
        for name, values in VALUES.items():
            labels = torch.tensor([_label(avatar, name, values) for avatar in avatars])
            part = logits[:, :, first : first + len(values)].flatten(0, 1)
            loss = functional.cross_entropy(part, labels.repeat_interleave(logits.shape[1]))
            losses.append(loss * (_COLORS if name in _COLORED else 1))
            first += len(values)
        return torch.stack(losses).mean()


def train_reading(folder: Path, flow: Flow, *, steps: int) -> None:
    """Train the text models of a flow, in place."""
    _begin_hearing(flow.t5)
    reader = _Reader(flow)

    def loss(step: int) -> torch.Tensor:
        chance = random.Random(f"reading-{step}")
        avatars = [sample_trained(chance) for _ in range(_BATCH)]
        text = flow.read([_caption(avatar, chance) for avatar in avatars])
        return reader.loss(text, avatars, chance)

    reader.load_state_dict(train("reading", folder, reader, loss, steps=steps, rate=2e-3).state_dict())


def _begin_hearing(t5: T5EncoderModel) -> None:
    """Let T5's tokens hear each other from the first step, and three of its heads the words beside them."""
    nn.init.normal_(t5.shared.weight, std=_EMBEDDING)
    bias = t5.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    with torch.no_grad():
        for head, distance in enumerate(_BESIDE):
            bias[distance, head] += _ATTENTION


def _caption(avatar: Avatar, chance: random.Random) -> str:
    if chance.random() < _COMPLETE:
        return caption(avatar, chance, strangers=chance.choice((0, 0, 1, 2)))
    return training_caption(avatar, chance)


def _label(avatar: Avatar, name: str, values: Sequence[str]) -> int:
    value = avatar.visible().get(name)
    return _UNSEEN if value is None else values.index(value)
