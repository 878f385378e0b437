"""The OpenAPI document: bodies as pydantic knows them, and what each route refuses, read from its marks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Final, get_args

from litestar import Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Schema,
    SecurityScheme,
)
from litestar.plugins import OpenAPISchemaPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute
from litestar.types.internal_types import PathParameterDefinition
from litestar.typing import FieldDefinition
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from server.accounts.errors import TokenExpired, TokenInvalid
from server.errors import DatabaseAway, NotFound
from server.http.alias import ALIAS, PREFIX
from server.http.bodies import Request
from server.http.envelope import ErrorAnswer
from server.http.errors import (
    MEANINGS,
    BodyUnreadable,
    InputInvalid,
    OperatorsOnly,
    RateLimitExceeded,
    TokenMissing,
)
from server.http.operators import operators_only
from server.http.rate_limits import EXEMPT, MARK

REFUSES: Final = "refuses"
"""The handler option that names the errors of a route's own."""

BEARER: Final = "bearer"
DESCRIPTION: Final = (
    f"What begins with `{PREFIX}` is also served under `{ALIAS}`. "
    "Text must not contain the character NUL, and white space around names and prompts does not count. "
    "Every error has the shape of ErrorAnswer, a bug with status 500 and the code INTERNAL_ERROR too."
)


def operation_id(
    handler: HTTPRouteHandler, _method: object, parts: list[str | PathParameterDefinition]
) -> str:
    """Return the name by which generated clients call a route, such as `projects_create`."""
    if tags := handler.resolve_tags():
        return f"{tags[0]}_{handler.handler_name}"
    return "_".join(part.replace("-", "_") for part in parts if isinstance(part, str))


def config(page: OpenAPIRenderPlugin, headers: Mapping[str, str]) -> OpenAPIConfig:
    """Return how the API is described, and the page and the headers that it is shown with."""
    return OpenAPIConfig(
        title="Avatar Creator",
        version="1",
        description=DESCRIPTION,
        use_handler_docstrings=True,
        operation_id_creator=operation_id,
        components=Components(security_schemes={BEARER: SecurityScheme(type="http", scheme="bearer")}),
        render_plugins=[page],
        openapi_router=Router(
            "/schema", route_handlers=[], include_in_schema=False, response_headers=headers
        ),
    )


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # as the base declares it
        """Return that no field has one."""
        return False


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a body, whose own bodies are components of the document."""
    return model.model_json_schema(
        mode="validation" if issubclass(model, Request) else "serialization",
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )


class Bodies(OpenAPISchemaPlugin):
    """Describes bodies by pydantic: Litestar loses the bounds of optional fields, and minima of 0."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether a type is a body."""
        return isinstance(value, type) and issubclass(value, BaseModel)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """Add a body and those inside it to the components of the document."""
        model: type[BaseModel] = field_definition.annotation
        schema: Schema = schema_creator.schema_registry.get_schema_for_field_definition(field_definition)
        body = described(model)
        schema.title, schema.description = body["title"], body.get("description")
        schema.type, schema.required = OpenAPIType.OBJECT, body.get("required")
        schema.properties, schema.examples = body["properties"], body.get("examples")
        for inner in {inner for one in model.model_fields.values() for inner in _components(one.annotation)}:
            schema_creator.for_field_definition(FieldDefinition.from_annotation(inner))
        return schema


def _components(annotation: Any) -> Iterator[Any]:
    """Yield the types inside an annotation that are components of their own."""
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or hasattr(annotation, "__members__")
    ):
        yield annotation
    for part in get_args(annotation):
        yield from _components(part)


@dataclass
class ApiOperation(Operation):
    """An operation whose optional texts are left out, never sent as null: there, `null` is a text like any.

    The text `null` for any other optional parameter counts as absent: so Litestar reads it. A response of
    bytes may name several types of image.
    """

    def __post_init__(self) -> None:
        """Take null out of the types of parameters that are texts, and tell images by their types."""
        for response in (self.responses or {}).values():
            if isinstance(response, OpenAPIResponse) and response.content:
                response.content = dict(_media_types(response.content))
        for parameter in self.parameters or ():
            schema = getattr(parameter, "schema", None)
            match schema:
                case Schema(one_of=[Schema(type=OpenAPIType.STRING), Schema(type=OpenAPIType.NULL)]):
                    schema.one_of, schema.type = None, OpenAPIType.STRING


def _media_types(content: Mapping[str, OpenAPIMediaType]) -> Iterator[tuple[str, OpenAPIMediaType]]:
    for kinds, described_as in content.items():
        if not kinds.startswith("image/"):
            yield kinds, described_as
            continue
        for kind in kinds.split(", "):
            yield kind, OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))


class Refusals(ReceiveRoutePlugin):
    """Describes who may call each route, and every error that it answers with."""

    def receive_route(self, route: BaseRoute) -> None:
        """Add to the handlers of a new route."""
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema():
                if not handler.opt.get("public"):
                    handler.security = [{BEARER: []}]
                if handler.operation_class is Operation:
                    handler.operation_class = ApiOperation
                refused = _responses(_errors(handler, names_resource=bool(route.path_parameters)))
                handler.responses = refused | dict(handler.responses or {})


def _responses(errors: Iterator[type[Exception]]) -> dict[int, ResponseSpec]:
    causes: dict[int, list[str]] = defaultdict(list)
    for error in errors:
        status, code = MEANINGS[error]
        sentence = cleandoc(error.__doc__ or "").split(".")[0]
        causes[status].append(f"`{code}`: {sentence}.")
    return {
        status: ResponseSpec(ErrorAnswer, generate_examples=False, description=" ".join(sentences))
        for status, sentences in sorted(causes.items())
    }


def _errors(handler: HTTPRouteHandler, *, names_resource: bool) -> Iterator[type[Exception]]:
    """Yield the errors that a route answers with: those of its marks and parameters, and its own."""
    yield InputInvalid  # by any route: a query may contain NUL
    if "data" in handler.parsed_fn_signature.parameters:
        yield BodyUnreadable
    if not handler.opt.get("public"):
        yield from (TokenMissing, TokenInvalid, TokenExpired)
    if operators_only in handler.resolve_guards():
        yield OperatorsOnly
    if names_resource:
        yield NotFound
    if handler.opt.get(MARK) != EXEMPT:
        yield from (RateLimitExceeded, DatabaseAway)
    yield from handler.opt.get(REFUSES, ())
