"""Schemathesis against the real API process: sequences of requests that follow its OpenAPI document."""

import itertools
import time
from collections import Counter

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup

from benchmark.plan import Weights
from benchmark.running import running_api
from server.http.alias import PREFIX
from tests.server.signing import SESSION_SECRET, bearer, signed
from tests.server.uploads import files
from tests.server.uploads.mutations import DEEP

pytestmark = [pytest.mark.e2e, pytest.mark.deep]

REQUESTS = 5000 if DEEP else 200
SEED = 13
SETTINGS = hypothesis.settings(
    database=None,
    deadline=None,
    max_examples=20 if DEEP else 4,
    phases=[Phase.generate],
    stateful_step_count=50,  # a short sequence seldom comes to what follows an upload
    suppress_health_check=list(HealthCheck),
)
ISSUED_CHARS = 50  # fewer than the server's quotes and cursors have, and more than a generated text

CHECKS = {
    # Some rules are in no schema: an entry's largest size, what a cursor or a quote is, which image decodes.
    "positive_data_acceptance": {"enabled": False},
}
"""The checks that are left out. All others are made of every answer: see Schemathesis' list of checks."""

PROJECT, AVATARS = "/projects/{project_id}", "/projects/{project_id}/avatars"
GENERATION, AVATAR = "/generations/{generation_id}", "/avatars/{avatar_id}"
REACHED = {
    ("GET", "/projects"),
    ("POST", "/projects"),
    ("GET", PROJECT),
    ("PUT", PROJECT),
    ("DELETE", PROJECT),
    ("POST", f"{AVATARS}/generate"),
    ("POST", f"{AVATARS}/upload"),
    ("POST", f"{AVATARS}/from-preset"),
    ("GET", "/generations"),
    ("GET", GENERATION),
    ("POST", f"{GENERATION}/cancel"),
    ("DELETE", GENERATION),
    ("GET", "/avatars"),
    ("GET", AVATAR),
    ("PUT", AVATAR),
    ("DELETE", AVATAR),
    ("POST", f"{AVATAR}/usage"),
    ("GET", f"{AVATAR}/usage-history"),
    ("GET", "/presets"),
    ("GET", "/presets/{preset_id}"),
    ("GET", "/stats"),
}
"""What must have been successful: otherwise a run has examined less than it says."""


def chosen(path):
    """Whether a path is called: not the stream, which would not end, nor what is 503 without a worker."""
    return not path.endswith("/events") and path != "/readyz"


def linked(document):
    """Return a document with the links that Schemathesis cannot infer from names."""
    generate = f"{PREFIX}{AVATARS}/generate"
    generation = {"generation_id": "$response.body#/generation/id"}
    for method, path in (("get", GENERATION), ("post", f"{GENERATION}/cancel"), ("delete", GENERATION)):
        add_link(document, "post", generate, method, PREFIX + path, generation)
    project, quote = {"project_id": "$request.path.project_id"}, {"quoteId": "$response.body#/quoteId"}
    add_link(document, "post", generate, "post", generate, project, quote)
    pages, next_page = f"{PREFIX}/generations", {"cursor": "$response.body#/meta/nextCursor"}
    add_link(document, "get", pages, "get", pages, next_page)
    for path, item in document["paths"].items():
        if "get" in item and "{" not in path and chosen(path):
            add_link(document, "post", f"{PREFIX}/projects", "get", path, {})
    return document


def add_link(document, source_method, source, method, target, parameters, body=None):
    """Let an operation follow the success of another."""
    links = document["paths"][source][source_method]["responses"]["200"].setdefault("links", {})
    link = {"operationId": document["paths"][target][method]["operationId"], "parameters": parameters}
    links[f"{method}{len(links)}"] = link | ({"requestBody": body} if body else {})


