"""The services of the compose file under podman, called as an operator calls them."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import httpx
from PIL import Image

from scripts.containers.engine import ROOT, Engine
from server.supervisor.shutdown import in_thread

URL: Final = "http://127.0.0.1:5000"
OVERRIDE: Final = Path(__file__).parent / "compose.override.yml"
PROMPT: Final = "portrait of a woman with long red hair and glasses, blue background"
ENDED: Final = ("completed", "failed")
_WAIT_S: Final = 180.0

Value = TypeVar("Value")


@dataclass(frozen=True)
class Stack:
    """A compose file and its override, and the project's folder with secrets and .env."""

    engine: Engine
    compose: Path
    file: Path = ROOT / "docker-compose.gpu.yml"
    override: Path = OVERRIDE

    @property
    def folder(self) -> Path:
        """The folder beside which Compose finds .env, the secrets and our code."""
        return self.engine.folder / "project"

    def call(self, *command: str) -> str:
        """Call Compose."""
        return self.engine.run(
            str(self.compose),
            *("--project-directory", str(self.folder)),
            *("--file", str(self.file)),
            *("--file", str(self.override)),
            *command,
            MODEL_PROFILE="miniature",
            MODELS_DIR="/data/models",
        )

    def containers(self) -> list[str]:
        """Return the running containers' names."""
        return self.engine.run("podman", "ps", "--format", "{{.Names}}").split()

    def inspected(self, service: str) -> dict[str, Any]:
        """Return what podman knows of the running container of a service."""
        name = self.call("ps", "--quiet", service).strip()
        found: list[dict[str, Any]] = json.loads(self.engine.run("podman", "inspect", name))
        return found[0]

    def resolved(self) -> dict[str, Any]:
        """Return the compose file and its override as Compose reads them."""
        resolved: dict[str, Any] = json.loads(self.call("--profile", "*", "config", "--format", "json"))
        return resolved

    def address(self, service: str, network: str) -> str:
        """Return the address of a running service in a network."""
        networks = self.inspected(service)["NetworkSettings"]["Networks"]
        return str(networks[f"avatar-creator_{network}"]["IPAddress"])

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a service's container."""
        return self.call("exec", "--no-TTY", service, *command)

    def once(self, service: str, code: str, *arguments: str) -> str:
        """Run Python in a new container of a service."""
        command = ("run", "--rm", "--no-deps", "--entrypoint=python3", service, "-c", code, *arguments)
        return self.call(*command).strip()


@dataclass
class User:
    """A user with credits and a project, who draws over HTTP."""

    api_key: str
    credits_left: int
    ordered: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.api_key}"}
        self.client = httpx.Client(
            base_url=f"{URL}/api/avatar-creator", headers=headers, trust_env=False, timeout=30
        )
        self.project: str = self.client.post("/projects", json={"name": "Proof"}).json()["project"]["id"]

    def order(self) -> str:
        """Order an avatar and return its generation's id."""
        body = {"name": "Ada", "prompt": PROMPT}
        answer = self.client.post(f"/projects/{self.project}/avatars/generate", json=body).raise_for_status()
        self.ordered.append(str(answer.json()["generation"]["id"]))
        self.credits_left -= int(answer.json()["creditUsed"])
        return self.ordered[-1]

    def generation(self, generation: str) -> dict[str, Any]:
        """Read a generation."""
        found: dict[str, Any] = self.client.get(f"/generations/{generation}").json()["generation"]
        return found

    def ended(self, generation: str) -> dict[str, Any]:
        """Read a generation; return nothing before its end."""
        row = self.generation(generation)
        return row if row["status"] in ENDED else {}

    def picture(self, generation: dict[str, Any]) -> Image.Image:
        """Fetch the image of a completed generation, as a browser does."""
        avatar = self.client.get(f"/avatars/{generation['avatarId']}").json()["avatar"]
        return Image.open(BytesIO(httpx.get(URL + avatar["baseImageUrl"], trust_env=False).content))

    def check_all(self) -> None:
        """Wait until all orders are completed, and check that each was charged once."""
        rows = [until("each generation ends", lambda each=each: self.ended(each)) for each in self.ordered]
        expect([row["status"] for row in rows], ["completed"] * len(self.ordered))
        balance = self.client.get(f"{URL}/api/credits/balance").json()["data"]["balance"]
        expect(balance, self.credits_left)


def new_user(stack: Stack, granted: int = 500) -> User:
    """Create a user as an operator does."""
    command = ("avatar-creator", "users", "create", "--credits", str(granted), "--json")
    return User(json.loads(stack.inside("api", *command))["apiKey"], granted)


def is_ready() -> bool:
    """Return whether the API is ready, and all that it needs is well."""
    return bool(httpx.get(f"{URL}/readyz", trust_env=False).json()["status"] == "ok")


def until(description: str, poll: Callable[[], Value]) -> Value:
    """Poll until the value is true, and return it."""
    deadline, last_error = time.monotonic() + _WAIT_S, None
    while time.monotonic() < deadline:
        try:
            if value := poll():
                return value
        except (httpx.HTTPError, KeyError, ValueError) as error:
            last_error = error
        time.sleep(0.5)
    raise click.ClickException(f"Not within {_WAIT_S:.0f} s: {description} ({last_error})")


def expect(actual: object, expected: object, what: str = "") -> None:
    """Raise unless both values are equal."""
    if actual != expected:
        raise click.ClickException(f"{what or 'A check'}: expected {expected}, got {actual}")


@contextmanager
def serving(engine: Engine) -> Iterator[None]:
    """Let podman serve Docker's API while the body runs."""
    command = ("podman", "system", "service", "--time=0", f"unix://{engine.socket}")
    with subprocess.Popen(command, env=engine.environ, stderr=subprocess.DEVNULL) as service:  # noqa: S603
        try:
            until("podman's socket is there", engine.socket.exists)
            yield
        finally:
            service.terminate()


@contextmanager
def health_checked(stack: Stack) -> Iterator[None]:
    """Run the containers' health checks in a thread: podman leaves them to systemd, which is missing here."""

    def check_all(stopped: threading.Event) -> None:
        while not stopped.wait(1):
            for name in stack.containers():
                command = ("podman", "healthcheck", "run", name)
                subprocess.run(command, env=stack.engine.environ, check=False, capture_output=True)  # noqa: S603

    with in_thread("health checks", check_all):
        yield
