"""The routes of presets."""

import json
from typing import Annotated, Self

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from pydantic.alias_generators import to_camel

from catalog.presets import Category
from catalog.traits import TRAIT_NAMES, Traits
from server.avatars.tables import trait_values
from server.db.unit_of_work import Transaction
from server.generations.from_preset import accept_preset
from server.http.bodies import Name, Request, View, WireTime, examples
from server.http.errors import InputInvalid
from server.http.idempotency import IdempotencyKey, Spent, spend_once
from server.http.request import ApiRequest
from server.http.services import Services
from server.presets import pictures, service
from server.presets.pictures import Variant
from server.presets.service import UsedPreset
from server.routes import refusals
from server.routes.avatars import TraitsView
from server.routes.generation_bodies import GenerationAccepted, accepted
from server.routes.generations import limits_of
from server.routes.images import HEADERS

PERSONA, LOOKS = (
    [name for name in TRAIT_NAMES if name.startswith("persona_") is of_persona]
    for of_persona in (True, False)
)

CategoryName = Annotated[str | None, QueryParameter(schema_extra={"enum": [*Category]})]


class PresetView(TraitsView):
    """A preset. Its persona and its looks are fields and, as the existing clients parse it, JSON text."""

    id: str
    name: str
    description: str
    category: Category
    image_url: str
    thumbnail_url: str
    preview_image_url: str
    generation_prompt: str
    persona_template: str
    visual_attributes: str
    is_public: bool = True
    usage_count: int
    popularity: int
    created_at: WireTime
    updated_at: WireTime

    @classmethod
    def of(cls, found: UsedPreset) -> Self:
        """Return a preset with the paths of its pictures and its uses."""
        preset = found.preset
        full = pictures.path(preset.id, Variant.FULL)
        return cls(
            id=preset.id,
            name=preset.name,
            description=preset.description,
            category=preset.category,
            image_url=full,
            thumbnail_url=pictures.path(preset.id, Variant.THUMBNAIL),
            preview_image_url=full,
            generation_prompt=preset.prompt,
            persona_template=_as_text(preset.traits, PERSONA),
            visual_attributes=_as_text(preset.traits, LOOKS),
            usage_count=found.uses,
            popularity=preset.popularity,
            created_at=preset.created_at,
            updated_at=preset.updated_at,
            **trait_values(preset.traits),
        )


class PresetAnswer(View):
    """One preset."""

    preset: PresetView


class PresetList(View):
    """Presets, the most popular first."""

    presets: list[PresetView]


class FromPresetBody(Request):
    """The body of POST /projects/{projectId}/avatars/from-preset."""

    model_config = examples({"presetId": "67b9c63b-51b9-4212-8b43-cb572e813898", "customName": "Grace"})

    preset_id: str
    custom_name: Name | None = None


class PresetController(Controller):
    """Read presets, and draw avatars from them."""

    tags = ("presets",)

    @get("/presets", public=True, sync_to_thread=True)
    def list_all(self, services: NamedDependency[Services], category: CategoryName = None) -> PresetList:
        """List the presets of a category, or all."""
        found = service.list_all(services.uow, _category(category))
        return PresetList(presets=[PresetView.of(one) for one in found])

    @get("/presets/{preset_id:str}", public=True, sync_to_thread=True)
    def get(self, preset_id: FromPath[str], services: NamedDependency[Services]) -> PresetAnswer:
        """Read one preset."""
        return PresetAnswer(preset=PresetView.of(service.get(services.uow, preset_id)))

    @post(
        "/projects/{project_id:str}/avatars/from-preset",
        status_code=200,
        sync_to_thread=True,
        rate_limit="from_preset",
        refuses=refusals.QUEUED,
    )
    def generate(
        self,
        project_id: FromPath[str],
        data: JSONBody[FromPresetBody],
        request: ApiRequest,
        services: NamedDependency[Services],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[GenerationAccepted]:
        """Queue one generation of a preset, by the best entry within reach, and hold its price."""
        caller, limits = request.user, limits_of(services.settings)

        def spend(tx: Transaction) -> Spent[GenerationAccepted]:
            submitted = accept_preset(tx, caller, project_id, data.preset_id, data.custom_name, limits)
            return accepted(submitted, services.wakeups.note)

        return spend_once(services, request, idempotency_key, data, spend)


@get(
    f"{pictures.FOLDER}/{{name:str}}",
    public=True,
    rate_limit="exempt",
    media_type="image/jpeg",
    sync_to_thread=True,
)
def read_picture(name: FromPath[str]) -> Response[bytes]:
    """Return the file of a preset's picture."""
    return Response(pictures.read(name), media_type="image/jpeg", headers=HEADERS)


def _category(text: str | None) -> Category | None:
    try:
        return None if text is None else Category(text)
    except ValueError as error:
        message = f"category must be one of {', '.join(Category)}"
        raise InputInvalid({"category": [message]}) from error


def _as_text(traits: Traits, names: list[str]) -> str:
    values = traits.to_json()
    return json.dumps({to_camel(name): values[name] for name in names})
