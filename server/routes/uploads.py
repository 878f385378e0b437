"""The route that makes an avatar from an image that the user sends."""

import hashlib
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final, Self, cast

from litestar import Controller, Response, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, RequestBody, Schema
from litestar.params import FromPath
from pydantic import ValidationError

from server.db.unit_of_work import Transaction
from server.errors import DatabaseAway
from server.http.bodies import Name, View
from server.http.errors import InputInvalid
from server.http.forms import Body, FormRules, receive_form
from server.http.idempotency import REPLAYED, IdempotencyKey, Spent, spend_once
from server.http.openapi import ApiOperation, described
from server.http.request import ApiRequest
from server.http.services import Services
from server.images.store import StoredImage
from server.logs import get_log
from server.projects.repository import AvatarInProject
from server.routes import refusals
from server.routes.avatars import AvatarInProjectView
from server.routes.generation_bodies import TraitsBody
from server.uploads import service
from server.uploads.service import Upload, Uploaded

log = get_log(__name__)

IMAGE: Final = "image"
MAX_IMAGE_BYTES: Final = 10 * 2**20  # Source: the contract, section 3
WHOLE_NUMBER: Final = re.compile(r"[+-]?\d{1,9}", re.ASCII)


class UploadBody(TraitsBody):
    """The texts of the form of POST /projects/{projectId}/avatars/upload."""

    name: Name

    @classmethod
    def of_form(cls, texts: Mapping[str, str]) -> Self:
        """Read the fields of a form. Empty ones count as absent.

        Raises:
            InputInvalid: a field breaks its rule.

        """
        values: dict[str, Any] = {name: text for name, text in texts.items() if text.strip()}
        if WHOLE_NUMBER.fullmatch(age := values.get("personaAge", "")):
            values["personaAge"] = int(age)
        if "personaPersonality" in values:
            try:
                values["personaPersonality"] = json.loads(values["personaPersonality"])
            except (ValueError, RecursionError) as error:
                problem = "personaPersonality: must be a list of texts as JSON"
                raise InputInvalid({"personaPersonality": [problem]}) from error
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _input_invalid(error) from error


class ReceivedBody(UploadBody):
    """The whole request: what makes two uploads under one idempotency key equal."""

    file_sha256: str


RULES: Final = FormRules(
    file=IMAGE,
    max_file_bytes=MAX_IMAGE_BYTES,
    texts=[str(field.alias) for field in UploadBody.model_fields.values()],
)


@dataclass
class UploadOperation(ApiOperation):
    """Describes the form, which the handler receives by itself."""

    def __post_init__(self) -> None:
        """Add the form's fields to the operation."""
        super().__post_init__()
        body = described(UploadBody)
        personality = {"type": "string", "contentMediaType": "application/json"}
        fields = {
            **{name: _without_null(field) for name, field in body["properties"].items()},
            "personaPersonality": personality | {"description": "A list of at most 10 texts, as JSON."},
            IMAGE: {
                "type": "string",
                "format": "binary",
                "description": f"JPEG, PNG or WebP, at most {MAX_IMAGE_BYTES} bytes.",
            },
        }
        schema = {
            "type": "object",
            "description": "Empty fields count as absent.",
            "properties": fields,
            "required": [IMAGE, *body["required"]],
        }
        media_type = OpenAPIMediaType(schema=cast("Schema", schema))
        self.request_body = RequestBody(content={"multipart/form-data": media_type}, required=True)


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a field in a form, which knows no null."""
    match field:
        case {"anyOf": [only, {"type": "null"}]}:
            return dict(only)
        case _:
            return field


class AvatarUploaded(View):
    """An avatar that was added, and its price taken."""

    message: str
    avatar: AvatarInProjectView
    credit_used: int
    credit_balance: int


class UploadController(Controller):
    """Make avatars from users' images."""

    tags = ("avatars",)

    @post(
        "/projects/{project_id:str}/avatars/upload",
        status_code=200,
        request_max_body_size=RULES.max_body_bytes,
        operation_class=UploadOperation,
        rate_limit="upload",
        refuses=refusals.UPLOADED,
    )
    async def upload(
        self,
        project_id: FromPath[str],
        request: ApiRequest,
        services: NamedDependency[Services],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[AvatarUploaded]:
        """Add an avatar with an image of the caller's, for 2 credits."""
        if idempotency_key is None:  # an answer that is kept is given again, whatever the balance is now
            await sync_to_thread(service.check, services.uow, request.user, project_id)
        with tempfile.TemporaryFile() as file:
            form = await receive_form(Body(request), RULES, file)
            fields = UploadBody.of_form(form.texts)
            if not form.file_bytes:
                raise InputInvalid({IMAGE: [f"{IMAGE}: must not be empty"]})
            async with services.decoders.turn():
                received = await sync_to_thread(_receive, services, fields, form.file)
        return await sync_to_thread(_add, services, request, idempotency_key, project_id, received)


@dataclass(frozen=True)
class Received:
    """An upload whose image is stored, but no avatar's yet."""

    body: ReceivedBody
    image: StoredImage


def _receive(services: Services, fields: UploadBody, file: BinaryIO) -> Received:
    """Decode an uploaded file and store the image's files."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed: no readinto
    file.seek(0)
    body = ReceivedBody.model_construct(**dict(fields), file_sha256=digest)
    with services.decoders.decoded(file) as picture:
        return Received(body, services.images.put(picture.files))


def _add(
    services: Services, request: ApiRequest, key: str | None, project_id: str, received: Received
) -> Response[AvatarUploaded]:
    """Add the avatar in a transaction; without one, its files are deleted."""
    body, image = received.body, received.image
    wanted = Upload(project_id, body.name, body.traits(), image)

    def spend(tx: Transaction) -> Spent[AvatarUploaded]:
        uploaded = service.upload(tx, request.user, wanted)
        fields = {"avatar_id": uploaded.avatar.id, "user_id": request.user.user_id}
        return Spent(_answer(uploaded, services), committed=partial(log.info, "avatar.uploaded", **fields))

    try:
        answer = spend_once(services, request, key, body, spend)
    except DatabaseAway:
        raise  # perhaps after the commit: the reaper's sweep finds out whether an avatar owns the files
    except Exception:
        services.images.delete(image.key)
        raise
    if REPLAYED in answer.headers:
        services.images.delete(image.key)
    return answer


def _answer(uploaded: Uploaded, services: Services) -> AvatarUploaded:
    found = AvatarInProject(uploaded.avatar, uploaded.project)
    return AvatarUploaded(
        message="Avatar uploaded successfully",
        avatar=AvatarInProjectView.within(found, services.links),
        credit_used=uploaded.credits,
        credit_balance=uploaded.balance,
    )


def _input_invalid(error: ValidationError) -> InputInvalid:
    """Name every field at fault, without the value that was sent."""
    problems: dict[str, list[str]] = defaultdict(list)
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(map(str, problem["loc"]))
        problems[path.split(".")[0]].append(f"{path}: {problem['msg']}")
    return InputInvalid(dict(problems))
