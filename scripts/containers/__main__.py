"""Lints, builds, starts and breaks the containers: python -m scripts.containers, as root.

The images are built with buildah on a small Debian. Compose starts the stack of docker-compose.gpu.yml on
podman without its GPU. It draws an avatar over HTTP, loses Redis and its worker meanwhile and is taken down.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from scripts.containers.engine import ROOT, Engine

PROGRAMS: Final = ("buildah", "podman", "runc", "catatonit", "mmdebstrap", "unshare", "ip")
PACKAGES: Final = "buildah podman runc netavark aardvark-dns catatonit mmdebstrap"
COMPOSE_FILE: Final = ROOT / "docker-compose.gpu.yml"
# Whatever ends it, no container outlives it and nothing stays mounted where its folder is then removed.
NAMESPACES: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
MAX_API_MB: Final = 250.0
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
NEEDED_BYTES: Final = 12 * 2**30
INSIDE: Final = "AVATAR_CONTAINERS_FOLDER"
"""Names the folder where this program runs once more, with mounts and processes of its own."""

BIN: Final = Path(sys.executable).parent
_NAMED: Final = 8


@click.command()
@click.option("--lint-only", is_flag=True, help="Build and start nothing.")
def main(*, lint_only: bool) -> None:
    """Prove the containers, or say why that cannot be done here."""
    if folder := os.environ.get(INSIDE):
        build_and_prove(Engine(Path(folder)))
        return
    lint()
    if cause := "--lint-only" if lint_only else what_is_missing():
        skip(cause)
        return
    with tempfile.TemporaryDirectory(prefix="avatar-containers-", dir=in_memory()) as folder:
        command = (*NAMESPACES, sys.executable, "-m", "scripts.containers")
        ended = subprocess.run(command, cwd=ROOT, env=os.environ | {INSIDE: folder}, check=False)  # noqa: S603
    sys.exit(ended.returncode)


def build_and_prove(engine: Engine) -> None:
    """Build the images and start them, in this process's own namespaces."""
    engine.configure()
    try:
        try_out(engine)
    except subprocess.CalledProcessError as error:
        skip(f"a bare Debian does not run in a container here: {told(error)}")
        return
    try:
        build(engine)
        proof = ("unshare", "--net", sys.executable, "-m", "scripts.containers.proof")
        engine.run(*proof, str(engine.folder), str(BIN / "docker-compose"), quiet=False)
    except subprocess.CalledProcessError as error:
        raise click.ClickException(told(error)) from error


def skip(cause: str) -> None:
    """Say aloud that the rest is left out, and why."""
    click.echo(f"SKIPPED: the containers are linted, and neither built nor started: {cause}")


def told(error: subprocess.CalledProcessError) -> str:
    """Return which command failed, and what it said."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def lint() -> None:
    """Check the Dockerfile and the compose file by their own tools."""
    for command in (
        (str(BIN / "hadolint"), "--failure-threshold", "info", "Dockerfile.cuda"),
        (str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE)),
        (str(BIN / "docker-compose"), "--file", str(COMPOSE_FILE), "--profile", "*", "config", "--quiet"),
    ):
        if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - fixed words
            raise click.ClickException(f"{Path(command[0]).name} found what is said above")
    click.echo("Dockerfile.cuda and docker-compose.gpu.yml are linted.")


def what_is_missing() -> str | None:
    """Say what keeps the containers from being built and started here."""
    if os.geteuid() != 0:
        return "building and starting them without a Docker engine takes root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}; on Debian, apt-get install {PACKAGES}"
    tried = subprocess.run((*NAMESPACES, "true"), check=False, capture_output=True, text=True)  # noqa: S603
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


def in_memory() -> Path | None:
    """Return a folder in memory, if there is enough: on a disk writing torch is the slowest part."""
    free = shutil.disk_usage(MEMORY).free if MEMORY.is_dir() else 0
    return MEMORY if free >= NEEDED_BYTES else None


def try_out(engine: Engine) -> None:
    """Run a small Debian, of which nothing is this project's: where it fails, the machine is the reason."""
    click.echo("A small Debian with Python ...")
    engine.import_base("localhost/base")
    engine.run("podman", "run", "--rm", "--network=none", "localhost/base", "true")


def build(engine: Engine) -> None:
    """Build the images, and say what is in them."""
    base = {"BASE_IMAGE": "localhost/base"}
    click.echo("PostgreSQL and Redis ...")
    engine.build(
        "localhost/services", Path(__file__).parent / "services.Dockerfile", Path(__file__).parent, **base
    )
    for target in ("api", "hosted", "worker"):
        click.echo(f"The image {target} ...")
        # The versions of the CPU build: CUDA's are several GB, and no GPU is here to use them.
        engine.build(
            f"localhost/{target}",
            ROOT / "Dockerfile.cuda",
            ROOT,
            target,
            **base,
            LOCK="requirements/cpu.lock",
        )
    for target in ("api", "hosted", "worker"):
        size_mb = engine.size_mb(f"localhost/{target}")
        layers = " + ".join(f"{mb:.1f}" for mb in engine.layers_mb(f"localhost/{target}"))
        packages = engine.packages_mb(f"localhost/{target}")
        largest = ", ".join(f"{name} {mb:.0f}" for mb, name in packages[:_NAMED])
        click.echo(f"The image {target} has {size_mb:.0f} MB: layers of {layers}; packages: {largest}.")
        if target == "api" and size_mb > MAX_API_MB:
            raise click.ClickException(
                f"The image of the API has {size_mb:.0f} MB; {MAX_API_MB:.0f} are allowed"
            )


if __name__ == "__main__":
    main()
