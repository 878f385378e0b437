"""What is to be drawn."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Quality = Literal["fast", "balanced", "quality", "ultra"]


@dataclass(frozen=True)
class Wish:
    """A prompt, and what else may be wished for. What is None is left to the server.

    name: of the avatar; by default the beginning of the prompt. width_px, height_px: multiples of 16 from
    512 on. seed: 0 to 4294967295; an equal wish with an equal seed gives an equal image. model: an entry of
    the catalogue, such as `flux-dev-realism`. quote_id: of a quote for this wish, whose price it binds.
    traits: those of the API by their names there, such as `{"hairColor": "red"}`.
    """

    prompt: str
    name: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    seed: int | None = None
    model: str | None = None
    quality: Quality | None = None
    quote_id: str | None = None
    traits: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the body of the request."""
        named = asdict(self)
        body = {
            **self.traits,
            "name": self.name or " ".join(self.prompt.split())[:100] or None,
            "width": named["width_px"],
            "height": named["height_px"],
            "modelKey": self.model,
            "quoteId": self.quote_id,
            **{name: named[name] for name in ("prompt", "seed", "quality")},
        }
        return {name: value for name, value in body.items() if value is not None}
