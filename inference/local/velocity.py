"""The velocity of a batch, in two ways: as diffusers computes it, and with what steps share computed once."""

from collections.abc import Callable, Sequence

import torch
from diffusers import FluxTransformer2DModel

from inference.local.denoising import Conditioning, Schedule
from inference.local.modulation import modulate

Guarded = Callable[[Callable[[], torch.Tensor]], torch.Tensor]
"""Returns what its argument returns; it may call it twice."""


class PlainVelocity:
    """The transformer's own forward pass. See `inference.local.denoising.Velocity`."""

    def __init__(
        self, transformer: FluxTransformer2DModel, schedule: Schedule, conditioning: Conditioning
    ) -> None:
        """Compute nothing yet."""
        self._transformer = transformer
        self._schedule = schedule
        self._conditioning = conditioning

    def __call__(self, step: int, latents: torch.Tensor) -> torch.Tensor:
        """Return the velocity at a step."""
        batch, given = len(latents), self._conditioning
        timestep, _ = self._schedule[step - 1]
        velocity: torch.Tensor = self._transformer(
            hidden_states=latents,
            timestep=timestep.expand(batch),
            guidance=None if given.guidance is None else given.guidance.expand(batch),
            pooled_projections=given.pooled,
            encoder_hidden_states=given.embeds,
            txt_ids=given.text_ids,
            img_ids=given.image_ids,
            return_dict=False,
        )[0]
        return velocity

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows."""
        self._conditioning = self._conditioning.rows(rows)


class HoistedVelocity:
    """A forward pass that computes before the first step what steps share: equal up to rounding.

    Modulation, the rotary tables (S + T, 128) and the text after its first layer (B, S, 3072) change in no
    step. See `inference.local.denoising.Velocity`.
    """

    def __init__(
        self,
        transformer: FluxTransformer2DModel,
        schedule: Schedule,
        conditioning: Conditioning,
        guarded: Guarded,
    ) -> None:
        """Compute what steps share. transformer: changed by `inference.local.modulation.hoist`."""
        self._transformer = transformer
        self._guarded = guarded
        timesteps = torch.stack([timestep for timestep, _ in schedule])
        with torch.no_grad():
            self._modulation = modulate(transformer, timesteps, conditioning.guidance, conditioning.pooled)
            self._text = transformer.context_embedder(conditioning.embeds)
            self._rotary = transformer.pos_embed(torch.cat([conditioning.text_ids, conditioning.image_ids]))

    def __call__(self, step: int, latents: torch.Tensor) -> torch.Tensor:
        """Return the velocity at a step."""
        return self._guarded(lambda: self._velocity(step, latents))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows."""
        self._text = self._text[rows]
        self._modulation = self._modulation.at((slice(None), rows))

    def _velocity(self, step: int, latents: torch.Tensor) -> torch.Tensor:
        transformer, modulation, text = self._transformer, self._modulation.at(step - 1), self._text
        image = transformer.x_embedder(latents)  # (B, T, 3072)
        blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
        for block, told in zip(blocks, [*modulation.double, *modulation.single], strict=True):
            text, image = block(
                hidden_states=image, encoder_hidden_states=text, temb=told, image_rotary_emb=self._rotary
            )
        velocity: torch.Tensor = transformer.proj_out(transformer.norm_out(image, modulation.last))
        return velocity
