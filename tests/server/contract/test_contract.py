"""Every row of the contract's tables under both prefixes: each route's shape, each error's status."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from catalog.tiers import Tier
from server.generations import settlement
from tests.server.contract.checks import (
    balance,
    credit_history,
    each,
    healthy,
    listed_avatars,
    message,
    models_of,
    of_avatar,
    part,
    statistics,
    submitted,
    uploaded,
    usage_history,
)
from tests.server.contract.shapes import (
    AVATAR,
    GENERATION,
    MODEL,
    PRESET,
    PROJECT,
    USE,
)
from tests.server.stored import provenance_of, stored_image

PREFIXES = ("/api/avatar-creator", "/api/apps/avatar-creator")
WISH = {"name": "Ada", "prompt": "portrait of a person"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def picture() -> bytes:
    """Return a small JPEG."""
    file = BytesIO()
    Image.new("RGB", (64, 48), "teal").save(file, "JPEG")
    return file.getvalue()


@dataclass
class World:
    """A user with one of each thing, and a client."""

    api: Any
    account: Any
    prefix: str
    ids: dict[str, str]

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Call a route. A path that begins with / is below the prefix, any other below the root."""
        path = path.format(**self.ids)
        url = self.prefix + path if path.startswith("/") else f"/{path}"
        headers = self.account.headers | request.pop("headers", {})
        return self.api.client.request(method, url, headers=headers, **request)


# Each prefix with one kind of database: the tests of every noun run on both.
both_prefixes = pytest.mark.parametrize(
    ("prefix", "database_url"),
    [(PREFIXES[0], "sqlite"), (PREFIXES[1], "postgresql")],
    indirect=["database_url"],
)


@pytest.fixture
def world(prefix, open_api, make_account, uow, submit_one, claim):
    """A pro user with a project, a delivered avatar, a pending generation and a preset to choose."""
    account = make_account(Tier.PRO, credits=1000)
    completed = submit_one(account)
    completed = settlement.complete(uow, claim(), stored_image(), provenance_of(completed), {})
    pending = submit_one(account)
    with open_api(rate_limits="off") as api:
        presets = api.client.get(f"{prefix}/presets").json()["presets"]
        ids = {
            "project": account.project_id,
            "avatar": completed.avatar_id,
            "completed": completed.id,
            "pending": pending.id,
            "preset": presets[0]["id"],
            "unknown": UNKNOWN,
        }
        yield World(api, account, prefix, ids)


@dataclass(frozen=True)
class Row:
    """One route of the contract and the shape of its answer."""

    method: str
    path: str
    check: Callable[[Any], None]
    request: dict[str, Any] = dataclasses.field(default_factory=dict)


USAGE = {"appId": "pose", "appName": "Poses", "action": "view", "metadata": {"a": 1}}
UPLOAD = {
    "files": {"image": ("me.jpg", picture(), "image/jpeg")},
    "data": {"name": "Me", "personaPersonality": '["calm"]', "gender": ""},
}
ROWS = (
    Row("GET", "/projects", each("projects", PROJECT)),
    Row("POST", "/projects", part("project", PROJECT), {"json": {"name": "New", "description": "d" * 500}}),
    Row("POST", "/projects", message, {"json": {"name": "New"}}),
    Row("GET", "/projects/{project}", part("project", PROJECT)),
    Row("PUT", "/projects/{project}", part("project", PROJECT), {"json": {"name": "Renamed"}}),
    Row("PUT", "/projects/{project}", message, {"json": {"description": "Described"}}),
    Row("DELETE", "/projects/{project}", message),
    Row("POST", "/projects/{project}/avatars/generate", submitted, {"json": WISH}),
    Row("POST", "/projects/{project}/avatars/upload", uploaded, UPLOAD),
    Row("POST", "/projects/{project}/avatars/from-preset", submitted, {"json": {"presetId": "{preset}"}}),
    Row("GET", "/generations/{pending}", part("generation", GENERATION)),
    Row("GET", "/generations/{completed}", part("generation", GENERATION)),
    Row("GET", "/avatars", listed_avatars),
    Row("GET", "/avatars?limit=10&offset=0", listed_avatars),
    Row("GET", "/avatars/{avatar}", of_avatar),
    Row("PUT", "/avatars/{avatar}", part("avatar", AVATAR), {"json": {"name": "New", "hairColor": "red"}}),
    Row("PUT", "/avatars/{avatar}", message, {"json": {"personaAge": 40}}),
    Row("DELETE", "/avatars/{avatar}", message),
    Row("POST", "/avatars/{avatar}/usage", message, {"json": USAGE}),
    Row("GET", "/avatars/{avatar}/usage-history", usage_history),
    Row("GET", "/presets", each("presets", PRESET)),
    Row("GET", "/presets?category=sports", each("presets", PRESET)),
    Row("GET", "/presets/{preset}", part("preset", PRESET)),
    Row("GET", "/stats", statistics),
    Row("GET", "/health", healthy),
    Row("GET", "api/health", healthy),
    Row("GET", "health", healthy),
    Row("GET", "/models", each("models", MODEL)),
    Row("GET", "api/credits/balance", balance),
    Row("GET", "api/credits/history", credit_history),
    Row("GET", "api/models/popular", models_of("models", MODEL)),
    Row("GET", "api/models/usage", models_of("usages", USE)),
)


