"""The routes of the uses of avatars in applications."""

import json
from typing import Annotated, Any, Final, Literal

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from server.avatars import service
from server.avatars.service import Use
from server.http.bodies import Fold, Message, Name, Request, View, WireTime, Word, examples
from server.http.request import ApiRequest
from server.http.services import Services

MAX_METADATA_BYTES: Final = 4096

Label = Annotated[str, Field(min_length=1, max_length=64), Fold]


def _as_text(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def _bounded(metadata: dict[str, Any]) -> dict[str, Any]:
    """Refuse an object that is too large or nested too deeply to be kept as JSON text."""
    try:
        size_bytes = len(_as_text(metadata).encode())
    except RecursionError as error:
        raise PydanticCustomError("metadata", "Object is nested too deeply") from error
    if size_bytes > MAX_METADATA_BYTES:
        limit = {"limit": MAX_METADATA_BYTES}
        raise PydanticCustomError("metadata", "Object must have at most {limit} bytes as JSON", limit)
    return metadata


class RecordUse(Request):
    """The body of POST /avatars/{id}/usage."""

    model_config = examples({"appId": "pose-studio", "appName": "Pose Studio", "action": "posed"})

    app_id: Label
    app_name: Name
    action: Label
    reference_id: Annotated[str | None, Field(max_length=100)] = None
    reference_type: Word | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_bounded)] | None = None

    def use(self) -> Use:
        """Return what the use case takes."""
        return Use(
            app_id=self.app_id,
            app_name=self.app_name,
            action=self.action,
            reference_id=self.reference_id,
            reference_type=self.reference_type,
            details=None if self.metadata is None else _as_text(self.metadata),
        )


class UseView(View):
    """One use of an avatar. `metadata` is JSON text, like the other objects that the server keeps."""

    id: Annotated[str, BeforeValidator(str)]
    avatar_id: str
    app_id: str
    app_name: str
    action: str
    reference_id: str | None
    reference_type: str | None
    metadata: Annotated[str | None, Field(validation_alias="details")]
    created_at: WireTime


class AppUseView(View):
    """How often an application used an avatar, and when it last did."""

    app_id: str
    app_name: str
    count: int
    last_used: WireTime


class UsageHistoryAnswer(View):
    """The newest uses of an avatar, the newest first, and what they add up to for each application."""

    success: Literal[True] = True
    history: list[UseView]
    summary: list[AppUseView]


class UsageController(Controller):
    """Record and list the uses of avatars."""

    path = "/avatars/{avatar_id:str}"
    tags = ("avatars",)

    @post("/usage", status_code=200, sync_to_thread=True)
    def record(
        self,
        avatar_id: FromPath[str],
        data: JSONBody[RecordUse],
        request: ApiRequest,
        services: NamedDependency[Services],
    ) -> Message:
        """Record that an application used an avatar."""
        service.record_use(services.uow, request.user, avatar_id, data.use())
        return Message(message="Usage recorded successfully")

    @get("/usage-history", sync_to_thread=True)
    def history(
        self, avatar_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> UsageHistoryAnswer:
        """List the newest uses of an avatar, and add them all up for each application."""
        found = service.usage_history(services.uow, request.user, avatar_id)
        return UsageHistoryAnswer(
            history=[UseView.model_validate(use) for use in found.uses],
            summary=[AppUseView.model_validate(app) for app in found.by_app],
        )
