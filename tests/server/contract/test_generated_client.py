"""A client that is generated from the OpenAPI document works without a change."""

import importlib
import subprocess
import sys

import pytest

from catalog.tiers import Tier
from scripts.openapi import FILE
from tests.databases import ONE_DATABASE
from tests.server.http.serving import served

pytestmark = ONE_DATABASE

CONFIG = FILE.parent / "openapi-python-client.yml"
NAME = "generated_avatar_client"


@pytest.fixture
def generated(tmp_path, monkeypatch):
    """The package that openapi-python-client generates; a warning of it fails the test."""
    subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"),
            *("--path", str(FILE), "--config", str(CONFIG)),
            *("--meta", "none", "--output-path", str(tmp_path / NAME)),
        ],
        check=True,
        timeout=120,
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(NAME)
    for name in [name for name in sys.modules if name.startswith(NAME)]:
        del sys.modules[name]


def test_a_generated_client(generated, settings, make_account):
    """It makes a project, orders an avatar, reads the generation, and gets a refusal as a value."""
    account = make_account(Tier.BASIC)
    models = importlib.import_module(f"{NAME}.models")

    def call(operation, *arguments, **options):
        module = importlib.import_module(f"{NAME}.api.{operation}")
        return module.sync(*arguments, client=client, **options)

    with (
        served(settings) as url,
        generated.AuthenticatedClient(url, account.token, httpx_args={"trust_env": False}) as client,
    ):
        project = call("projects.projects_create", body=models.CreateProject(name="Team")).project
        body = models.GenerateBody(name="Ada", prompt="portrait of a woman with red hair", seed=7)
        accepted = call("generations.generations_generate", project.id, body=body)
        assert accepted.credit_balance == 100 - accepted.credit_used
        read = call("generations.generations_read", accepted.generation.id)
        assert read.generation.status == "pending"
        refused = call("generations.generations_read", "none")
        assert (refused.error.code, refused.error.status_code) == ("RESOURCE_NOT_FOUND", 404)