def filled(request: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """Return a request with ids in place of their names."""
    if "json" not in request:
        return dict(request)
    written = json.dumps(request["json"])
    for name, value in ids.items():
        written = written.replace(f"{{{name}}}", value)
    return {"json": json.loads(written)}


@both_prefixes
class TestRoutes:
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
    def test_each_answers_in_its_shape(self, world, row):
        """A route of the contract answers 200 with every field that its clients read, and is not cached."""
        answer = world.call(row.method, row.path, **filled(row.request, world.ids))
        assert answer.status_code == 200, answer.text
        row.check(answer.json())
        assert answer.headers["x-request-id"]
        assert answer.headers["cache-control"] == "no-store"


@dataclass(frozen=True)
class Refusal:
    """A request that the contract refuses, and how."""

    method: str
    path: str
    status: int
    code: str
    field: str | None = None
    request: dict[str, Any] = dataclasses.field(default_factory=dict)
    message: str | None = None


def bad(path: str, field: str, method: str = "POST", **body: Any) -> Refusal:
    """Return a request with a field at fault."""
    return Refusal(method, path, 400, "VALIDATION_ERROR", field, {"json": body})


def missing(method: str, path: str, noun: str, **request: Any) -> Refusal:
    """Return a request for what does not exist."""
    return Refusal(method, path, 404, "RESOURCE_NOT_FOUND", None, request, f"{noun} not found")


UPLOADS = "/projects/{project}/avatars/upload"
WITHOUT_IMAGE = {"data": {"name": "Ada"}, "files": {"other": ("me.jpg", picture(), "image/jpeg")}}
GENERATE, PRESETS = "/projects/{project}/avatars/generate", "/projects/{project}/avatars/from-preset"
TOO_LONG = {
    "personaName": 101,
    "personaBackground": 501,
    "ethnicity": 51,
    "bodyType": 51,
    "hairStyle": 51,
    "hairColor": 51,
    "eyeColor": 51,
    "skinTone": 51,
    "style": 51,
}
BAD_TRAITS: tuple[dict[str, Any], ...] = (
    *({name: "x" * length} for name, length in TOO_LONG.items()),
    {"personaAge": 0},
    {"personaAge": 121},
    {"personaAge": "old"},
    {"personaPersonality": ["x"] * 11},
    {"personaPersonality": ["x" * 51]},
    {"gender": "other"},
    {"ageRange": "ancient"},
)
REFUSALS = (
    bad("/projects", "name"),
    bad("/projects", "name", name=""),
    bad("/projects", "name", name="   "),
    bad("/projects", "name", name="n" * 101),
    bad("/projects", "name", name=5),
    bad("/projects", "description", name="n", description="d" * 501),
    bad("/projects/{project}", "name", "PUT", name=""),
    bad("/projects/{project}", "description", "PUT", description="d" * 501),
    bad(GENERATE, "name", prompt=WISH["prompt"]),
    bad(GENERATE, "prompt", name="Ada"),
    bad(GENERATE, "prompt", name="Ada", prompt="too short"),
    bad(GENERATE, "prompt", name="Ada", prompt="x" * 2001),
    bad(GENERATE, "width", **WISH, width=511),
    bad(GENERATE, "width", **WISH, width=520),
    bad(GENERATE, "height", **WISH, height=1552),
    bad(GENERATE, "seed", **WISH, seed=2**32),
    bad(GENERATE, "seed", **WISH, seed=-1),
    bad(GENERATE, "modelKey", **WISH, modelKey="nothing"),
    *(bad(GENERATE, next(iter(trait)), **WISH, **trait) for trait in BAD_TRAITS),
    *(bad("/avatars/{avatar}", next(iter(trait)), "PUT", **trait) for trait in BAD_TRAITS),
    bad("/avatars/{avatar}", "name", "PUT", name="n" * 101),
    bad("/avatars/{avatar}/usage", "appId", appName="Poses", action="view"),
    bad("/avatars/{avatar}/usage", "appName", appId="pose", action="view"),
    bad("/avatars/{avatar}/usage", "action", appId="pose", appName="Poses"),
    bad(PRESETS, "presetId"),
    bad(PRESETS, "customName", presetId="{preset}", customName="n" * 101),
    Refusal("GET", "/presets?category=unknown", 400, "VALIDATION_ERROR", "category"),
    Refusal("GET", "/avatars?limit=0", 400, "VALIDATION_ERROR", "limit"),
    Refusal("GET", "/avatars?offset=-1", 400, "VALIDATION_ERROR", "offset"),
    Refusal("POST", UPLOADS, 400, "VALIDATION_ERROR", "image", WITHOUT_IMAGE),
    missing("GET", "/projects/{unknown}", "Project"),
    missing("PUT", "/projects/{unknown}", "Project", json={"name": "n"}),
    missing("DELETE", "/projects/{unknown}", "Project"),
    missing("POST", "/projects/{unknown}/avatars/generate", "Project", json=WISH),
    missing("POST", "/projects/{unknown}/avatars/upload", "Project", **UPLOAD),
    missing("POST", "/projects/{unknown}/avatars/from-preset", "Project", json={"presetId": "{preset}"}),
    missing("POST", PRESETS, "Preset", json={"presetId": UNKNOWN}),
    missing("GET", "/generations/{unknown}", "Generation"),
    missing("GET", "/avatars/{unknown}", "Avatar"),
    missing("PUT", "/avatars/{unknown}", "Avatar", json={"name": "n"}),
    missing("DELETE", "/avatars/{unknown}", "Avatar"),
    missing("POST", "/avatars/{unknown}/usage", "Avatar", json=USAGE),
    missing("GET", "/avatars/{unknown}/usage-history", "Avatar"),
    missing("GET", "/presets/{unknown}", "Preset"),
    missing("GET", "/avatars/malformed", "Avatar"),
    Refusal("GET", "/nothing", 404, "ENDPOINT_NOT_FOUND"),
    Refusal("PATCH", "/projects", 405, "METHOD_NOT_ALLOWED"),
)


@both_prefixes
class TestErrors:
    def test_each_is_refused_in_the_contracts_words(self, world, subtests):
        """A request that breaks a rule gets the status, the code and the field, and spends nothing."""
        before = world.api.account(world.account)
        for refusal in REFUSALS:
            with subtests.test(method=refusal.method, path=refusal.path, field=refusal.field):
                answer = world.call(refusal.method, refusal.path, **filled(refusal.request, world.ids))
                error = world.api.refused(answer, refusal.status, refusal.code, refusal.field)
                assert answer.json()["message"] == error["message"]
                if refusal.message is not None:
                    assert error["message"] == refusal.message
                assert world.api.account(world.account) == before

    def test_each_route_wants_a_token(self, world, subtests):
        """Without a token every route but the public ones answers 401."""
        public = ("/presets", "/health", "health", "api/health", "api/models/popular")
        for row in ROWS:
            with subtests.test(method=row.method, path=row.path):
                request = filled(row.request, world.ids) | {"headers": {"Authorization": ""}}
                answer = world.call(row.method, row.path, **request)
                if row.path.startswith(public):
                    assert answer.status_code == 200
                else:
                    world.api.refused(answer, 401, "AUTHENTICATION_ERROR")
                    assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        ("path", "request_", "price"),
        [
            (GENERATE, {"json": WISH}, 12),
            (PRESETS, {"json": {"presetId": "{preset}"}}, 15),
            ("/projects/{project}/avatars/upload", UPLOAD, 2),
        ],
    )
    def test_too_few_credits(self, world, make_account, path, request_, price):
        """What cannot be paid is refused with the price and the balance, and nothing is queued."""
        poor = make_account(Tier.PRO, credits=price - 1)
        world.account = poor
        world.ids["project"] = poor.project_id
        answer = world.call("POST", path, **filled(request_, world.ids))
        error = world.api.refused(answer, 402, "INSUFFICIENT_CREDITS")
        assert error["message"] == f"Insufficient credits. Required: {price}, Available: {price - 1}"
        assert world.api.account(poor) == (price - 1, 0)

    def test_an_entry_beyond_the_tier(self, world, make_account):
        """An entry that the tier does not reach is refused by its field."""
        free = make_account(Tier.FREE)
        world.account = free
        world.ids["project"] = free.project_id
        answer = world.call("POST", GENERATE, json=WISH | {"modelKey": "avatar-creator:flux-dev-realism"})
        world.api.refused(answer, 403, "ACCESS_DENIED", "modelKey")


def test_how_many_rows_there_are(record_property):
    """The size of the table is printed, so that a row that was lost is noticed."""
    rows = len(PREFIXES) * (2 * len(ROWS) + len(REFUSALS) + 4)
    record_property("figure", f"contract: {rows} rows under {len(PREFIXES)} prefixes")
    assert rows >= 270
