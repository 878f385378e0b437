"""The engine of a process: it prepares transformers for its profile, and computes the loop's velocities."""

from collections.abc import Callable
from typing import Final

import torch
from diffusers import FluxTransformer2DModel

from inference.local.compiling import INDUCTOR, Compilation
from inference.local.denoising import Conditioning, Schedule, Velocity
from inference.local.modulation import hoist
from inference.local.profiles import Profile, choose_attention
from inference.local.step_cache import ExtrapolatedVelocity
from inference.local.velocity import HoistedVelocity, PlainVelocity

_CPU: Final = torch.device("cpu")

# Primes: of two equal sizes, or of one equal to a width, torch would assume that they always are equal.
WARM_IMAGE_TOKENS: Final = 1021
WARM_TEXT_TOKENS: Final = 509
WARM_BATCHES: Final = (1, 2)  # torch compiles a batch of one apart from all others


class Engine:
    """Draws with one profile, and one attention backend, on one device."""

    def __init__(
        self,
        profile: Profile = Profile.EXACT,
        device: torch.device = _CPU,
        backend: str | Callable[..., object] = INDUCTOR,
    ) -> None:
        """Prepare nothing yet. backend: of `torch.compile`."""
        self.profile = profile
        self._device = device
        self._compilation = Compilation(backend)

    def prepare(self, transformer: FluxTransformer2DModel) -> None:
        """Prepare a base on its device, which no other call may have done before, and compile it."""
        if not self.profile.hoists:
            return
        hoist(transformer)
        transformer.requires_grad_(
            requires_grad=False
        )  # as a variant's own weights: else these need more graphs
        transformer.set_attention_backend(choose_attention(self._device))
        self._compilation.compile(transformer)
        self._compilation.warm_up(lambda: self._warm_up(transformer))

    def prepare_variant(self, variant: FluxTransformer2DModel) -> None:
        """Prepare a copy of a prepared base. It runs the base's graphs, so it needs no first call."""
        if self.profile.hoists:
            self._compilation.compile(variant)

    def velocity(
        self, transformer: FluxTransformer2DModel, schedule: Schedule, conditioning: Conditioning
    ) -> Velocity:
        """Return the velocity of a batch for the loop. transformer: one that was prepared."""
        if not self.profile.hoists:
            return PlainVelocity(transformer, schedule, conditioning)
        hoisted = HoistedVelocity(transformer, schedule, conditioning, self._compilation.guard)
        caches = self.drawn_by(transformer) is Profile.DRAFT
        return ExtrapolatedVelocity(hoisted, schedule) if caches else hoisted

    def drawn_by(self, transformer: FluxTransformer2DModel) -> Profile:
        """Return the profile that a transformer really draws with: schnell leaves out no step."""
        guided = transformer.config.guidance_embeds
        return Profile.TURBO if self.profile is Profile.DRAFT and not guided else self.profile

    def provenance(self, transformer: FluxTransformer2DModel) -> str:
        """Return the profile for the provenance of an image, and whether compiling has failed."""
        return f"{self.drawn_by(transformer)}{'-eager' if self._compilation.failed else ''}"

    @torch.no_grad()
    def _warm_up(self, transformer: FluxTransformer2DModel) -> None:
        """Compute a step of each kind of batch, so that all graphs are compiled."""
        config, dtype = transformer.config, transformer.dtype
        for batch in WARM_BATCHES:

            def zeros(*shape: int) -> torch.Tensor:
                return torch.zeros(shape, dtype=dtype, device=self._device)

            conditioning = Conditioning(
                embeds=zeros(batch, WARM_TEXT_TOKENS, config.joint_attention_dim),
                pooled=zeros(batch, config.pooled_projection_dim),
                guidance=torch.ones(1, device=self._device) if config.guidance_embeds else None,
                text_ids=zeros(WARM_TEXT_TOKENS, 3),
                image_ids=zeros(WARM_IMAGE_TOKENS, 3),
            )
            schedule = [(zeros(1)[0] + 1, zeros(1)[0])]
            latents = zeros(batch, WARM_IMAGE_TOKENS, config.in_channels)
            HoistedVelocity(transformer, schedule, conditioning, _unguarded)(1, latents)


def _unguarded(work: Callable[[], torch.Tensor]) -> torch.Tensor:
    return work()
