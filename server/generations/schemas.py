"""Generations on the wire."""

import json
from typing import Annotated, Any, Self

from pydantic import Field

from catalog.selection import Wish
from server.avatars.schemas import Traits
from server.db.tables import Generation
from server.schemas import Fold, Name, View, WireTime


class GenerateRequest(Traits):
    """The body of POST /projects/{projectId}/avatars/generate."""

    name: Name
    prompt: Annotated[str, Field(min_length=10, max_length=2000), Fold]
    width: int | None = None
    height: int | None = None
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    model_key: Annotated[str | None, Field(max_length=128)] = None

    def wish(self) -> Wish:
        """Return what the selection decides by."""
        return Wish(width_px=self.width, height_px=self.height, model_key=self.model_key)


class MakingView(View):
    """What an image was really made with. What it cost is the operator's affair."""

    backend: str
    provider: str | None
    model_id: str
    model_revision: str | None
    lora_model: str | None
    lora_scale: float | None
    seed: int

    @classmethod
    def of(cls, making: dict[str, Any]) -> Self:
        """Return what a generation has kept, in the words of the catalogue."""
        adapter = making["adapter"] or {}
        return cls(
            backend=making["backend"],
            provider=making["provider"],
            model_id=making["model_id"],
            model_revision=making["revision"],
            lora_model=adapter.get("model_id"),
            lora_scale=adapter.get("scale"),
            seed=making["seed"],
        )


class GenerationView(View):
    """A generation. `options` is JSON text, as the existing clients parse it."""

    id: str
    user_id: str
    project_id: str
    avatar_id: str | None
    status: str
    prompt: str
    options: str = "{}"
    error_code: str | None
    error_message: str | None
    attempt: int
    made_with: MakingView | None = None
    created_at: WireTime
    updated_at: WireTime
    completed_at: WireTime | None

    @classmethod
    def of(cls, generation: Generation) -> Self:
        """Return a generation with its options."""
        recipe = generation.recipe
        options = {
            "width": recipe["width_px"],
            "height": recipe["height_px"],
            "seed": recipe["seed"],
            "modelKey": generation.entry_key,
            "modelName": generation.entry_name,
            "numInferenceSteps": recipe["steps"],
            "guidanceScale": recipe["guidance_scale"],
            "loraModel": recipe["adapter"]["model_id"] if recipe["adapter"] else None,
            "loraScale": recipe["adapter"]["scale"] if recipe["adapter"] else None,
        }
        made_with = MakingView.of(generation.making) if generation.making else None
        told = {"options": json.dumps(options), "made_with": made_with}
        return cls.model_validate(generation).model_copy(update=told)


class GenerationAnswer(View):
    """One generation."""

    generation: GenerationView


class GenerationAccepted(GenerationAnswer):
    """A generation that was queued and its price held."""

    message: str
    credit_used: int
    credit_balance: int
    note: str