class Run:
    """Sends sequences of requests, each as a new user, and keeps what came of them.

    Hypothesis generates by what earlier answers were, so that every sequence must meet the same state.
    """

    def __init__(self, url):
        self.answers, self.problems, self.users = Counter(), {}, itertools.count()
        self.client = httpx.Client(base_url=url, trust_env=False)
        document = self.client.get("/schema/openapi.json").json()
        presets = self.client.get(f"{PREFIX}/presets").json()["presets"]
        self.known = {
            "image": list(files.valid().values()),
            "presetId": [preset["id"] for preset in presets],
            "name": [preset["imageUrl"].rpartition("/")[2] for preset in presets],
            "modelKey": ["avatar-creator:flux-dev-base", "flux-dev-base", "flux-dev-hd-realism"],
        }
        config = SchemathesisConfig.from_dict(
            {"base-url": url, "checks": CHECKS, "generation": {"with-security-parameters": False}}
        )
        schema = schemathesis.openapi.from_dict(linked(document), config=config)
        self.schema = schema.include(func=lambda context: chosen(context.operation.path))

    @property
    def sent(self):
        """How many requests were answered, without those that a check sends."""
        return self.answers.total()

    @property
    def reached(self):
        """The operations that were successful, without their prefix."""
        return {
            (method, path.removeprefix(PREFIX))
            for method, path, status in self.answers
            if 200 <= status < 300
        }

    def send(self):
        """Send what a run must send, the same for the same document, and go on until all is reached."""
        machine = self.machine()
        for seed in itertools.count(SEED):
            if self.sent >= 5 * REQUESTS or (self.sent >= REQUESTS and self.reached >= REACHED):
                return
            hypothesis.seed(seed)(machine).run(settings=SETTINGS)

    def machine(self):
        """Return the state machine, which records here."""
        run = self

        class Recording(self.schema.as_state_machine()):
            def setup(self):
                self.headers, self.calls = run.new_user(), 0

            def before_call(self, case):
                self.calls += 1
                run.complete(case, self.calls)

            def get_call_kwargs(self, case):
                return {"headers": self.headers}

            def after_call(self, response, case):
                super().after_call(response, case)
                run.answers[case.method, case.operation.path, response.status_code] += 1

            def validate_response(self, response, case, additional_checks=None, **kwargs):
                # All problems are told at the end: a sequence that is sent again meets another state.
                try:
                    case.validate_response(
                        response, headers=self.headers, transport_kwargs=kwargs, recorder=self.recorder
                    )
                except FailureGroup as failures:
                    for failure in failures.exceptions:
                        run.problems.setdefault((failure.title, case.operation.label), str(failures))

        return Recording

    def new_user(self):
        """Return the headers of a new user with a project, an avatar and a generation."""
        # By a session token: a key would be found in the list of keys and be revoked.
        user_id = f"user-{next(self.users)}"
        headers = bearer(signed(user_id, email=f"{user_id}@example.com"))

        def post(path, **body):
            return self.client.post(PREFIX + path, headers=headers, **body).raise_for_status().json()

        project_id = post("/projects", json={"name": "First"})["project"]["id"]
        avatars = AVATARS.format(project_id=project_id)
        post(f"{avatars}/upload", files={"image": self.known["image"][0]}, data={"name": "Ada"})
        post(f"{avatars}/from-preset", json={"presetId": self.known["presetId"][0]})
        return headers

    def complete(self, case, turn):
        """Put into most requests what no schema says: an image that can be decoded, a preset that exists."""
        if case.query.get("wait") in range(1, 61):
            case.query["wait"] = 0  # nothing is drawn here, so that every wait would last to its end
        if not case.meta.generation.mode.is_positive or turn % 4 == 0:
            return
        body = case.body if isinstance(case.body, dict) else {}
        for part, names in ((case.path_parameters, {"name"}), (body, self.known.keys() - {"name"})):
            for name in names & part.keys():
                part[name] = self.known[name][turn % len(self.known[name])]
        if isinstance(body.get("personaPersonality"), str):
            body["personaPersonality"] = '["calm"]'
        for part, name in ((body, "quoteId"), (case.query, "cursor")):
            if len(part.get(name) or "") < ISSUED_CHARS:
                part.pop(name, None)


def test_sequences_of_requests(database_url, redis_url, tmp_path):
    """Whatever is sent in whatever order, each answer is as the document declares it, and none is a 5xx."""
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "AUTH_JWT_SECRET": SESSION_SECRET,
        "WELCOME_CREDITS": "1000000",
    }
    began = time.monotonic()
    with running_api(tmp_path / "data", Weights("miniature"), **settings) as (_, port):
        run = Run(f"http://127.0.0.1:{port}")
        run.send()
        run.client.close()
    statuses = Counter()
    for (_, _, status), count in run.answers.items():
        statuses[status] += count
    print(f"\n{run.sent} requests in {time.monotonic() - began:.0f} s: {dict(sorted(statuses.items()))}")  # noqa: T201  # what `make test-deep` reports
    assert not run.problems, "\n\n".join(run.problems.values())
    assert run.sent >= REQUESTS
    assert run.reached >= REACHED, REACHED - run.reached
