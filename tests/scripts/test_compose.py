"""Every service of docker-compose.gpu.yml is closed as far as it can be: what it may use, reach and know."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from server.settings.groups import groups, variables

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docker-compose.gpu.yml"

NETWORKS = {
    "postgres": {"data"},
    "redis": {"data"},
    "roles": {"data"},
    "migrate": {"data"},
    "seed": {"data"},
    "api": {"data", "front"},
    "worker": {"data"},
    "hosted": {"data", "outside"},
    "weights": {"outside"},
    "bench": set(),
}
SECRETS = {
    "postgres": {"postgres_password"},
    "redis": {"redis_password"},
    "roles": {"postgres_password", "database_owner_password", "database_password"},
    "migrate": {"database_owner_password"},
    "seed": {"database_password"},
    "api": {"database_password", "redis_password"},
    "worker": {"database_password", "redis_password"},
    "hosted": {"database_password", "redis_password", "huggingface_api_key"},
    "weights": {"huggingface_api_key"},
    "bench": set(),
}
"""What each service reaches and knows. A new service is added here, or these tests fail."""

FROM_ENV = {"AUTH_JWT_SECRET": {"api"}, "JWT_SECRET": {"api"}, "OUTBOUND_PROXY_URL": {"hosted", "weights"}}
"""Secrets that may come from .env, and the services that may get them."""

READING_ENV = {name for name in NETWORKS if name not in {"postgres", "redis", "bench"}}


def resolved(folder, **environ):
    """Return the compose file as Compose reads it with these variables."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    program = Path(sys.executable).with_name("docker-compose")
    command = [program, "--project-directory", folder, "--file", FILE, "--profile", "*", "config"]
    shown = subprocess.run(
        [*command, "--format", "json"], env=inherited | environ, check=True, capture_output=True, text=True
    )
    return json.loads(shown.stdout)


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    """The compose file without an .env."""
    return resolved(tmp_path_factory.mktemp("compose"))


@pytest.fixture(params=sorted(NETWORKS))
def service(request, compose):
    """Each service."""
    return compose["services"][request.param]


def test_all_services_are_here(compose):
    """No service is without a line in the tables above."""
    assert set(compose["services"]) == set(NETWORKS) == set(SECRETS)


class TestEveryService:
    def test_has_no_privileges(self, service):
        """It has no capability, gains none, and shares no namespace with the machine."""
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        open_doors = {"cap_add", "privileged", "pid", "ipc", "userns_mode", "devices"}
        assert not open_doors & service.keys()
        assert service.get("network_mode") in (None, "none")

    def test_writes_only_where_it_is_meant_to(self, service):
        """Its root is read-only; what is in memory has a bound; from the machine it gets no folder."""
        assert service["read_only"] is True
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])  # noqa: S108  # in the container
        assert all(re.search(r":size=\d+m,mode=1777$", mount) for mount in service["tmpfs"])
        assert {mount["type"] for mount in service.get("volumes", [])} <= {"volume"}

    def test_has_bounds(self, service):
        """Memory, processes and logs are bounded, and an init process reaps what is left of children."""
        assert int(service["mem_limit"]) > 0
        assert 0 < service["pids_limit"] <= 4096
        assert service["logging"]["driver"] == "json-file"
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}
        assert service["init"] is True

    def test_is_not_root(self, service):
        """Our images name their user, 10001; what is not ours is given one."""
        assert "build" in service or service["user"] in {"postgres", "redis"}
        assert "USER 0" not in (ROOT / "Dockerfile.cuda").read_text("utf-8")


