"""Builds images and runs containers without a Docker engine: buildah and podman with separate storage."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
_EMPTY_LAYER_BYTES: Final = 10**5
_LIST_SETTINGS: Final = ("find-links", "extra-index-url")


@dataclass(frozen=True)
class Engine:
    """A folder with the storage, configuration and socket of podman, apart from the machine's own."""

    folder: Path

    @property
    def socket(self) -> Path:
        """The socket on which podman serves Docker's API."""
        return self.folder / "podman.sock"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every command."""
        return os.environ | {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.folder / "docker"),
        }

    def configure(self) -> None:
        """Write the configuration."""
        (self.folder / "containers.conf").write_text(
            # podman's defaults are above the limits that a machine without systemd allows even root to set.
            '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
            f'[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            'lock_type = "file"\n'
            f'tmp_dir = "{self.folder}/working"\n'
            f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{self.folder}/networks"\n'
        )
        (self.folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\n'
            f'graphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n'
        )
        (self.folder / "docker").mkdir()
        (self.folder / "docker" / "config.json").write_text("{}")

    def run(self, *command: str, quiet: bool = True, **environ: str) -> str:
        """Run a command to its end and return its output.

        Raises:
            subprocess.CalledProcessError: the command failed; the error's notes have its output.

        """
        completed = subprocess.run(  # noqa: S603 - commands of this package
            command,
            env=self.environ | environ,
            cwd=ROOT,
            text=True,
            check=False,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.PIPE if quiet else None,
        )
        if completed.returncode:
            error = subprocess.CalledProcessError(completed.returncode, command[:4])
            error.add_note(((completed.stdout or "") + (completed.stderr or ""))[-4000:])
            raise error
        return completed.stdout or ""

    def import_base(self, name: str) -> None:
        """Make a small Debian with Python, in place of a registry's Python image."""
        tar = self.folder / "base.tar"
        # As in the slim images: no documentation and no perl. The hook merges /usr without perl.
        slim = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")]
        merged = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
        packages = "--include=usr-is-merged,python3,python3-venv,passwd,libstdc++6,ca-certificates"
        command = (
            "mmdebstrap",
            "--quiet",
            "--variant=apt",
            merged,
            packages,
            *slim,
            "bookworm",
            str(tar),
        )
        self.run(*command, TMPDIR=str(self.folder))
        self.run("podman", "import", "--quiet", str(tar), name)
        tar.unlink()

    def build(self, name: str, file: Path, context: Path, target: str = "", **arguments: str) -> None:
        """Build an image from local images; pip and uv in the build use this machine's package sources."""
        pip, uv, folders = package_sources()
        (self.folder / "pip.conf").write_text(pip)
        (self.folder / "uv.toml").write_text(uv)
        mounts = [
            f"{self.folder}/pip.conf:/etc/pip.conf:ro",
            f"{self.folder}/uv.toml:/etc/uv/uv.toml:ro",
            *(f"{path}:{path}:ro" for path in folders),
        ]
        self.run(
            *("buildah", "build", "--isolation", "chroot", "--format", "docker", "--pull-never", "--layers"),
            *(word for mount in mounts for word in ("--volume", mount)),
            *(word for key, text in arguments.items() for word in ("--build-arg", f"{key}={text}")),
            *(("--target", target) if target else ()),
            *("--tag", name, "--file", str(file), str(context)),
        )

    def size_mb(self, image: str) -> float:
        """Return the size of an image's layers on the disk."""
        (details,) = json.loads(self.run("podman", "image", "inspect", image))
        return float(details["Size"]) / 1e6

    def layers_mb(self, image: str) -> Sequence[float]:
        """Return the sizes of an image's layers from the lowest up, without the empty ones."""
        layers = json.loads(self.run("podman", "history", "--format", "json", image))
        return [layer["size"] / 1e6 for layer in reversed(layers) if layer["size"] >= _EMPTY_LAYER_BYTES]

    def packages_mb(self, image: str) -> Sequence[tuple[float, str]]:
        """Return the sizes and names of the packages in an image's Python, the largest first."""
        root = Path(self.run("podman", "image", "mount", image).strip())
        installed = (root / "opt/venv/lib").glob("python3*/site-packages/*")
        sizes = [(_size(path) / 1e6, path.name) for path in installed]
        self.run("podman", "image", "unmount", image)
        return sorted(sizes, reverse=True)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def package_sources() -> tuple[str, str, Sequence[Path]]:
    """Return this machine's package sources as a pip.conf and a uv.toml, and the folders that these name."""
    command = (sys.executable, "-m", "pip", "config", "list")
    listing = subprocess.run(command, text=True, check=True, capture_output=True)  # noqa: S603 - fixed words
    settings: dict[str, str] = {}
    for line in listing.stdout.splitlines():
        key, _, quoted = line.partition("=")
        # pip lists the environment's settings first, and they take precedence.
        settings.setdefault(key.rpartition(".")[2].strip(":"), quoted.strip("'"))
    folders = set()
    for text in settings.values():
        named = [Path(word.removeprefix("file://")) for word in text.split()]
        existing = [path for path in named if path.is_absolute() and path.exists()]
        # A local index has its files beside the folder that the setting names.
        folders |= {path.parent if path.is_file() or path.name == "simple" else path for path in existing}
    pip = ["[global]", *(f"{key} = {text}" for key, text in settings.items())]
    # As pip does: the system's certificates, and the best version of all indexes.
    uv = ["system-certs = true", 'index-strategy = "unsafe-best-match"']
    uv += [f"{key} = {json.dumps(settings[key].split())}" for key in _LIST_SETTINGS if key in settings]
    uv += [f"index-url = {json.dumps(settings['index-url'])}"] if "index-url" in settings else []
    return "\n".join(pip) + "\n", "\n".join(uv) + "\n", sorted(folders)
