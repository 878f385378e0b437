"""The OpenAPI document tells what routes take, answer and refuse."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from catalog.tiers import Tier
from scripts.openapi import FILE
from server.accounts import service as accounts
from server.http.alias import PREFIX

SIGN_IN = "/api/sign-in"
PUBLIC = {
    *(f"{PREFIX}/{path}" for path in ("presets", "presets/{preset_id}", "health")),
    *("/api/health", "/health", "/healthz", "/readyz", "/api/models/popular", SIGN_IN),
    *("/uploads/avatar-creator/{name}", "/uploads/avatar-creator/presets/{name}"),
}


@pytest.fixture(scope="module")
def document() -> Any:
    """The document; it is that of the code, by tests/scripts/test_openapi.py."""
    return json.loads(FILE.read_text("utf-8"))


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield each operation with its method and path."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def references(node: Any) -> Iterator[str]:
    """Yield every reference inside a part of the document."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for part in node.values():
            yield from references(part)
    elif isinstance(node, list):
        for part in node:
            yield from references(part)


class TestBodies:
    def test_every_reference_leads_somewhere(self, document):
        """Each body that another one has inside is a component of the document."""
        components = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert set(references(document)) == components

    def test_every_success_has_a_shape(self, document):
        """No operation leaves open what a success is."""
        for method, path, operation in operations(document):
            for kind, content in operation["responses"]["200"]["content"].items():
                assert content["schema"], f"{method} {path} {kind}"

    @pytest.mark.parametrize(
        ("body", "field", "bound"),
        [
            ("GenerateBody", "seed", {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}),
            ("GenerateBody", "width", {"type": "integer", "minimum": 512, "multipleOf": 16}),
            ("GenerateBody", "hairColor", {"type": "string", "maxLength": 50}),
            (
                "UpdateAvatar",
                "personaPersonality",
                {"type": "string", "contentMediaType": "application/json"},
            ),
            ("FromPresetBody", "customName", {"type": "string", "minLength": 1, "maxLength": 100}),
        ],
    )
    def test_bounds_of_optional_fields(self, document, body, field, bound):
        """What an optional field may be is told with its bounds, beside null."""
        kinds = document["components"]["schemas"][body]["properties"][field]["anyOf"]
        assert bound in kinds
        assert {"type": "null"} in kinds

    def test_answers_name_all_that_they_have(self, document):
        """A field with a default is answered always, and one that may be absent is not required."""
        schemas = document["components"]["schemas"]
        assert "imageUrl" in schemas["GenerationView"]["required"]
        assert set(schemas["ErrorInside"]["required"]) == {"message", "code", "statusCode"}
        assert "fastMode" not in schemas["CapabilitiesView"]["required"]

    def test_times_are_times(self, document):
        """A time is told as a date-time, also where it may be null."""
        fields = document["components"]["schemas"]["GenerationView"]["properties"]
        assert fields["createdAt"] == {"type": "string", "format": "date-time"}
        assert {"type": "string", "format": "date-time"} in fields["completedAt"]["anyOf"]

    def test_null_in_parameters(self, document):
        """An optional text cannot be null; for an optional number the text `null` counts as absent."""
        kinds = {
            (path, parameter["name"]): parameter["schema"]
            for path in ("avatars", "generations", "presets")
            for parameter in document["paths"][f"{PREFIX}/{path}"]["get"]["parameters"]
        }
        nullable = {where for where, kind in kinds.items() if {"type": "null"} in kind.get("oneOf", [])}
        assert nullable == {("avatars", "limit"), ("generations", "status")}
        assert kinds["generations", "cursor"]["type"] == kinds["presets", "category"]["type"] == "string"

    def test_null_is_a_text_in_a_query(self, api, make_account):
        """What the document says of null in a query is so."""
        account = make_account()
        for query, status in (("avatars?limit=null", 200), ("presets?category=null", 400)):
            answer = api.client.get(f"{PREFIX}/{query}", headers=account.headers)
            assert answer.status_code == status, query

    def test_forms_know_no_null(self, document):
        """A form cannot hold null: what is optional there is left out."""
        upload = document["paths"][f"{PREFIX}/projects/{{project_id}}/avatars/upload"]["post"]
        form = upload["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert not any("anyOf" in field for field in form["properties"].values())
        assert form["properties"]["hairColor"] == {"type": "string", "maxLength": 50}


class TestExamples:
    def test_the_api_takes_them(self, api, make_account, submit_one, deliver, document, subtests):
        """Every body of JSON has an example, and what is sent as the example shows is done."""
        account = make_account(Tier.BASIC)
        accounts.set_operator(api.uow, account.user_id, is_operator=True)
        avatar_id = deliver(submit_one(account)).avatar_id
        ids = {"project_id": account.project_id, "avatar_id": avatar_id, "user_id": account.user_id}
        ids["key"] = "flux-dev-base"
        bodies = 0
        for method, path, operation in operations(document):
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" not in content:
                continue
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            if name == "SignInBody":
                continue  # a code is valid once
            for example in document["components"]["schemas"][name]["examples"]:
                bodies += 1
                with subtests.test(path=path, example=example):
                    answer = api.client.request(
                        method, path.format(**ids), json=example, headers=account.headers
                    )
                    assert answer.status_code == 200, answer.text
        assert bodies >= 7


class TestRefusals:
    def test_who_may_call(self, document):
        """Every route but the public ones wants a bearer token, and can answer 401; signing in can, too."""
        assert document["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
        public = {path for _, path, operation in operations(document) if "security" not in operation}
        assert public == PUBLIC
        for _, path, operation in operations(document):
            assert ("401" in operation["responses"]) is (path not in PUBLIC - {SIGN_IN}), path

    @pytest.mark.parametrize(
        ("method", "path", "statuses"),
        [
            ("post", "/projects/{project_id}/avatars/generate", "200 400 401 402 403 404 409 429 503"),
            ("post", "/projects/{project_id}/avatars/upload", "200 400 401 402 404 409 429 503"),
            ("post", "/generations/{generation_id}/cancel", "200 400 401 404 409 429 503"),
            ("get", "/projects", "200 400 401 429 503"),
            ("get", "/presets/{preset_id}", "200 400 404 429 503"),
            ("get", "/health", "200 400"),
        ],
    )
    def test_what_a_route_refuses(self, document, method, path, statuses):
        """The marks of a route, its parameters and its own errors make up its statuses."""
        assert " ".join(document["paths"][PREFIX + path][method]["responses"]) == statuses

    def test_refusals_have_one_shape(self, document):
        """Each error but those of the probes has the contract's envelope, and says its code."""
        for method, path, operation in operations(document):
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path not in ("/healthz", "/readyz"):
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, f"{method} {path}"
                    assert response["description"].startswith("`"), f"{method} {path} {status}"