class TestWhatEachReachesAndKnows:
    @pytest.mark.parametrize("name", sorted(NETWORKS))
    def test_networks_and_secrets(self, compose, name):
        """It has the networks and the secrets that it needs, and no other."""
        service = compose["services"][name]
        assert set(service.get("networks", {})) == NETWORKS[name]
        assert {secret["source"] for secret in service.get("secrets", [])} == SECRETS[name]

    def test_only_the_api_is_published(self, compose):
        """One port of one service is published, at PUBLISH; the database and Redis have no way out."""
        published = {name: each["ports"] for name, each in compose["services"].items() if "ports" in each}
        assert published.keys() == {"api"}
        assert [port["target"] for port in published["api"]] == [5000]
        assert compose["networks"]["data"]["internal"] is True
        masquerade = "com.docker.network.bridge.enable_ip_masquerade"
        assert compose["networks"]["front"]["driver_opts"] == {masquerade: "false"}

    @pytest.mark.parametrize("name", sorted(READING_ENV))
    def test_a_line_in_env_cannot_break_it(self, compose, name):
        """What .env could set against the compose file is set here: secrets, their files, addresses."""
        service = compose["services"][name]
        environment = service["environment"]
        fixed = {"HOST": "0.0.0.0", "PORT": "5000", "DATA_DIR": "/data"}  # noqa: S104  # inside a container
        assert {variable: environment[variable] for variable in fixed} == fixed
        for group in groups():
            for variable in map(group.env_name, group.secrets):
                value, file = environment.get(variable), environment.get(f"{variable}_FILE")
                if value is None:
                    assert name in FROM_ENV[variable]
                    continue
                assert file is not None, f"{variable}_FILE in .env would be read"
                assert not (value and file)
                if file:
                    assert file.removeprefix("/run/secrets/") in SECRETS[name]

    @pytest.mark.parametrize("variable", sorted(FROM_ENV))
    def test_a_secret_of_env_reaches_whom_it_is_for(self, tmp_path, variable):
        """A secret in .env reaches only the services that use it."""
        (tmp_path / ".env").write_text("".join(f"{name}=from-env\n" for name in variables()))
        services = resolved(tmp_path)["services"]
        knowing = {name for name, each in services.items() if each["environment"].get(variable) == "from-env"}
        assert knowing == FROM_ENV[variable]

    def test_a_key_in_env_reaches_nobody(self, tmp_path):
        """The key, the passwords and the addresses come from files and from here, whatever .env says."""
        names = ("HUGGINGFACE_API_KEY", "DATABASE_URL", "DATABASE_PASSWORD", "REDIS_URL", "REDIS_PASSWORD")
        (tmp_path / ".env").write_text("".join(f"{name}=from-env\n{name}_FILE=from-env\n" for name in names))
        assert "from-env" not in json.dumps(resolved(tmp_path)["services"])


class TestVariables:
    def test_each_is_explained(self):
        """Each variable of the compose file that is no setting has a row with its default in the guide."""
        named = re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", FILE.read_text("utf-8"))
        guide = (ROOT / "docs" / "operations.md").read_text("utf-8")
        rows = dict(re.findall(r"^\| ([A-Z_]+)=(\S*) \|", guide, re.MULTILINE))
        own = {name: default for name, default in named if name not in variables()}
        assert {name: rows.get(name) for name in own} == own

    def test_each_has_an_effect(self, compose, tmp_path):
        """A limit and an image that an operator sets are what Compose uses."""
        changes = {
            "API_MEMORY": "5g",
            "API_PIDS": "77",
            "LOG_MAX_SIZE": "1m",
            "BASE_IMAGE": "me@sha256:1",
        }
        api = resolved(tmp_path, **changes)["services"]["api"]
        assert (int(api["mem_limit"]), api["pids_limit"]) == (5 * 2**30, 77)
        assert api["logging"]["options"]["max-size"] == "1m"
        assert api["build"]["args"] == {"BASE_IMAGE": "me@sha256:1"}

    def test_the_base_image_is_the_dockerfile_s(self, compose):
        """Compose builds on the image that the Dockerfile names."""
        default = compose["services"]["api"]["build"]["args"]["BASE_IMAGE"]
        assert f"ARG BASE_IMAGE={default}\n" in (ROOT / "Dockerfile.cuda").read_text("utf-8")


class TestCards:
    @pytest.mark.parametrize("ids", ["0", "0,1"])
    def test_a_worker_for_each(self, tmp_path, ids):
        """GPU_IDS gives the worker its cards, and says how many there are, without an edit of the file."""
        worker = resolved(tmp_path, GPU_IDS=ids)["services"]["worker"]
        [devices] = worker["deploy"]["resources"]["reservations"]["devices"]
        assert devices["device_ids"] == [ids]  # Docker joins the list with commas for the card's driver
        assert worker["environment"]["GPU_IDS"] == ids
