"""The order of an image and its provenance: two records that catalogue, server and inference share."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from catalog.entries import Adapter, Entry


@dataclass(frozen=True)
class Order:
    """All parameters of an image: the same order and the same weights give the same image, bit for bit."""

    model_id: str
    revision: str | None
    adapter: Adapter | None
    prompt: str
    width_px: int
    height_px: int
    steps: int
    guidance_scale: float
    max_text_tokens: int
    seed: int

    @classmethod
    def of_entry(
        cls, entry: Entry, prompt: str, *, seed: int, size_px: tuple[int, int] | None = None
    ) -> Self:
        """Return the order for an entry; later changes of the entry do not change the order.

        prompt: the composed prompt for the model.
        size_px: width and height; by default the entry's own.
        """
        width_px, height_px = size_px or (entry.width_px, entry.height_px)
        return cls(
            model_id=entry.model_id,
            revision=entry.revision,
            adapter=entry.adapter,
            prompt=prompt,
            width_px=width_px,
            height_px=height_px,
            steps=entry.steps,
            guidance_scale=entry.guidance_scale,
            max_text_tokens=entry.max_text_tokens,
            seed=seed,
        )

    @property
    def batch_key(self) -> str:
        """Equal in all orders that can be drawn in one batch: those that differ in prompt and seed alone."""
        shared = {name: value for name, value in asdict(self).items() if name not in {"prompt", "seed"}}
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """Return the order as a JSON object, in which the adapter is an object or null."""
        return {**vars(self), "adapter": vars(self.adapter) if self.adapter else None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read the result of `to_json`."""
        return cls(**{**stored, "adapter": _adapter(stored["adapter"])})


@dataclass(frozen=True)
class Provenance:
    """The backend, weights and seed that an image was really made with, and its cost.

    adapter: the adapter that was applied, with its scale.
    cost_microusd: in millionths of a dollar, including failed attempts that may have been charged.
    attempts: the failed attempts at hosted providers before the image.
    profile: of the local backend: `exact`, `fast`, `turbo` or `draft`, with `-eager` if compiling failed.
    None for other backends, and for images of before there were profiles.
    """

    backend: str
    model_id: str
    revision: str | None
    adapter: Adapter | None
    seed: int
    provider: str | None = None
    cost_microusd: int = 0
    attempts: tuple[Mapping[str, Any], ...] = ()
    profile: str | None = None

    @classmethod
    def of_order(cls, backend: str, order: Order, profile: str | None = None) -> Self:
        """Return the provenance of an image that a backend drew as ordered."""
        return cls(backend, order.model_id, order.revision, order.adapter, order.seed, profile=profile)

    def to_json(self) -> dict[str, Any]:
        """Return the provenance as a JSON object, in which the adapter is an object or null."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read the result of `to_json`."""
        attempts = tuple(stored["attempts"])
        return cls(**{**stored, "adapter": _adapter(stored["adapter"]), "attempts": attempts})


def _adapter(stored: Mapping[str, Any] | None) -> Adapter | None:
    return Adapter(**stored) if stored else None
