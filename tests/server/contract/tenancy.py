"""The route table as endpoints, and requests to each as its own description in OpenAPI has them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import httpx
from litestar import Litestar
from litestar.routes import HTTPRoute

from catalog.presets import shipped_presets
from server.http.alias import PREFIX
from server.images.links import ROUTE as IMAGES
from tests.server.uploads import files

NOUNS: Final = {
    "project_id": "Project",
    "avatar_id": "Avatar",
    "generation_id": "Generation",
    "key_id": "API key",
}
"""What the ids in the paths of private routes name. A new one is given to `Tenant.ids` as well."""

OF_A_USER, OF_NOBODY = "a user's", "nobody's"
REFERENCES: Final = {
    "projectId": OF_A_USER,
    "quoteId": OF_A_USER,
    "presetId": OF_NOBODY,
    "appId": OF_NOBODY,  # this one and the next are labels that a client chooses
    "referenceId": OF_NOBODY,
    "lastEventId": OF_NOBODY,  # these are positions in one sequence of all events
    "Last-Event-ID": OF_NOBODY,
}
"""Whose the ids in bodies, queries and headers are."""

PUBLIC: Final = {
    *(f"{PREFIX}{path}" for path in ("/presets", "/presets/{preset_id}", "/health")),
    *("/api/health", "/health", "/api/models/popular"),
    *(f"{IMAGES}/{{name}}", f"{IMAGES}/presets/{{name}}"),
    *("/healthz", "/readyz"),
    *("/", "/docs", "/page/{version}/{path}", "/api/sign-in"),
}
"""What needs no token. Source: the contract, section 3; health is the operator's, the last are the page's."""

DOCUMENTATION: Final = "/schema"
OTHERS: Final = ("/api/operate", "/v1/", "/models/", "/fal/", "/sdapi/")
"""What is for operators, or speaks another dialect: `routes/test_operate.py` and `dialects/` look there."""
REQUEST_ID: Final = "tenancy"


@dataclass(frozen=True)
class Endpoint:
    """A method of a route. operation: its description in OpenAPI, with every reference resolved."""

    method: str
    path: str
    operation: Mapping[str, Any]
    public: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """The names of the ids in the path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    @property
    def options(self) -> list[Mapping[str, Any]]:
        """The parameters in the query and the headers."""
        return [one for one in self.operation.get("parameters", ()) if one["in"] != "path"]

    @property
    def form(self) -> tuple[str, Mapping[str, Any]]:
        """The media type and the schema of the body; of an empty object if there is none."""
        content = self.operation.get("requestBody", {}).get("content", {"": {"schema": {}}})
        ((kind, described),) = content.items()
        return kind, described["schema"]

    @property
    def references(self) -> set[str]:
        """The names of the ids in the body, the query and the headers."""
        names = [*self.form[1].get("properties", ()), *(option["name"] for option in self.options)]
        return {name for name in names if name.lower().endswith("id")}


@dataclass(frozen=True)
class Call:
    """A request to an endpoint, without its ids and its token."""

    endpoint: Endpoint
    body: Mapping[str, Any]
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, ids: Mapping[str, str], token: Mapping[str, str]) -> httpx.Request:
        """Return the request for some ids."""
        kind, _ = self.endpoint.form
        encoded: dict[str, Any] = {}
        if kind == "multipart/form-data":
            sent = {name: value for name, value in self.body.items() if isinstance(value, bytes)}
            texts = {name: str(value) for name, value in self.body.items() if name not in sent}
            encoded = {"files": sent, "data": texts}
        elif kind:
            encoded = {"json": self.body}
        request = httpx.Request(
            self.endpoint.method,
            f"http://tenancy{self.endpoint.path.format(**ids)}",
            params=self.query,
            headers={"X-Request-Id": REQUEST_ID, **self.headers, **token},
            **encoded,
        )
        request.read()  # so that it can be sent again
        return request


def endpoints(app: Litestar) -> list[Endpoint]:
    """Return every endpoint of the application but OPTIONS, which Litestar adds to each route."""
    described = app.openapi_schema.to_schema()
    return list(_endpoints(app, described["paths"], described["components"]["schemas"]))


def _endpoints(app: Litestar, paths: Any, components: Any) -> Iterator[Endpoint]:
    for route in app.routes:
        assert isinstance(route, HTTPRoute), f"{route.path} is of a kind that these tests do not know"
        for handler in route.route_handlers:
            for method in sorted(handler.http_methods - {"OPTIONS"}):
                operation = paths.get(route.path_format, {}).get(method.lower(), {})
                public = handler.opt.get("public", False) or route.path_format.startswith(DOCUMENTATION)
                yield Endpoint(method, route.path_format, _resolved(operation, components), public)


def _resolved(part: Any, components: Any) -> Any:
    if isinstance(part, list):
        return [_resolved(one, components) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _resolved(components[part["$ref"].rpartition("/")[2]], components)
    return {name: _resolved(one, components) for name, one in part.items() if name != "responses"}


def calls(endpoint: Endpoint) -> list[Call]:
    """Return the shortest call of an endpoint, one with a whole body, and one with each option."""
    _, schema = endpoint.form
    least = {name: _example(schema["properties"][name], name) for name in schema.get("required", ())}
    most = {name: _example(one, name) for name, one in schema.get("properties", {}).items()}
    most = {name: value for name, value in most.items() if REFERENCES.get(name) != OF_A_USER}
    found = [Call(endpoint, least)]
    if most != least:
        found.append(Call(endpoint, most))
    for option in endpoint.options:
        value = _example(option["schema"], option["name"])
        if option["in"] == "query":
            found.append(Call(endpoint, least, query={option["name"]: value}))
        else:
            found.append(Call(endpoint, least, headers={option["name"]: str(value)}))
    return found


def _example(schema: Mapping[str, Any], name: str) -> Any:
    """Return a value that a schema allows."""
    if name == "presetId":
        return next(iter(shipped_presets()))
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return _example({**schema[choice][0], **{k: v for k, v in schema.items() if k != choice}}, name)
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = next(kind for kind in kinds if kind != "null")
    if kind == "string":
        return _text(schema)
    return {"object": {}, "array": [], "boolean": True, "integer": int(schema.get("maximum", 1024))}[kind]


def _text(schema: Mapping[str, Any]) -> Any:
    if schema.get("format") == "binary":
        return next(iter(files.valid().values()))
    if schema.get("contentMediaType") == "application/json":
        return "[]"
    return "1" * schema.get("minLength", 1)


def private(app: Litestar) -> list[Endpoint]:
    """Return the endpoints that want a token, and are for users by the contract."""
    return [
        endpoint
        for endpoint in endpoints(app)
        if not endpoint.public and not endpoint.path.startswith(OTHERS)
    ]


@dataclass(frozen=True)
class Tenant:
    """A user and the ids of what the user has, by the names of the parameters in paths."""

    account: Any
    ids: Mapping[str, Sequence[str]]

    def cases(self, endpoint: Endpoint) -> Iterator[dict[str, str]]:
        """Yield ids for an endpoint, once for each that the tenant has for one of its parameters."""
        first = {parameter: ids[0] for parameter, ids in self.ids.items()}
        if not endpoint.parameters:
            yield first
        for parameter in endpoint.parameters:
            for id_ in self.ids[parameter]:
                yield first | {parameter: id_}


def unknown_ids() -> dict[str, str]:
    """Return ids that never existed."""
    return {parameter: str(uuid4()) for parameter in NOUNS}
