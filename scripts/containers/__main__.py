"""Lints, builds and smoke-tests the containers: python -m scripts.containers, as root.

buildah builds the images on a small Debian. Compose starts the stack of docker-compose.gpu.yml on podman
without a GPU. The test updates a running stack of the earlier release, draws avatars over HTTP, restarts
the API, Redis and the worker meanwhile, looks at what each container may do, compiles the miniature in the
worker's, and restores a backup.
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

PROGRAMS: Final = ("buildah", "podman", "runc", "catatonit", "iptables", "mmdebstrap", "unshare", "ip")
PACKAGES: Final = "buildah podman runc netavark aardvark-dns catatonit iptables mmdebstrap"
COMPOSE_FILE: Final = ROOT / "docker-compose.gpu.yml"
# However the program ends, no container survives it, and nothing stays mounted in the folder that is removed.
NAMESPACES: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
MAX_API_MB: Final = 250.0
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - tempfile makes a folder with a random name in it
NEEDED_BYTES: Final = 12 * 2**30
INSIDE: Final = "AVATAR_CONTAINERS_FOLDER"
"""Names the working folder for the second start of this program, which runs in its own namespaces."""

BIN: Final = Path(sys.executable).parent
_LISTED_PACKAGES: Final = 8


@click.command()
@click.option("--lint-only", is_flag=True, help="Build and start nothing.")
def main(*, lint_only: bool) -> None:
    """Test the containers, or print why this machine cannot."""
    if folder := os.environ.get(INSIDE):
        build_and_test(Engine(Path(folder)))
        return
    lint()
    if reason := "--lint-only" if lint_only else missing_requirement():
        skip(reason)
        return
    with tempfile.TemporaryDirectory(prefix="avatar-containers-", dir=in_memory()) as folder:
        command = (*NAMESPACES, sys.executable, "-m", "scripts.containers")
        completed = subprocess.run(command, cwd=ROOT, env=os.environ | {INSIDE: folder}, check=False)  # noqa: S603
    sys.exit(completed.returncode)


def build_and_test(engine: Engine) -> None:
    """Build the images and run the smoke test, in the namespaces of this process."""
    engine.configure()
    try:
        run_base_image(engine)
    except subprocess.CalledProcessError as error:
        skip(f"a bare Debian does not run in a container here: {failure_text(error)}")
        return
    try:
        build(engine)
        smoke = ("unshare", "--net", sys.executable, "-m", "scripts.containers.smoke")
        engine.run(*smoke, str(engine.folder), str(BIN / "docker-compose"), quiet=False)
    except subprocess.CalledProcessError as error:
        raise click.ClickException(failure_text(error)) from error


def skip(reason: str) -> None:
    """Print that building and testing are skipped, and why."""
    click.echo(f"SKIPPED: the containers are linted, and neither built nor started: {reason}")


def failure_text(error: subprocess.CalledProcessError) -> str:
    """Return the failed command and its output."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def lint() -> None:
    """Check the Dockerfile and the compose file with their linters."""
    for command in (
        (str(BIN / "hadolint"), "--failure-threshold", "info", "Dockerfile.cuda"),
        (str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE)),
        (str(BIN / "docker-compose"), "--file", str(COMPOSE_FILE), "--profile", "*", "config", "--quiet"),
    ):
        if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - fixed words
            raise click.ClickException(f"{Path(command[0]).name} reported the faults above")
    click.echo("Dockerfile.cuda and docker-compose.gpu.yml are linted.")


def missing_requirement() -> str | None:
    """Return why the containers cannot be built and started here, None if they can."""
    if os.geteuid() != 0:
        return "building and starting them without a Docker engine needs root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}; on Debian, apt-get install {PACKAGES}"
    attempt = subprocess.run((*NAMESPACES, "true"), check=False, capture_output=True, text=True)  # noqa: S603
    return f"no namespaces: {attempt.stderr.strip()}" if attempt.returncode else None


def in_memory() -> Path | None:
    """Return a folder in memory if it has enough space: on a disk, writing torch is the slowest part."""
    free = shutil.disk_usage(MEMORY).free if MEMORY.is_dir() else 0
    return MEMORY if free >= NEEDED_BYTES else None


def run_base_image(engine: Engine) -> None:
    """Run a small Debian without any of this project's files: if it fails, the machine is the reason."""
    click.echo("A small Debian with Python ...")
    engine.import_base("localhost/base")
    engine.run("podman", "run", "--rm", "--network=none", "localhost/base", "true")


def build(engine: Engine) -> None:
    """Build the images, and print their sizes and largest packages."""
    base = {"BASE_IMAGE": "localhost/base"}
    click.echo("PostgreSQL and Redis ...")
    engine.build(
        "localhost/services", Path(__file__).parent / "services.Dockerfile", Path(__file__).parent, **base
    )
    for target in ("api", "hosted", "worker"):
        click.echo(f"The image {target} ...")
        # The lock of the CPU build: the CUDA packages have several GB, and the test has no GPU.
        engine.build(
            f"localhost/{target}",
            ROOT / "Dockerfile.cuda",
            ROOT,
            target,
            **base,
            LOCK="requirements/cpu.lock",
            HASHES="--verify-hashes",
            COMPILER="gcc g++ libc6-dev libpython3-dev",  # this base has Debian's Python
        )
    for target in ("api", "hosted", "worker"):
        size_mb = engine.size_mb(f"localhost/{target}")
        layers = " + ".join(f"{mb:.1f}" for mb in engine.layers_mb(f"localhost/{target}"))
        packages = engine.packages_mb(f"localhost/{target}")
        largest = ", ".join(f"{name} {mb:.0f}" for mb, name in packages[:_LISTED_PACKAGES])
        click.echo(f"The image {target} has {size_mb:.0f} MB: layers of {layers}; packages: {largest}.")
        if target == "api" and size_mb > MAX_API_MB:
            raise click.ClickException(
                f"The image of the API has {size_mb:.0f} MB; {MAX_API_MB:.0f} are allowed"
            )


if __name__ == "__main__":
    main()
