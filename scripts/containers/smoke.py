"""Tests the whole stack as an operator starts it, from outside: over HTTP and through Compose.

Run it in its own network: `unshare --net python -m scripts.containers.smoke FOLDER COMPOSE`.
"""

import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import httpx
from PIL import Image

from scripts.containers.engine import ROOT, Engine
from server.supervisor.shutdown import in_thread

GENERATIONS: Final = 8
PRICE: Final = 8
PROMPT: Final = "portrait of a woman with long red hair and glasses, blue background"
_WAIT_S: Final = 180.0
_URL: Final = "http://127.0.0.1:5000"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Stack:
    """The services of the compose file under podman."""

    engine: Engine
    compose: Path

    def call(self, *command: str) -> str:
        """Call Compose."""
        return self.engine.run(
            str(self.compose),
            *("--project-directory", str(self.engine.folder / "project")),
            *("--file", str(ROOT / "docker-compose.gpu.yml")),
            *("--file", str(Path(__file__).parent / "compose.override.yml")),
            *command,
            MODEL_PROFILE="miniature",
            MODELS_DIR="/data/models",
        )

    def containers(self) -> list[str]:
        """Return the running containers' names."""
        return self.engine.run("podman", "ps", "--format", "{{.Names}}").split()

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a service's container."""
        return self.call("exec", "--no-TTY", service, *command)


def run_smoke_test(engine: Engine, compose: Path) -> None:
    """Start the stack, check it, and take it down.

    Raises:
        click.ClickException: a check failed.

    """
    engine.run("ip", "link", "set", "lo", "up")
    folder = engine.folder / "project"
    (folder / "secrets").mkdir(parents=True)
    for name in ("postgres_password", "redis_password"):
        (folder / "secrets" / name).write_text(secrets.token_hex(24) + "\n")
    (folder / "secrets" / "huggingface_api_key").write_text("\n")
    stack = Stack(engine, compose)
    with serving(engine), health_checked(stack):
        try:
            click.echo("Starting the stack ...")
            stack.call("up", "--detach", "--quiet-pull")
            check(stack)
        except Exception:
            click.echo(stack.call("logs", "--no-color", "--tail", "40"), err=True)
            raise
        finally:
            stack.call("--profile", "*", "down", "--volumes", "--timeout", "20")
    if left := stack.containers():
        raise click.ClickException(f"Still running: {left}")
    click.echo("The stack is stopped, and no container is left.")


def check(stack: Stack) -> None:
    """Draw an avatar, then several while Redis and the worker restart.

    Check also the balance, that torch is not loaded where it is not needed, and the containers' users.
    """
    until("the API is ready", lambda: httpx.get(f"{_URL}/readyz", trust_env=False).json()["status"] == "ok")
    created = json.loads(
        stack.inside("api", "avatar-creator", "users", "create", "--credits", "500", "--json")
    )
    headers = {"Authorization": f"Bearer {created['apiKey']}"}
    with httpx.Client(base_url=_URL, headers=headers, trust_env=False, timeout=30) as client:
        api = "/api/avatar-creator"
        project = client.post(f"{api}/projects", json={"name": "Proof"}).json()["project"]["id"]

        def submit() -> str:
            body = {"name": "Ada", "prompt": PROMPT}
            answer = client.post(f"{api}/projects/{project}/avatars/generate", json=body)
            answer.raise_for_status()
            return str(answer.json()["generation"]["id"])

        def ended(generation: str) -> dict[str, Any]:
            row: dict[str, Any] = client.get(f"{api}/generations/{generation}").json()["generation"]
            return row if row["status"] in {"completed", "failed"} else {}

        alone = submit()
        first = until("an avatar is drawn", lambda: ended(alone))
        avatar = client.get(f"{api}/avatars/{first['avatarId']}").json()["avatar"]
        picture = Image.open(BytesIO(client.get(avatar["baseImageUrl"]).content))
        expect((picture.format, picture.size), ("PNG", (512, 512)))
        click.echo(f"An avatar of {picture.size[0]} px is drawn and fetched over HTTP.")

        ids = [submit() for _ in range(GENERATIONS - 5)]  # the limit is five a minute, and one is used
        until("the worker draws", lambda: any(ended(generation) for generation in ids))
        stack.call("restart", "--timeout", "30", "redis", "worker")
        ids.append(submit())
        results = [until("each generation ends", lambda each=each: ended(each)) for each in ids]
        expect([row["status"] for row in results], ["completed"] * len(ids))
        balance = client.get("/api/credits/balance").json()["data"]["balance"]
        expect(balance, 500 - PRICE * (len(ids) + 1))
        click.echo(
            f"Redis and the worker restarted during {len(ids)} generations: none lost, each charged once."
        )
    maps = "any('libtorch' in m.read_text() for m in pathlib.Path('/proc').glob('[0-9]*/maps'))"
    code = f"import pathlib; print({maps})"
    expect(stack.inside("api", "python3", "-c", code).strip(), "False")
    code = "import inference.hosted.client, sys; print('torch' in sys.modules)"
    expect(
        stack.call("run", "--rm", "--no-deps", "--entrypoint=python3", "hosted", "-c", code).strip(), "False"
    )
    expect(stack.inside("worker", "id", "-u").strip(), "10001")
    expect(stack.inside("api", "id", "-u").strip(), "10001")


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


def expect(actual: object, expected: object) -> None:
    """Raise unless both values are equal."""
    if actual != expected:
        raise click.ClickException(f"Expected {expected}, got {actual}")


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


if __name__ == "__main__":
    try:
        run_smoke_test(Engine(Path(sys.argv[1])), Path(sys.argv[2]))
    except click.ClickException as error:
        error.show()
        sys.exit(1)
